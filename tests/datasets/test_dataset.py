import torch

from tonsure.datasets import MNIST, Dataset, Loader

IMAGES = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
DATA = Dataset(
    name="tiny",
    train_inputs=torch.arange(6).reshape(3, 2),
    train_labels=torch.tensor([0, 1, 2]),
    test_inputs=torch.arange(2).reshape(1, 2),
    test_labels=torch.tensor([1]),
    classes=("a", "b", "c"),
    description="tiny",
    train_images=IMAGES,
    train_texts=["zero", "one", "two"],
)


def test_rows_are_taken_of_all_that_belongs_to_them():
    taken = DATA.with_train_rows(torch.tensor([2, 0, 2, 2]))
    assert taken.train_inputs.tolist() == [[4, 5], [0, 1], [4, 5], [4, 5]]
    assert taken.train_labels.tolist() == [2, 0, 2, 2]
    assert torch.equal(taken.train_images, IMAGES[[2, 0, 2, 2]])
    assert taken.train_texts == ["two", "zero", "two", "two"]
    assert (taken.test_inputs is DATA.test_inputs, taken.test_labels.tolist()) == (True, [1])


def test_what_loads_is_a_loader():
    assert isinstance(MNIST(), Loader)
    assert not isinstance(DATA, Loader)
