"""Metrics of a model on a test set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import SupportsIndex

from jaxtyping import Float, Int
from torch import Tensor

from tonsure.arguments import whole_number
from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.models.examples import Inputs, Labels, classes
from tonsure.models.predict import predict
from tonsure.predictions.arrays import as_inputs
from tonsure.predictions.calibration import calibration_error_of, log_mean_probs
from tonsure.surroundings import modeling

MOST_BINS = 10**6

Number = Callable[[Tensor, Tensor], float]
"""A metric: a function of log_mean_probs_n_C and labels_n."""


@dataclass(frozen=True, eq=False)
class Metrics:
    """Computes metrics of a model by name, all from one prediction of the same test items.

    Raises:
        InputError: the inputs are no array, there is not one label for each of them, or a label is no class of the
            model.
    """

    numbers: Mapping[str, Number]
    inputs: Inputs
    labels: Labels

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", as_inputs(self.inputs))
        object.__setattr__(self, "labels", classes("test labels", self.labels))
        if len(self.inputs) != len(self.labels) or len(self.labels) == 0:
            raise InputError(
                f"a test set needs one label for each item, found {len(self.inputs)} and {len(self.labels)}"
            )

    @modeling()
    def __call__(self, model: BayesianModel) -> dict[str, float]:
        assert isinstance(self.labels, Tensor)
        log_probs_n_K_C = predict(model, self.inputs)
        C = log_probs_n_K_C.shape[2]
        if self.labels.max() >= C:
            raise InputError(
                f"test labels must be 0 to {C - 1}, as the model has {C} classes; found {int(self.labels.max())}"
            )
        log_mean_probs_n_C = log_mean_probs(log_probs_n_K_C)
        return {name: number(log_mean_probs_n_C, self.labels) for name, number in self.numbers.items()}

    def __repr__(self) -> str:
        return f"Metrics({', '.join(self.numbers)} on {len(self.inputs)} items)"


def accuracy(inputs: Inputs, labels: Labels) -> Metrics:
    """{"accuracy": the fraction of test items whose most probable class is correct}."""
    return Metrics({"accuracy": accuracy_of}, inputs, labels)


def negative_log_likelihood(inputs: Inputs, labels: Labels) -> Metrics:
    """{"negative_log_likelihood": in nats per test item}; infinite if a true class has probability 0."""
    return Metrics({"negative_log_likelihood": negative_log_likelihood_of}, inputs, labels)


def calibration_error(inputs: Inputs, labels: Labels, bins: SupportsIndex = 15) -> Metrics:
    """{"calibration_error": the expected calibration error, in [0, 1]}."""
    return Metrics({"calibration_error": _calibration(bins)}, inputs, labels)


def all_metrics(inputs: Inputs, labels: Labels, bins: SupportsIndex = 15) -> Metrics:
    """Accuracy, negative log likelihood and calibration error."""
    numbers: dict[str, Number] = {
        "accuracy": accuracy_of,
        "negative_log_likelihood": negative_log_likelihood_of,
        "calibration_error": _calibration(bins),
    }
    return Metrics(numbers, inputs, labels)


def accuracy_of(log_mean_probs_n_C: Float[Tensor, "n C"], labels_n: Int[Tensor, " n"]) -> float:
    """1/n Σ_i [argmax_c p(c | x_i) = y_i]"""
    return float((log_mean_probs_n_C.argmax(dim=1) == labels_n).double().mean())


def negative_log_likelihood_of(log_mean_probs_n_C: Float[Tensor, "n C"], labels_n: Int[Tensor, " n"]) -> float:
    """−1/n Σ_i log p(y_i | x_i)"""
    return -float(log_mean_probs_n_C.gather(1, labels_n.long()[:, None]).mean())


def _calibration(bins: SupportsIndex) -> Number:
    return partial(calibration_error_of, bins=whole_number("bins", bins, 1, MOST_BINS))
