import dataclasses
from dataclasses import dataclass

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
    assert load_data(Given(whole)).dataset.train_inputs.data_ptr() == whole.train_inputs.data_ptr()
    assert load_data(Given(whole)).validation is None


def test_features_are_those_of_the_items_that_are_left():
    encoded = dataclasses.replace(texts(), description="encoded", train_inputs=torch.arange(12.0)[:, None] / 2)
    data = Datasets()(Given(texts()), 6, Given(encoded))
    assert torch.equal(data.features, data.dataset.train_inputs / 2)
    assert Datasets()(Given(texts()), 6).features is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train_labels": LABELS.flip(0)},
            "features are of 12 items of texts with other labels, expected those of the 12",
        ),
        ({}, r"the inputs of texts are to be features: features are torch.int64 of shape \[12, 1\], expected floating"),
        ({"train_inputs": torch.full((12, 2), torch.inf)}, "to be features: .*; row 0 holds nan or infinity"),
    ],
)
def test_features_of_other_items_or_none(change, message):
    with pytest.raises(tn.InputError, match=message):
        Datasets()(Given(texts()), 0, Given(dataclasses.replace(texts(), description="others", **change)))


@pytest.mark.parametrize("count", [12, 13, -1])
def test_a_validation_set_that_leaves_no_pool(count):
    message = f"texts: a validation set of {count} was asked for, but there are 12 training items"
    with pytest.raises(tn.InputError, match=message):
        load_data(Given(texts()), validation=count)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_labels": torch.arange(12) % 4}, "the training labels must be 0 to 2, .* 3 classes; .* item 3 is 3"),
        (
            {"test_labels": torch.tensor([0, 1, -1, 7])},
            "the test labels holds -1, at place 2, expected a list of classes",
        ),
        ({"train_labels": ["a"] * 12}, "the training labels is <U1"),
        ({"train_labels": torch.arange(4) % 3}, "there are 12 training items and 4 training labels"),
        ({"train_inputs": [1]}, r"the inputs are \[1\], expected a tensor or an array"),
        ({"classes": 3}, "classes is 3, expected a tuple with a printable text"),
        ({"classes": ("a", "b", "c" * 10**5)}, "classes is a tuple .*expected a tuple with a printable text"),
        ({"description": None}, "the description of the dataset is None, expected a text"),
    ],
)
def test_what_is_no_dataset(change, message):
    wrong = texts()
    for name, value in change.items():
        object.__setattr__(wrong, name, value)  # without the checks of types that only tests have
    with pytest.raises(tn.InputError, match=message):
        load_data(Given(wrong))


def test_what_is_loaded_must_be_a_dataset():
    with pytest.raises(tn.InputError, match="what the loader loads is 3, expected a tonsure"):
        load_data(Given(3))


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
