from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tonsure.models import BayesianModel, Member
from tonsure.testing import check_model


class Linear(BayesianModel):
    """Three linear functions, correct unless `log_probs_of` is overridden."""

    def __init__(self):
        self.weights = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
        self.calls = 0

    @property
    def samples(self) -> int:
        return 3

    def fit(self, inputs, labels_n, *, seed=0):
        raise NotImplementedError

    def members(self) -> Iterator[Member]:
        yield self.log_probs_of

    def log_probs_of(self, inputs: Tensor) -> Tensor:
        return torch.einsum("nd,kdc->nkc", inputs, self.weights).log_softmax(2)


class Impossible(Linear):
    def log_probs_of(self, inputs):
        logits = torch.einsum("nd,kdc->nkc", inputs, self.weights)
        logits[:, 0, :2] = -torch.inf
        return logits.log_softmax(2)


class PlainDropout(Linear):
    """Other masks at every call."""

    def log_probs_of(self, inputs):
        dropped = functional.dropout(inputs[:, None].expand(-1, 3, -1), 0.5)
        return torch.einsum("nkd,kdc->nkc", dropped, self.weights).log_softmax(2)


class MaskOfTheBatch(Linear):
    """The same masks at every call, but of the batch's shape."""

    def log_probs_of(self, inputs):
        generator = torch.Generator().manual_seed(len(inputs))
        masks = (torch.rand(len(inputs), 3, 4, generator=generator) > 0.5).float()
        return torch.einsum("nkd,kdc->nkc", inputs[:, None] * masks, self.weights).log_softmax(2)


class MaskOfTheBatchSize(Linear):
    """One mask for a whole block, but another one for a shorter block."""

    def log_probs_of(self, inputs):
        masks = torch.rand(3, 4, generator=torch.Generator().manual_seed(len(inputs)))
        return super().log_probs_of(inputs * masks[0])


class ForgetsWhatIsImpossible(Linear):
    def log_probs_of(self, inputs):
        logits = torch.einsum("nd,kdc->nkc", inputs, self.weights)
        self.calls += 1
        if self.calls == 1:
            logits[:, 0, :2] = -torch.inf
        return logits.log_softmax(2)


class BatchStatistics(Linear):
    """Batch normalization that was left in training mode."""

    def log_probs_of(self, inputs):
        return super().log_probs_of(inputs - inputs.mean(dim=0))


class InPlace(Linear):
    """Changes what its members are given, which are copies."""

    def log_probs_of(self, inputs):
        return super().log_probs_of(inputs.mul_(2))


class ChangesInputs(Linear):
    def log_probs(self, inputs):
        return super().log_probs(inputs.mul_(2))


class Drifts(Linear):
    def log_probs_of(self, inputs):
        self.calls += 1
        return super().log_probs_of(inputs + 0.01 * self.calls)


class Logits(Linear):
    def log_probs_of(self, inputs):
        return torch.einsum("nd,kdc->nkc", inputs, self.weights)


class Nan(Linear):
    def log_probs_of(self, inputs):
        return super().log_probs_of(inputs) * torch.nan


class KFirst(Linear):
    def log_probs_of(self, inputs):
        return super().log_probs_of(inputs).transpose(0, 1)


class MeanOnly(Linear):
    def log_probs_of(self, inputs):
        return super().log_probs_of(inputs).logsumexp(1)[:, None]


class Graph(Linear):
    def log_probs_of(self, inputs):
        return super().log_probs_of(inputs).requires_grad_()


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(11, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("right", [Linear, Impossible, InPlace])
def test_a_right_model_passes(right, inputs):
    check_model(right(), inputs)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (PlainDropout, "the same items a second time: log p of .*must be one function of an item"),
        (MaskOfTheBatch, "the items in reverse order"),
        (MaskOfTheBatchSize, "in blocks of 6"),
        (ForgetsWhatIsImpossible, r"log p of \(item, sample, class\) \(0, 0, 0\) is .*, at first it was -inf"),
        (BatchStatistics, "in blocks of 6"),
        (ChangesInputs, "the inputs were changed"),
        (Drifts, "the same items a second time"),
        (Logits, r"exp\(log_probs\) of \(item, sample\) \(0, 0\) add up to"),
        (Nan, "add up to nan, not to 1"),
        (KFirst, r"log_probs have shape \(3, 11, 5\), expected \(11, 3, C\)"),
        (MeanOnly, r"log_probs have shape \(11, 1, 5\), expected \(11, 3, C\)"),
        (Graph, "carry a graph"),
    ],
)
def test_a_wrong_model_is_caught(wrong, message, inputs):
    with pytest.raises(AssertionError, match=message):
        check_model(wrong(), inputs)


def test_too_few_items_are_refused(inputs):
    with pytest.raises(AssertionError, match="at least 3 items, got 2"):
        check_model(Linear(), inputs[:2])
