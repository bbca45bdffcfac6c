"""Training of one network on labeled data."""

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
"""From the completed fraction of the training, in [0, 1], to a factor of the learning rate."""

Examples = tuple[Tensor, Tensor]
"""Inputs [n, ...] and their labels, int64 [n]."""

_BLOCK = 1024  # validation examples at a time


def constant(done: float) -> float:
    """1"""
    return 1.0


def cosine(done: float) -> float:
    """(1 + cos(π · done)) / 2, from 1 to 0 (Loshchilov & Hutter 2017)."""
    return (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Training:
    """Settings of a training: an optimizer minimizes the cross entropy for a number of iterations or epochs.

    If neither is given, the training has 1,000 iterations, because few labels need as many steps as many labels.

    Args:
        optimizer: called with the parameters, ``lr`` and ``weight_decay``.
        learning_rate: before the schedule.
        weight_decay: passed to the optimizer.
        schedule: from the completed fraction to a factor of ``learning_rate``, called before each iteration.
        iterations: the number of batches; or
        epochs: the number of passes over the examples.
        batch_size: the largest number of examples in a step; an epoch is divided into batches of equal size.
        device: where the network is trained and predicts, as ``torch.device`` accepts it.
        patience: the number of passes over the data without a better accuracy on the validation examples after which
            the training stops; ``fit`` then needs validation examples. Iterations or epochs are an upper limit.

    Raises:
        InputError: both iterations and epochs are given, or a number is out of range.
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
        settings = {field.name: stable_name(getattr(self, field.name)) for field in fields(self)}
        if self.patience is None:
            del settings["patience"]
        return f"Training({', '.join(f'{name}={setting}' for name, setting in settings.items())})"

    def iterations_for(self, n: int) -> int:
        """The largest number of steps of a training on n examples."""
        return self.iterations or (self.epochs or 0) * self.batches_per_epoch(n)

    def batches_per_epoch(self, n: int) -> int:
        """The number of steps of one pass over n examples."""
        return math.ceil(n / self.batch_size)

    def set_learning_rate(self, optimizer: torch.optim.Optimizer, done: float) -> float:
        """Sets, and returns, the learning rate of the schedule after the fraction ``done`` of the training."""
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

    The same network, data, training and seed give the same weights, bit by bit on the same CPU. On a GPU cuDNN is
    deterministic; ``torch.use_deterministic_algorithms`` controls other operations.

    With ``training.patience`` the accuracy on the validation examples is measured, in evaluation mode, after every pass
    over the data and at the end. The weights are those of the first pass with the best accuracy. Until then they are
    the same as without validation.

    Args:
        network: from inputs [n, ...] to logits [n, C].
        inputs: of the examples, [n, ...].
        labels_n: classes from 0.
        training: the settings.
        seed: of the batches and the dropout. Global generators are restored.
        validation: inputs and labels for early stopping.

    Returns:
        The same network, on the device of the training and in evaluation mode.

    Raises:
        InputError: there is no example, inputs and labels differ in number, a label is no class of the network, or the
            output of the network is not [n, C]; the same for the validation examples; patience is given without
            validation examples, or they without patience.
        TrainingError: the loss is not finite.
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
    """Raises InputError if the examples cannot be trained on, or do not fit the settings."""
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
    """The rows of each step. Every pass over the n examples has its own order."""
    return islice(_passes(n, training.batches_per_epoch(n), seed), training.iterations_for(n))


def checked_logits(logits: object, n: int) -> Float[Tensor, "n C"]:
    """The output of a network for n items; raises InputError if it is not [n, C]."""
    if not isinstance(logits, Tensor):
        raise InputError(f"the network must return logits [n, C], found {type(logits).__name__}")
    if logits.ndim != 2 or len(logits) != n:
        raise InputError(f"the network must return logits [n, C], found the shape {list(logits.shape)} for n = {n}")
    return logits


def checked_classes(labels_n: Int[Tensor, " n"], classes: int, what: str = "labels") -> Int[Tensor, " n"]:
    """The labels as int64; raises InputError if one is no class."""
    # On a GPU, cross_entropy answers a label out of range by ending the process.
    if labels_n.min() < 0 or labels_n.max() >= classes:
        raise InputError(
            f"{what} must be 0 to {classes - 1}, as the network has {classes} classes; "
            f"found {int(labels_n.min())} to {int(labels_n.max())}"
        )
    return labels_n.long()


def diverged(loss: float, iteration: int, iterations: int, learning_rate: float, inputs: Tensor) -> str:
    """The error message for a loss that is not finite, with a probable cause."""
    bad = ~torch.isfinite(inputs).reshape(len(inputs), -1).all(dim=1)
    cause = "a smaller one, or inputs on another scale, may help"
    if bad.any():
        cause = f"example {int(bad.nonzero()[0])} of {len(inputs)} is not finite"
    where = f"at iteration {iteration} of {iterations}, with the learning rate {learning_rate:g}"
    return f"the loss is {loss} {where}: {cause}"


def best_device() -> str:
    """``"cuda"`` if torch can use a GPU, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class _Best:
    """The weights with the largest accuracy on the validation examples, the earliest of them.

    Args:
        inputs: of the validation examples, [n, ...].
        labels_n: their classes.
    """

    def __init__(self, inputs: Tensor, labels_n: Int[Tensor, " n"]) -> None:
        self._inputs, self._labels_n = inputs, labels_n
        self._right = -1
        self.passes_since = 0
        self.weights: dict[str, Any] = {}

    def compare(self, network: nn.Module, device: torch.device) -> None:
        """Copies the weights and buffers of the network if its accuracy is larger than all before."""
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


def stable_name(value: object) -> str:
    """A function or a class by name, whatever module of this library it is in; anything else as it is printed."""
    if callable(value) and hasattr(value, "__qualname__"):
        package = value.__module__.partition(".")[0]
        return f"{package if package == 'tonsure' else value.__module__}.{value.__qualname__}"
    return repr(value)
