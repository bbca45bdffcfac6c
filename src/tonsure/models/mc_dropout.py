"""MC dropout: one network with K dropout masks."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tonsure.arguments import whole_number
from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel, Member
from tonsure.models.consistent_dropout import ConsistentDropout, make_consistent
from tonsure.models.examples import Inputs, Labels, as_examples, as_validation
from tonsure.models.features import has_linear, penultimate
from tonsure.networks.forward import a_network, as_input_error, checked_logits, copied, output_of
from tonsure.surroundings import modeling, usable_device
from tonsure.training import DEFAULT_TRAINING, Training, a_training, fit


class MCDropout(BayesianModel):
    """MC dropout: θ_k = (weights, z_k), one network trained with dropout, and K masks z_k kept until the next fit.

    Dropout that is not a layer (``F.dropout``, or the dropout inside attention or ``nn.LSTM``) is active in training
    and inactive in prediction, as in evaluation mode. Before the first fit, the model predicts with the initial weights
    of the network. Gal & Ghahramani 2016.

    Args:
        network: maps inputs [n, ...] to logits [n, C], with dropout layers whose first axis is the items. It is
            copied, and each fit starts from its current weights.
        samples: the number of posterior samples, K.
        seed: of the masks before the first fit.

    Raises:
        InputError: an argument is of another type or out of range, or the network has no dropout layer, or one that is
            not a plain mask (``nn.AlphaDropout``).
    """

    @modeling()
    def __init__(
        self,
        network: nn.Module,
        samples: SupportsIndex,
        training: Training = DEFAULT_TRAINING,
        seed: SupportsIndex = 0,
    ) -> None:
        self._samples = whole_number("samples", samples, 1, 2**20)
        self.training = a_training("training", training)
        self._start = make_consistent(a_network("network", network))
        self._fitted = self._copy_of_start(whole_number("seed", seed, 0))
        self._repeats: bool | None = None

    def __repr__(self) -> str:
        return f"MCDropout(samples={self._samples}, training={self.training})"

    def __getstate__(self) -> dict[str, object]:
        # What was found out on the way is no part of what the model is.
        return {**vars(self), "_repeats": None}

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
        """Trains a fresh copy of the network, and draws new masks.

        With ``training.patience``, training stops when the network, without dropout, no longer improves on the
        validation examples.

        Raises:
            InputError, TrainingError: as ``tonsure.training.fit``; the model is unchanged then.
        """
        inputs, labels_n = as_examples(inputs, labels_n)
        stop_by = as_validation(validation)
        network = self._copy_of_start(whole_number("seed", seed, 0))
        fit(network, inputs, labels_n, self.training, seed=seed, validation=stop_by)
        self._fitted, self._repeats = network, None

    def members(self) -> Iterator[Member]:
        yield self._all_samples

    @property
    def has_features(self) -> bool:
        """Whether the network contains an ``nn.Linear``."""
        return has_linear(self._start)

    @modeling()
    def features(self, inputs: Inputs, *, block_size: SupportsIndex = 1024) -> Float[Tensor, "n D"]:
        """The penultimate activations of the network, without dropout.

        Raises:
            InputError: as ``penultimate``.
        """
        for layer in _dropouts(self._fitted):
            layer.use(sample=None, items=0)
        with _attention_as_written():
            return penultimate(self._fitted, inputs, device=self.training.device, block_size=block_size)

    def _copy_of_start(self, seed: int) -> nn.Sequential:
        with as_input_error("the network cannot be copied"):
            network = copy.deepcopy(self._start)
        for layer in _dropouts(network):
            layer.forget(seed=seed, samples=self._samples)
        device = usable_device(self.training.device)
        with as_input_error(f"the network cannot be moved to {device}"):
            return network.to(device).eval()

    @modeling()
    @torch.no_grad()
    def _all_samples(self, inputs: Tensor) -> Float[Tensor, "n K C"]:
        once, each = (nn.Sequential(*layers) for layers in _split(self._fitted))
        if self._repeats is False:
            once, each = nn.Sequential(), nn.Sequential(self._fitted)
        dropouts = _dropouts(each)
        log_probs: list[Tensor] = []
        with _attention_as_written():
            shared = output_of(once, copied(inputs, self.training.device))

            def log_probs_of(sample: int) -> Float[Tensor, "n C"]:
                for layer in dropouts:
                    layer.use(sample=sample, items=len(inputs))
                spared = isinstance(each[0], ConsistentDropout) and each[0].leaves_its_input
                given = shared if spared else copied(shared)
                logits_n_C = checked_logits(output_of(each, given), len(inputs))
                return nn.functional.log_softmax(logits_n_C.float(), dim=1)

            # One sample at a time: this needs memory for one block instead of K, and is 2 to 5 times faster on a CPU
            # than repeating the activations K times, which do not fit into its cache.
            for sample in range(self._samples):
                log_probs.append(log_probs_of(sample))
                if self._repeats is None:
                    # A layer may change in place what an earlier one has kept, as a connection around a dropout layer
                    # does: then a second pass over the same sample differs, and all layers run for each sample.
                    self._repeats = len(once) == 0 or torch.equal(log_probs[0], log_probs_of(sample))
                    if not self._repeats:
                        return self._all_samples(inputs)
        if all(layer.masks is None for layer in dropouts):
            raise InputError("the network does not use its dropout layers: all posterior samples are the same")
        return torch.stack(log_probs, dim=1).to(inputs.device)


def _dropouts(network: nn.Module) -> list[ConsistentDropout]:
    return [module for module in network.modules() if isinstance(module, ConsistentDropout)]


def _split(network: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The layers before the first dropout layer, which are the same for all samples, and the others."""
    # Only if the order of the layers is known: a Sequential with its own forward, and nothing around it.
    own_forward = getattr(network.forward, "__func__", None) is nn.Sequential.forward
    if (
        isinstance(network, nn.Sequential)
        and own_forward
        and not (network._forward_pre_hooks or network._forward_hooks)
    ):
        layers = list(network)
        for i, layer in enumerate(layers):
            if _dropouts(layer):
                once, each = _split(layer)
                return layers[:i] + once, each + layers[i + 1 :]
    return [], [network]


@contextmanager
def _attention_as_written() -> Iterator[None]:
    """Disables the fused operation of transformer layers in evaluation mode, which skips their dropout layers."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
