"""MC dropout: a network and K of its dropout masks."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel, Member
from tonsure.models.consistent_dropout import ConsistentDropout, make_consistent
from tonsure.models.features import penultimate
from tonsure.training import DEFAULT_TRAINING, Examples, Training, checked_logits, fit


class MCDropout(BayesianModel):
    """θ_k = (weights, z_k): one network trained with dropout, K masks z_k kept until the next fit.

    Dropout that is no layer of its own (``F.dropout``, the one inside attention or ``nn.LSTM``) is used in
    training and off in prediction, as in evaluation mode. Before it is fitted, it predicts with the network's
    initial weights. Gal & Ghahramani 2016.

    Args:
        network: from inputs [n, ...] to logits [n, C], with dropout layers whose first axis is the items. It
            is copied, and each fit starts from the weights it has now.
        samples: K.
        seed: decides the masks before the first fit.

    Raises:
        InputError: the network has no dropout layer, or one that is more than a mask (``nn.AlphaDropout``).
    """

    def __init__(self, network: nn.Module, samples: int, training: Training = DEFAULT_TRAINING, seed: int = 0) -> None:
        if samples < 1:
            raise InputError(f"samples must be at least 1, found {samples}")
        self._samples = samples
        self.training = training
        self._start = make_consistent(network)
        self._fitted = self._copy_of_start(seed)

    def __repr__(self) -> str:
        return f"MCDropout(samples={self._samples}, training={self.training})"

    @property
    def samples(self) -> int:
        return self._samples

    def fit(
        self, inputs: Tensor, labels_n: Int[Tensor, " n"], *, seed: int = 0, validation: Examples | None = None
    ) -> None:
        """Trains a fresh copy of the network, and draws new masks.

        With ``training.patience``, until it no longer gets better on the validation examples, without dropout.

        Raises:
            InputError, TrainingError: as ``tonsure.training.fit``; the model then stays as it was.
        """
        network = self._copy_of_start(seed)
        fit(network, inputs, labels_n, self.training, seed=seed, validation=validation)
        self._fitted = network

    def members(self) -> Iterator[Member]:
        yield self._all_samples

    def features(self, inputs: Tensor, *, block_size: int = 1024) -> Float[Tensor, "n D"]:
        """What the last linear layer of the network is given, without dropout.

        Raises:
            InputError: as ``penultimate``.
        """
        for layer in _dropouts(self._fitted):
            layer.use(sample=None, items=0)
        with _attention_as_written():
            return penultimate(self._fitted, inputs, device=self.training.device, block_size=block_size)

    def _copy_of_start(self, seed: int) -> nn.Sequential:
        network = copy.deepcopy(self._start)
        for layer in _dropouts(network):
            layer.forget(seed=seed, samples=self._samples)
        network.to(self.training.device).eval()
        return network

    @torch.no_grad()
    def _all_samples(self, inputs: Tensor) -> Float[Tensor, "n K C"]:
        once, each = (nn.Sequential(*layers) for layers in _split(self._fitted))
        dropouts = _dropouts(each)
        log_probs: list[Tensor] = []
        with _attention_as_written():
            shared = once(inputs.to(self.training.device))
            # One sample after the other: memory for one block instead of K, and 2 to 5 times faster on a CPU
            # than the activations repeated K times, which do not fit into its cache.
            for sample in range(self._samples):
                for layer in dropouts:
                    layer.use(sample=sample, items=len(inputs))
                logits_n_C = checked_logits(each(shared), len(inputs))
                log_probs.append(nn.functional.log_softmax(logits_n_C.float(), dim=1))
        if all(layer.masks is None for layer in dropouts):
            raise InputError("the network does not use its dropout layers: all posterior samples are the same")
        return torch.stack(log_probs, dim=1).to(inputs.device)


def _dropouts(network: nn.Module) -> list[ConsistentDropout]:
    return [module for module in network.modules() if isinstance(module, ConsistentDropout)]


def _split(network: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The layers before the first dropout, the same function for all samples, and the others."""
    # Only where the order is known: a sequence that is run as one.
    if isinstance(network, nn.Sequential) and type(network).forward is nn.Sequential.forward:
        layers = list(network)
        for i, layer in enumerate(layers):
            if _dropouts(layer):
                once, each = _split(layer)
                return layers[:i] + once, each + layers[i + 1 :]
    return [], [network]


@contextmanager
def _attention_as_written() -> Iterator[None]:
    """In evaluation mode torch may run a transformer layer as one fused operation, without its dropout."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
