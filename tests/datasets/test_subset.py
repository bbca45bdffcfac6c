from dataclasses import dataclass

import pytest
import torch

from tonsure.datasets import Dataset, Subset
from tonsure.errors import InputError

COUNTS = (50, 3, 30, 20)


@dataclass(frozen=True)
class Numbers:
    """The inputs are the numbers of the rows; classes of very different size, in a mixed order."""

    def load(self) -> Dataset:
        labels = torch.arange(4).repeat_interleave(torch.tensor(COUNTS))
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(9))
        return Dataset(
            name="numbers",
            train_inputs=torch.arange(len(labels)),
            train_labels=labels[order],
            test_inputs=torch.arange(40),
            test_labels=torch.arange(40) % 4,
            classes=("a", "b", "c", "d"),
            description="numbers",
            train_texts=[str(row) for row in range(len(labels))],
        )


@pytest.mark.parametrize(
    ("train", "counts"),
    [(8, [2, 2, 2, 2]), (12, [3, 3, 3, 3]), (15, [4, 3, 4, 4]), (63, [20, 3, 20, 20]), (103, list(COUNTS))],
)
def test_classes_are_as_equal_as_they_can_be(train, counts):
    data = Subset(Numbers(), train=train, test=16).load()
    assert data.train_labels.bincount(minlength=4).tolist() == counts
    assert data.test_labels.bincount().tolist() == [4] * 4


def test_a_remainder_goes_to_some_classes():
    counts = Subset(Numbers(), train=10, test=6).load().train_labels.bincount(minlength=4)
    assert sorted(counts.tolist()) == [2, 2, 3, 3]


def test_rows_stay_together_in_their_order():
    whole, data = Numbers().load(), Subset(Numbers(), train=20, test=8).load()
    rows = data.train_inputs
    assert (rows.diff() > 0).all()
    assert torch.equal(data.train_labels, whole.train_labels[rows])
    assert data.train_texts == [str(row) for row in rows.tolist()]
    assert torch.equal(data.test_labels, whole.test_labels[data.test_inputs])
    assert (data.test_inputs.diff() > 0).all()


def test_the_seed_decides():
    rows = lambda seed: Subset(Numbers(), train=20, test=8, seed=seed).load().train_inputs.tolist()  # noqa: E731
    assert rows(0) == rows(0)
    assert rows(0) != rows(1)


def test_every_row_of_a_class_is_as_likely():
    drawn = torch.zeros(103)
    for seed in range(400):
        drawn[Subset(Numbers(), train=8, test=4, seed=seed).load().train_inputs] += 1
    expected = 800 / torch.tensor(COUNTS)[Numbers().load().train_labels]
    chi_squared = float(((drawn - expected) ** 2 / expected).sum())
    assert 50 < chi_squared < 160  # of about 99 degrees of freedom


def test_it_says_what_it_is():
    subset = Subset(Numbers(), train=20, test=8, seed=3)
    assert repr(subset) == "Subset(dataset=Numbers(), train=20, test=8, seed=3)"
    assert subset.load().description == (
        "numbers; of these, 20 for training and 8 for testing, drawn class by class with seed 3"
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"train": 104}, "train must be 1 to 103, the items that there are, found 104"),
        ({"train": 0}, "train must be 1 to 103"),
        ({"train": 4, "test": 41}, "test must be 1 to 40, the items that there are, found 41"),
    ],
)
def test_more_than_there_are_is_refused(setting, message):
    with pytest.raises(InputError, match=message):
        Subset(Numbers(), **setting).load()
