"""What a Bayesian model is: something fitted to labels that predicts by K functions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tonsure.errors import InputError

Member = Callable[[Tensor], Float[Tensor, "n K C"]]
"""From inputs [n, ...] to the log probabilities of one or several of the K samples, where the inputs are."""


class BayesianModel(ABC):
    """K samples θ_1 … θ_K of a posterior over functions, each of which is *one* function of an item.

    What sample k says of an item must not depend on the items beside it, nor on the block it comes in, for
    items are compared sample by sample. ``tonsure.testing.check_model`` checks it.
    """

    @property
    @abstractmethod
    def samples(self) -> int:
        """K"""

    @abstractmethod
    def fit(self, inputs: Tensor, labels_n: Int[Tensor, " n"], *, seed: int = 0) -> None:
        """Samples θ_1 … θ_K from p(θ | inputs, labels), from the start: earlier fits have no influence.

        A model that can stop early also takes ``validation``, inputs and labels to stop by; ``tonsure.rounds`` passes
        them on where it is given any.
        """

    @abstractmethod
    def members(self) -> Iterator[Member]:
        """The samples, as functions that give one or several of them, in order, K in all.

        They come one after the other, so that a model need have no more than one in memory: a member is to be
        used before the next one is asked for.
        """

    def log_probs(self, inputs: Tensor) -> Float[Tensor, "n K C"]:
        """log p(y = c | x_i, θ_k) in nats, all of it at once; ``tonsure.predict`` goes block by block."""
        return torch.cat([member(inputs) for member in self.members()], dim=1)

    @property
    def has_features(self) -> bool:
        """Whether ``features`` is implemented."""
        return type(self).features is not BayesianModel.features

    def features(self, inputs: Tensor) -> Float[Tensor, "n D"]:
        """What the last linear layer of the fitted network is given for each item, in evaluation mode, on the CPU.

        For strategies that compare items by where they lie, such as ``CoreSet``. Of a pool of any size: it is for the
        model to go block by block.

        Raises:
            InputError: this model has none.
        """
        raise InputError(
            f"{self!r} exposes no features: give {type(self).__name__} a method features(inputs) -> [n, D], with what "
            "its last layer is given, for which tonsure.models.features.penultimate(network, inputs) may do; or choose "
            "by predictions alone"
        )
