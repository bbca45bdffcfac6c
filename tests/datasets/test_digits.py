import pytest
import torch

from tonsure.datasets import Digits
from tonsure.errors import InputError, MissingExtraError

sklearn_datasets = pytest.importorskip("sklearn.datasets")


def test_every_digit_is_in_one_of_two_sets():
    digits = Digits().load()
    assert digits.train_inputs.shape == (1297, 1, 8, 8)
    assert digits.test_inputs.shape == (500, 1, 8, 8)
    assert digits.train_images.shape == (1297, 8, 8)
    assert digits.train_inputs.dtype == torch.float32
    assert (digits.train_labels.dtype, digits.train_images.dtype) == (torch.int64, torch.uint8)
    assert (float(digits.train_inputs.min()), float(digits.train_inputs.max())) == (0.0, 1.0)
    assert digits.train_images.max() == 255
    ours = torch.cat([digits.train_inputs, digits.test_inputs]).flatten(1) * 16
    labels = torch.cat([digits.train_labels, digits.test_labels])
    original = sklearn_datasets.load_digits()
    assert sorted((*row, label) for row, label in zip(ours.tolist(), labels.tolist(), strict=True)) == sorted(
        (*row, label) for row, label in zip(original.data.tolist(), original.target.tolist(), strict=True)
    )


def test_images_show_the_inputs():
    digits = Digits().load()
    assert ((digits.train_images / 255 - digits.train_inputs[:, 0]).abs() < 1 / 255).all()


def test_the_seed_decides_the_split():
    assert torch.equal(Digits().load().test_inputs, Digits().load().test_inputs)
    assert not torch.equal(Digits().load().test_inputs, Digits(seed=1).load().test_inputs)
    assert len(Digits(test=97).load().train_labels) == 1700


def test_says_what_it_is():
    assert repr(Digits()) == "Digits(test=500, seed=0)"
    digits = Digits(seed=3).load()
    assert repr(digits) == f"Dataset({digits.description})"
    assert "1,297 for training and 500 for testing (a split of ours, seed 3), 8 × 8" in digits.description
    assert digits.classes == tuple("0123456789")


@pytest.mark.parametrize("test", [0, 1797])
def test_an_empty_side_is_refused(test):
    with pytest.raises(InputError, match=f"test must be 1 to 1796 of the 1797 digits, found {test}"):
        Digits(test=test).load()


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"tonsure\[datasets\]"):
        Digits().load()
