from dataclasses import dataclass, replace

import pytest
import torch

import tonsure as tn
from tonsure.datasets import Dataset
from tonsure.experiments.data import KEPT, Datasets, load_data

LABELS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2])


def texts():
    return Dataset(
        name="texts",
        train_inputs=torch.arange(12)[:, None],
        train_labels=LABELS,
        test_inputs=torch.arange(4)[:, None],
        test_labels=torch.tensor([0, 1, 2, 0]),
        classes=("a", "b", "c"),
        description="texts of ours",
        train_images=torch.arange(12, dtype=torch.uint8)[:, None, None],
        train_texts=[f"text {row}" for row in range(12)],
    )


@dataclass
class Given:
    dataset: Dataset

    def load(self):
        return self.dataset


def test_a_validation_set_is_balanced_and_leaves_the_pool():
    whole = texts()
    data = load_data(Given(whole), validation=6)
    inputs, labels = data.validation
    assert labels.bincount().tolist() == [2, 2, 2]
    pool = data.dataset
    assert sorted(inputs[:, 0].tolist() + pool.train_inputs[:, 0].tolist()) == list(range(12))
    rows = pool.train_inputs[:, 0]
    assert torch.equal(pool.train_labels, LABELS[rows])
    assert pool.train_texts == [f"text {row}" for row in rows.tolist()]
    assert torch.equal(pool.train_images[:, 0, 0].long(), rows)
    assert pool.description == "texts of ours; 6 of the training items set aside for validation (seed 0)"
    assert load_data(Given(whole)).dataset is whole
    assert load_data(Given(whole)).validation is None


@pytest.mark.parametrize("count", [12, 13, -1])
def test_a_validation_set_that_leaves_no_pool(count):
    message = f"texts: a validation set of {count} was asked for, but there are 12 training items"
    with pytest.raises(tn.InputError, match=message):
        load_data(Given(texts()), validation=count)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_labels": torch.arange(12) % 4}, "the training labels must be 0 to 2, .* 3 classes; .* item 3 is 3"),
        ({"test_labels": torch.tensor([0, 1, -1, 7])}, "the test labels must be 0 to 2, .* 3 classes; .* item 2 is -1"),
    ],
)
def test_labels_that_are_no_class(change, message):
    with pytest.raises(tn.InputError, match=message):
        load_data(Given(replace(texts(), **change)))


@dataclass
class Counted:
    name: str

    def load(self):
        LOADED.append(self.name)
        return texts()


LOADED = []


def test_the_last_datasets_are_kept():
    LOADED.clear()
    assert KEPT == 2
    datasets = Datasets()
    first = datasets(Counted("a"))
    assert datasets(Counted("a")) is first
    datasets(Counted("b"))
    assert datasets(Counted("a")) is first
    datasets(Counted("c"))
    assert LOADED == ["a", "b", "c"]
    assert datasets(Counted("a")) is first  # asked for after b, which had to go
    datasets(Counted("b"))
    assert LOADED == ["a", "b", "c", "b"]
    datasets(Counted("b"), validation=3)
    assert LOADED == ["a", "b", "c", "b", "b"]
