"""Fitting one network to labeled data."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from tonsure.errors import InputError, TrainingError
from tonsure.seeding import seeded

Schedule = Callable[[float], float]
"""From the fraction of the training that is done, in [0, 1], to what the learning rate is multiplied by."""

Examples = tuple[Tensor, Tensor]
"""Inputs [n, ...] and their labels, int64 [n]."""

_BLOCK = 1024  # validation examples at a time


def constant(done: float) -> float:
    """1"""
    return 1.0


def cosine(done: float) -> float:
    """(1 + cos(π · done)) / 2: from 1 down to 0, slowly at both ends (Loshchilov & Hutter 2017)."""
    return (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Training:
    """How a network is trained: minimal cross entropy, by an optimizer, for a number of iterations or epochs.

    Without a number of either it is 1,000 iterations: few labels need as many steps as many labels do.

    Args:
        optimizer: called with the parameters, ``lr`` and ``weight_decay``.
        schedule: from the fraction done to a factor of ``learning_rate``, asked before each iteration.
        iterations: how many batches; or else
        epochs: how many times every example is seen.
        batch_size: examples per step; an epoch is cut into parts of equal size that are no larger.
        patience: stop early: after so many passes over the data without a better accuracy on validation examples, which
            ``fit`` is then to be given. Iterations or epochs are the most there will be.
        device: where the network is trained and predicts, as ``torch.device`` reads it.

    Raises:
        InputError: both iterations and epochs were given, or a number is out of range.
    """

    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Schedule = constant
    iterations: int | None = None
    epochs: int | None = None
    batch_size: int = 64
    device: str = "cpu"
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.iterations is not None and self.epochs is not None:
            raise InputError(f"give iterations ({self.iterations}) or epochs ({self.epochs}), not both")
        if self.iterations is None and self.epochs is None:
            object.__setattr__(self, "iterations", 1000)
        for name in ("iterations", "epochs", "batch_size", "patience"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise InputError(f"{name} must be at least 1, found {number}")
        if not (self.learning_rate > 0 and self.weight_decay >= 0):
            raise InputError(
                f"learning_rate must be above 0 and weight_decay not below 0, "
                f"found {self.learning_rate} and {self.weight_decay}"
            )

    def __repr__(self) -> str:
        # Functions by name: an experiment's record holds this line, and an address changes with every run.
        # Without patience it is the line that records held before there was any.
        settings = {field.name: _name_of(getattr(self, field.name)) for field in fields(self)}
        if self.patience is None:
            del settings["patience"]
        return f"Training({', '.join(f'{name}={setting}' for name, setting in settings.items())})"

    def iterations_for(self, n: int) -> int:
        """How many steps the training on n examples takes at most."""
        return self.iterations or (self.epochs or 0) * self.batches_per_epoch(n)

    def batches_per_epoch(self, n: int) -> int:
        """How many steps show each of n examples once."""
        return math.ceil(n / self.batch_size)

    def set_learning_rate(self, optimizer: torch.optim.Optimizer, done: float) -> float:
        """What the schedule asks for when the fraction ``done`` of the training is done."""
        learning_rate = self.learning_rate * self.schedule(done)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        return learning_rate


DEFAULT_TRAINING = Training()


def fit(
    network: nn.Module,
    inputs: Tensor,
    labels_n: Int[Tensor, " n"],
    training: Training,
    *,
    seed: int,
    validation: Examples | None = None,
) -> nn.Module:
    """Minimizes  −1/n Σ_i log softmax(network(x_i))[y_i]  over the network's weights, in place.

    The same network, data, training and seed give the same weights, on the same CPU to the bit. On a GPU
    cuDNN is made deterministic; of other operations, ``torch.use_deterministic_algorithms`` makes them
    so or refuses.

    With ``training.patience`` the accuracy on the validation examples is measured, in evaluation mode, after every pass
    over the data and at the end; the weights are those of the first pass with the best one. Up to there they are what
    they would have been without validation.

    Args:
        network: from inputs [n, ...] to logits [n, C].
        seed: decides the batches and the dropout. No global generator is disturbed.
        validation: inputs and their labels that decide when to stop.

    Returns:
        The same network, on the training's device and in evaluation mode.

    Raises:
        InputError: there is no example, inputs and labels differ in number, a label is no class of the
            network, or the network's output is not [n, C]. The same of the validation examples; or there is patience
            without them, or they without patience.
        TrainingError: the loss is no longer finite.
    """
    check_examples(inputs, labels_n, training, validation)
    device = torch.device(training.device)
    iterations, pass_length = training.iterations_for(len(labels_n)), training.batches_per_epoch(len(labels_n))
    network.to(device).train()
    optimizer = training.optimizer(network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    batches = shuffled_batches(len(labels_n), training, seed)
    best = _Best(*validation) if validation else None
    with seeded(seed, device), torch.enable_grad():
        for iteration, rows in enumerate(tqdm(batches, "fit", total=iterations, disable=None, leave=False, delay=2)):
            learning_rate = training.set_learning_rate(optimizer, iteration / iterations)
            logits = checked_logits(network(inputs[rows].to(device)), len(rows))
            loss = nn.functional.cross_entropy(logits, checked_classes(labels_n[rows], logits.shape[1]).to(device))
            if not math.isfinite(loss.item()):
                raise TrainingError(diverged(loss.item(), iteration, iterations, learning_rate, inputs))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if best and ((iteration + 1) % pass_length == 0 or iteration + 1 == iterations):
                best.compare(network, device)
                if best.passes_since == training.patience:
                    break
    if best:
        network.load_state_dict(best.weights)
    return network.eval()


def check_examples(
    inputs: Tensor, labels_n: Int[Tensor, " n"], training: Training, validation: Examples | None
) -> None:
    """Refuses examples that nothing can be trained on, or whose number says that something was forgotten."""
    if len(inputs) != len(labels_n) or len(labels_n) == 0:
        raise InputError(f"training needs one label for each input, found {len(inputs)} and {len(labels_n)}")
    if validation is None:
        if training.patience is not None:
            raise InputError(
                f"patience={training.patience} needs examples to stop by: fit(..., validation=(inputs, labels))"
            )
        return
    if training.patience is None:
        raise InputError("validation examples only serve to stop early: say when, Training(patience=...)")
    if len(validation[0]) != len(validation[1]) or len(validation[1]) == 0:
        raise InputError(
            f"validation needs one label for each input, found {len(validation[0])} and {len(validation[1])}"
        )


def shuffled_batches(n: int, training: Training, seed: int) -> Iterator[Int[Tensor, " b"]]:
    """The rows of each step: every pass over the n examples in an order of its own."""
    return islice(_passes(n, training.batches_per_epoch(n), seed), training.iterations_for(n))


def checked_logits(logits: object, n: int) -> Float[Tensor, "n C"]:
    """The output of a network for n items, refused with its shape when it is not [n, C]."""
    if not isinstance(logits, Tensor):
        raise InputError(f"the network must return logits [n, C], found {type(logits).__name__}")
    if logits.ndim != 2 or len(logits) != n:
        raise InputError(f"the network must return logits [n, C], found the shape {list(logits.shape)} for n = {n}")
    return logits


def checked_classes(labels_n: Int[Tensor, " n"], classes: int, what: str = "labels") -> Int[Tensor, " n"]:
    """The labels as indices of classes, refused with their range when one is out of it."""
    # On a GPU, cross_entropy answers a label out of range by ending the process.
    if labels_n.min() < 0 or labels_n.max() >= classes:
        raise InputError(
            f"{what} must be 0 to {classes - 1}, as the network has {classes} classes; "
            f"found {int(labels_n.min())} to {int(labels_n.max())}"
        )
    return labels_n.long()


def diverged(loss: float, iteration: int, iterations: int, learning_rate: float, inputs: Tensor) -> str:
    """What there is to say of a loss that is not finite."""
    bad = ~torch.isfinite(inputs).reshape(len(inputs), -1).all(dim=1)
    cause = "a smaller one, or inputs on another scale, may help"
    if bad.any():
        cause = f"example {int(bad.nonzero()[0])} of {len(inputs)} is not finite"
    where = f"at iteration {iteration} of {iterations}, with the learning rate {learning_rate:g}"
    return f"the loss is {loss} {where}: {cause}"


def best_device() -> str:
    """``cuda`` where there is a GPU that torch can use, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class _Best:
    """The weights that were right on most of the validation examples, the earliest of them.

    Args:
        inputs: [n, ...].
        labels_n: their classes.
    """

    def __init__(self, inputs: Tensor, labels_n: Int[Tensor, " n"]) -> None:
        self._inputs, self._labels_n = inputs, labels_n
        self._right = -1
        self.passes_since = 0
        self.weights: dict[str, Any] = {}

    def compare(self, network: nn.Module, device: torch.device) -> None:
        """Notes the network's weights, with its buffers, if it is better than all before it."""
        right = self._count_right(network.eval(), device)
        network.train()
        self.passes_since += 1
        if right > self._right:
            self._right, self.passes_since = right, 0
            self.weights = copy.deepcopy(network.state_dict())

    @torch.no_grad()
    def _count_right(self, network: nn.Module, device: torch.device) -> int:
        right = 0
        for inputs, labels_n in zip(self._inputs.split(_BLOCK), self._labels_n.split(_BLOCK), strict=True):
            logits = checked_logits(network(inputs.to(device)), len(labels_n))
            labels_n = checked_classes(labels_n, logits.shape[1], "validation labels")
            right += int((logits.argmax(dim=1) == labels_n.to(device)).sum())
        return right


def _passes(n: int, parts: int, seed: int) -> Iterator[Int[Tensor, " b"]]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        # Parts of equal size: a last batch of one example would stop batch normalization.
        yield from torch.randperm(n, generator=generator).tensor_split(parts)


def _name_of(value: object) -> str:
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)
