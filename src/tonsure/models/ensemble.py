"""Deep ensembles: K networks with different initial weights."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tonsure.arguments import flag, optional, refusal, whole_number
from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel, Member
from tonsure.models.examples import Inputs, Labels, as_examples, as_validation
from tonsure.models.features import has_linear, penultimate
from tonsure.models.vectorized import CANNOT, fit_together, is_quicker, obstacle
from tonsure.networks.forward import a_network, as_input_error, logits_of
from tonsure.seeding import derive_seed, seeded
from tonsure.surroundings import modeling, usable_device
from tonsure.training import DEFAULT_TRAINING, Training, a_training, checked_setup, fit


class Ensemble(BayesianModel):
    """A deep ensemble: θ_k is the weights of member k, trained with its own initial weights and batches.

    The members are kept on the CPU. The device holds one of them at a time, except when all are trained together.
    Lakshminarayanan, Pritzel & Blundell 2017.

    Args:
        make_network: returns a new network, with random weights, that maps inputs [n, ...] to logits [n, C].
        members: the number of members, K.
        vectorized: whether all members are trained together, in common steps; the weights are the same up to rounding.
            None does so if it is possible (``vectorized.obstacle``) and faster (``vectorized.is_quicker``): for small
            dense networks without dropout, on a CPU.

    Raises:
        InputError: an argument is of another type, for example a network in place of a function that makes one, or
            ``members`` is below 1.
    """

    def __init__(
        self,
        make_network: Callable[[], nn.Module],
        members: SupportsIndex,
        training: Training = DEFAULT_TRAINING,
        vectorized: bool | None = None,
    ) -> None:
        if isinstance(make_network, nn.Module) or not callable(make_network):
            raise refusal("make_network", make_network, "a function that returns a new network")
        self._make_network = make_network
        self._samples = whole_number("members", members, 1, 2**20)  # `members` is the method that gives them
        self.training = a_training("training", training)
        self.vectorized = optional(flag)("vectorized", vectorized)
        self._networks: list[nn.Module] = []

    def __repr__(self) -> str:
        vectorized = "" if self.vectorized is None else f", vectorized={self.vectorized}"
        return f"Ensemble(members={self._samples}, training={self.training}{vectorized})"

    @property
    def samples(self) -> int:
        return self._samples

    @modeling()
    def fit(
        self,
        inputs: Inputs,
        labels_n: Labels,
        *,
        seed: SupportsIndex = 0,
        validation: tuple[Inputs, Labels] | None = None,
    ) -> None:
        """Creates and trains K new networks; with ``training.patience``, each until it no longer improves.

        Raises:
            InputError, TrainingError: as ``tonsure.training.fit``; the model is unchanged then. Or ``make_network``
                fails or returned the same network twice, or ``vectorized`` is True and the members cannot be trained
                together.
        """
        inputs, labels_n = as_examples(inputs, labels_n)
        stop_by = as_validation(validation)
        device, seed = checked_setup(inputs, labels_n, self.training, stop_by, seed)
        networks: list[nn.Module] = []
        for member in range(self._samples):
            network = self._made(derive_seed(seed, member, 0), device)
            if any(network is earlier for earlier in networks):
                raise InputError("make_network returned the same network twice: all members would be equal")
            networks.append(network)
        seeds = [derive_seed(seed, member, 1) for member in range(self._samples)]
        if self._together(networks):
            fit_together(networks, inputs, labels_n, self.training, seeds=seeds)
        else:
            for network, member_seed in zip(networks, seeds, strict=True):
                fit(network, inputs, labels_n, self.training, seed=member_seed, validation=stop_by)
                network.cpu()
        self._networks = [network.cpu() for network in networks]

    def _made(self, seed: int, device: torch.device) -> nn.Module:
        with seeded(seed, device), as_input_error("make_network failed"):
            network = self._make_network()
        return a_network("what make_network returns", network)

    def _together(self, networks: list[nn.Module]) -> bool:
        if self.vectorized is None:
            return is_quicker(networks, self.training) and obstacle(networks, self.training) is None
        if self.vectorized and (reason := obstacle(networks, self.training)):
            raise InputError(f"{CANNOT}: {reason}")
        return self.vectorized

    def members(self) -> Iterator[Member]:
        """K functions with one sample each.

        Raises:
            InputError: the ensemble is not fitted yet.
        """
        for network in self._on_device():
            yield partial(_one_sample, network, self.training.device)

    @property
    def has_features(self) -> bool:
        """Whether the networks contain an ``nn.Linear``; before the first fit, one is made to find out."""
        if self._networks:
            return has_linear(self._networks[0])
        with modeling():
            return has_linear(self._made(0, torch.device("cpu")))

    @modeling()
    def features(self, inputs: Inputs, *, block_size: SupportsIndex = 1024) -> Float[Tensor, "n D"]:
        """[h_1, …, h_K] / √K, where h_k are the penultimate activations of member k.

        The squared distance of two items is the mean of their squared distances in the members.

        Raises:
            InputError: the ensemble is not fitted yet, or as ``penultimate``.
        """
        device = self.training.device
        members = [penultimate(network, inputs, device=device, block_size=block_size) for network in self._on_device()]
        return torch.cat(members, dim=1) / self._samples**0.5

    def _on_device(self) -> Iterator[nn.Module]:
        """The networks, each on the device until the next one is requested."""
        if not self._networks:
            raise InputError("the ensemble has no members before it is fitted: call fit(inputs, labels) first")
        device = usable_device(self.training.device)
        for network in self._networks:
            try:
                yield network.to(device)
            finally:
                network.cpu()


@modeling()
@torch.no_grad()
def _one_sample(network: nn.Module, device: str, inputs: Tensor) -> Float[Tensor, "n 1 C"]:
    logits_n_C = logits_of(network, inputs, device)
    return nn.functional.log_softmax(logits_n_C.float(), dim=1)[:, None].to(inputs.device)
