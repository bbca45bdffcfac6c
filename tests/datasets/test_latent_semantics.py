from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tonsure.datasets import Dataset, LatentSemantics
from tonsure.errors import InputError

WORDS = 40


def texts(n: int, seed: int) -> torch.Tensor:
    """Each of words from one of four topics, with zeros at the end, and some that are unknown."""
    generator = torch.Generator().manual_seed(seed)
    topic = torch.arange(n)[:, None] % 4
    found = 2 + topic * 9 + torch.randint(9, (n, 12), generator=generator)
    found[:, 9:] = torch.tensor([1, 0, 0])
    return found


@dataclass(frozen=True)
class Texts:
    inputs: torch.Tensor

    def load(self) -> Dataset:
        labels = torch.arange(len(self.inputs)) % 4
        return Dataset("texts", self.inputs, labels, texts(8, 1), labels[:8], tuple("abcd"), "texts")


def test_features_are_the_singular_vectors_of_weighted_counts():
    """tf-idf and the decomposition written out in NumPy; columns may have either sign."""
    data = LatentSemantics(Texts(texts(60, 0)), components=4).load()
    counts = np.zeros((60, WORDS))
    for row, words in zip(counts, texts(60, 0).tolist(), strict=True):
        for word in words:
            row[word] += word > 1
    idf = np.log((1 + 60) / (1 + (counts > 0).sum(0))) + 1
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    _, _, right = np.linalg.svd(weights, full_matrices=False)
    expected = weights @ right[:4].T
    expected *= 4**0.5 / np.linalg.norm(expected, axis=1, keepdims=True)
    found = data.train_inputs.numpy()
    assert found.dtype == np.float32
    assert np.abs(found) == pytest.approx(np.abs(expected), abs=1e-3)


def test_texts_of_a_topic_are_alike_also_those_that_were_not_seen():
    data = LatentSemantics(Texts(texts(60, 0)), components=4).load()
    likeness = torch.nn.functional.normalize(data.test_inputs) @ torch.nn.functional.normalize(data.train_inputs).T
    same = (torch.arange(8) % 4)[:, None] == torch.arange(60) % 4
    assert float(likeness[same].mean()) > 0.6 > 0.3 > float(likeness[~same].mean())
    assert torch.equal(data.train_labels, torch.arange(60) % 4)
    assert "4 features" in data.description


def test_a_text_without_a_known_word_is_all_zeros_and_the_seed_decides():
    inputs = texts(60, 0)
    inputs[5] = torch.tensor([1] + [0] * 11)
    one, again = (LatentSemantics(Texts(inputs), components=3).load().train_inputs for _ in range(2))
    assert torch.equal(one, again)
    assert not one[5].any()
    assert torch.allclose(one[:5].norm(dim=1), torch.tensor(3.0).sqrt())


def test_what_is_no_text_is_refused():
    with pytest.raises(InputError, match=r"inputs of texts are torch.float32 \[60, 12\], expected texts"):
        LatentSemantics(Texts(texts(60, 0).float())).load()
    with pytest.raises(InputError, match="components is 128, expected fewer than the 38 words"):
        LatentSemantics(Texts(texts(60, 0))).load()
    with pytest.raises(InputError, match="components must be at least 1, found 0"):
        LatentSemantics(Texts(texts(60, 0)), components=0)
