import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from tonsure.errors import InputError
from tonsure.loop import metrics
from tonsure.models import BayesianModel, Member


class Softmax(BayesianModel):
    """Two samples: the softmax of the inputs, and of twice the inputs."""

    def __init__(self):
        self.asked = 0

    @property
    def samples(self) -> int:
        return 2

    def fit(self, inputs, labels_n, *, seed=0):
        raise NotImplementedError

    def members(self) -> Iterator[Member]:
        self.asked += 1
        yield lambda inputs: torch.stack([inputs, 2 * inputs], dim=1).log_softmax(2)


def make_test_set(n: int = 200, C: int = 4) -> tuple[Tensor, Tensor, np.ndarray]:
    """Inputs, labels, and the mean probabilities of `Softmax` in NumPy."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, C, generator=generator)
    labels = torch.randint(C, (n,), generator=generator)
    exps = [np.exp(factor * inputs.double().numpy()) for factor in (1, 2)]
    return inputs, labels, sum(exp / exp.sum(1, keepdims=True) for exp in exps) / 2


def test_same_as_scikit_learn():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    inputs, labels, probs = make_test_set()
    assert metrics.accuracy(inputs, labels)(Softmax()) == {
        "accuracy": sklearn_metrics.accuracy_score(labels, probs.argmax(1))
    }
    assert metrics.negative_log_likelihood(inputs, labels)(Softmax()) == {
        "negative_log_likelihood": pytest.approx(sklearn_metrics.log_loss(labels, probs), rel=1e-6)
    }


def test_calibration_error_same_as_bins_gone_through():
    inputs, labels, probs = make_test_set()
    expected = 0.0
    for j in range(15):
        members = [i for i in range(200) if j / 15 < probs[i].max() <= (j + 1) / 15]
        if members:
            right = sum(probs[i].argmax() == int(labels[i]) for i in members) / len(members)
            confidence = sum(probs[i].max() for i in members) / len(members)
            expected += len(members) / 200 * abs(right - confidence)
    found = metrics.calibration_error(inputs, labels)(Softmax())
    assert found == {"calibration_error": pytest.approx(expected, abs=1e-6)}
    assert metrics.calibration_error(inputs, labels, bins=3)(Softmax()) != found


def test_calibration_error_by_hand():
    # Confidences .9 (right), .8 (wrong), .6 (right), in two bins of ten: (.5, .6] and (.7, .8], (.8, .9].
    log_probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], dtype=torch.float64).log()
    labels = torch.tensor([0, 1, 1])
    assert metrics.calibration_error_of(log_probs, labels, bins=10) == pytest.approx((0.1 + 0.8 + 0.4) / 3)
    # In one bin: two of three are right, where .7667 was promised.
    assert metrics.calibration_error_of(log_probs, labels, bins=1) == pytest.approx(2.3 / 3 - 2 / 3)


def test_certain_predictions():
    log_probs = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]], dtype=torch.float64)
    right, half = torch.tensor([0, 0]), torch.tensor([0, 1])
    assert metrics.negative_log_likelihood_of(log_probs, right) == 0
    assert metrics.negative_log_likelihood_of(log_probs, half) == math.inf
    assert metrics.calibration_error_of(log_probs, right) == 0
    assert metrics.calibration_error_of(log_probs, half) == 0.5
    assert metrics.accuracy_of(log_probs, half) == 0.5


def test_the_mean_is_of_probabilities():
    probs = torch.tensor([[[0.9, 0.1], [0.3, 0.7]]], dtype=torch.float64)
    assert metrics.log_mean_probs(probs.log()).exp().tolist() == [pytest.approx([0.6, 0.4])]


def test_all_metrics_from_one_prediction():
    inputs, labels, _ = make_test_set()
    model = Softmax()
    found = metrics.all_metrics(inputs, labels, bins=7)(model)
    assert model.asked == 1
    assert list(found) == ["accuracy", "negative_log_likelihood", "calibration_error"]
    assert found == {
        **metrics.accuracy(inputs, labels)(model),
        **metrics.negative_log_likelihood(inputs, labels)(model),
        **metrics.calibration_error(inputs, labels, bins=7)(model),
    }
    assert all(type(number) is float for number in found.values())


def test_arrays_are_welcome():
    inputs, labels, _ = make_test_set()
    assert metrics.accuracy(inputs.double().numpy(), labels.numpy())(Softmax()) == metrics.accuracy(inputs, labels)(
        Softmax()
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 4]), "test labels must be 0 to 3, as the model has 4 classes; found 4"),
        (torch.tensor([0, -1]), "test labels holds -1, at place 1, expected a list of classes"),
        (torch.tensor([0]), "one label for each item, found 2 and 1"),
        (torch.tensor([0.0, 1.0]), r"test labels is float32 of shape \(2,\), expected a list of classes"),
    ],
)
def test_unusable_labels_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        metrics.all_metrics(torch.zeros(2, 4), labels)(Softmax())


def test_an_empty_test_set_is_refused():
    with pytest.raises(InputError, match="found 0 and 0"):
        metrics.accuracy(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def test_repr_shows_what_is_measured():
    inputs, labels, _ = make_test_set()
    assert repr(metrics.all_metrics(inputs, labels)) == (
        "Metrics(accuracy, negative_log_likelihood, calibration_error on 200 items)"
    )
