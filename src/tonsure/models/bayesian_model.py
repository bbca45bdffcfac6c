"""The interface of a Bayesian model: it is fitted to labels, and predicts with K samples of its posterior."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tonsure.arguments import instance
from tonsure.errors import InputError
from tonsure.predictions.arrays import as_inputs
from tonsure.surroundings import modeling

Member = Callable[[Tensor], Float[Tensor, "n K C"]]
"""Maps inputs [n, ...] to the log-probabilities of one or several of the K samples, on the device of the inputs.

It is given a copy of the inputs, so it may work in place.
"""


class BayesianModel(ABC):
    """K samples θ_1 … θ_K of a posterior over functions.

    Each sample is *one* function of an item: the prediction of sample k for an item must not depend on the other items
    of its block, because items are compared sample by sample. ``tonsure.testing.check_model`` tests a model for this.
    """

    @property
    @abstractmethod
    def samples(self) -> int:
        """The number of posterior samples, K."""

    @abstractmethod
    def fit(self, inputs: Tensor, labels_n: Int[Tensor, " n"], *, seed: int = 0) -> None:
        """Draws samples θ_1 … θ_K from p(θ | inputs, labels). Earlier fits have no influence.

        A model with early stopping also takes ``validation``, inputs and labels on which it is monitored;
        ``tonsure.rounds`` passes them on if it is given any.
        """

    @abstractmethod
    def members(self) -> Iterator[Member]:
        """The samples in order, as functions that each predict with one or several of them, K samples in total.

        A member is used before the next one is requested, so a model may hold one in memory at a time.
        """

    @modeling()
    def log_probs(self, inputs: Tensor | NDArray[Any]) -> Float[Tensor, "n K C"]:
        """log p(y = c | x_i, θ_k) in nats, for all inputs at once; ``tonsure.predict`` works in blocks."""
        items = as_inputs(inputs)
        # Each member has a copy: networks may work in place.
        return torch.cat([member(items.clone()) for member in self.members()], dim=1)

    @property
    def has_features(self) -> bool:
        """Whether the model has features; here, whether ``features`` is overridden."""
        return type(self).features is not BayesianModel.features

    def features(self, inputs: Tensor) -> Float[Tensor, "n D"]:
        """The features of the inputs, on the CPU: usually the penultimate activations of the fitted network.

        Methods such as ``FacilityLocation`` compare items by their features. The inputs may be a whole pool, so an
        implementation works in blocks. ``tonsure.models.features.penultimate`` computes the penultimate activations of
        a network. Like the predictions, the features of an item must not depend on the other items of its block.

        Raises:
            InputError: the model has no features.
        """
        raise InputError(
            f"{self!r} has no features: give {type(self).__name__} a method features(inputs) that returns [n, D], for "
            "example tonsure.models.features.penultimate(network, inputs); or choose a method that needs no features"
        )


a_model = instance(BayesianModel, "tonsure.MCDropout(network, samples=20)")
"""The check of an argument that is a model."""
