"""Training of one network on labeled data."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, SupportsIndex

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tonsure.arguments import Settings, instance, optional, real, refusal, setting, shown, whole, whole_number
from tonsure.errors import InputError, TrainingError
from tonsure.networks.forward import a_network, as_input_error, is_dense, logits_of, modes_kept
from tonsure.progress import progress
from tonsure.seeding import seeded
from tonsure.surroundings import modeling, usable_device

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


def _optimizer(name: str, given: object) -> Any:
    if not callable(given):
        raise refusal(name, given, "a class of torch.optim, or a function that gives an optimizer")
    return given


def _schedule(name: str, given: object) -> Any:
    if isinstance(given, type) or not callable(given):
        raise refusal(name, given, "a function such as tonsure.training.cosine")
    return given


def _device(name: str, given: object) -> str:
    with as_input_error(f"{name} is {shown(given)}"):
        return str(torch.device(given))  # type: ignore[call-overload]  # or it is refused


@dataclass(frozen=True)
class Training(Settings):
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
        InputError: both iterations and epochs are given, or a setting is of another type or out of range.
    """

    optimizer: Callable[..., torch.optim.Optimizer] = setting(_optimizer, torch.optim.Adam)
    learning_rate: float = setting(real(above=0), 1e-3)
    weight_decay: float = setting(real(least=0), 0.0)
    schedule: Schedule = setting(_schedule, constant)
    iterations: int | None = setting(optional(whole(1)), None)
    epochs: int | None = setting(optional(whole(1)), None)
    batch_size: int = setting(whole(1), 64)
    device: str = setting(_device, "cpu")
    patience: int | None = setting(optional(whole(1)), None)

    def __post_init__(self) -> None:
        if self.iterations is not None and self.epochs is not None:
            raise InputError(f"give iterations ({self.iterations}) or epochs ({self.epochs}), not both")
        if self.iterations is None and self.epochs is None:
            object.__setattr__(self, "iterations", 1000)
        super().__post_init__()

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

    def optimizer_for(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """A new optimizer of the parameters; raises InputError if it cannot be made with these settings."""
        name = stable_name(self.optimizer)
        with as_input_error(f"optimizer={name} cannot be called with parameters, lr and weight_decay"):
            optimizer = self.optimizer(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
        return _an_optimizer(f"what {name} returns", optimizer)

    def set_learning_rate(self, optimizer: torch.optim.Optimizer, done: float) -> float:
        """Sets, and returns, the learning rate of the schedule after the fraction ``done`` of the training."""
        with as_input_error(f"schedule={stable_name(self.schedule)} failed at {done:g}"):
            factor = self.schedule(done)
        learning_rate = self.learning_rate * _a_factor(f"schedule({done:g})", factor)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        return learning_rate


DEFAULT_TRAINING = Training()

a_training = instance(Training, "Training()")
"""The check of an argument that is a training."""

_an_optimizer, _a_factor = instance(torch.optim.Optimizer, "torch.optim.Adam"), real(least=0)


def fit(
    network: nn.Module,
    inputs: Tensor,
    labels_n: Int[Tensor, " n"],
    training: Training,
    *,
    seed: SupportsIndex,
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
        InputError: there is no example, inputs and labels differ in number, a label is no class of the network; the
            network or the optimizer cannot be used, the output of the network is not [n, C], or nothing in it can be
            trained; the same for the validation examples; patience is given without validation examples, or they
            without patience.
        TrainingError: the loss, or a weight after the last step, is not finite.
    """
    with modeling():
        device, seed = checked_setup(inputs, labels_n, training, validation, seed)
        trained = trainable(network)
        with modes_kept(network):
            with as_input_error(f"the network cannot be moved to {device}"):
                network.to(device).train()
            _fit(network, inputs, labels_n, training, device, seed, validation)
        check_weights(trained)
        return network.eval()


def _fit(
    network: nn.Module,
    inputs: Tensor,
    labels_n: Int[Tensor, " n"],
    training: Training,
    device: torch.device,
    seed: int,
    validation: Examples | None,
) -> None:
    iterations, pass_length = training.iterations_for(len(labels_n)), training.batches_per_epoch(len(labels_n))
    optimizer = training.optimizer_for(network.parameters())
    batches = shuffled_batches(len(labels_n), training, seed)
    best = _Best(*validation) if validation else None
    with seeded(seed, device):
        for iteration, rows in enumerate(progress(batches, "fit", total=iterations, delay=2)):
            learning_rate = training.set_learning_rate(optimizer, iteration / iterations)
            logits = logits_of(network, inputs[rows], device)
            loss = nn.functional.cross_entropy(logits, checked_classes(labels_n[rows], logits.shape[1]).to(device))
            if not math.isfinite(loss.item()):
                raise TrainingError(diverged(loss.item(), iteration, iterations, learning_rate, inputs))
            with as_input_error("the network cannot be trained"):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if best and ((iteration + 1) % pass_length == 0 or iteration + 1 == iterations):
                best.compare(network, device)
                if best.passes_since == training.patience:
                    break
    if best:
        network.load_state_dict(best.weights)


def trainable(network: object) -> list[Tensor]:
    """The parameters of a network that a training changes.

    Raises:
        InputError: it is no network, or has none of them.
    """
    a_network("network", network)
    assert isinstance(network, nn.Module)
    found: list[Tensor] = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not found:
        raise InputError("the network has nothing to train: no parameter requires a gradient")
    if any(not is_lazy(parameter) and parameter.is_inference() for parameter in found):
        raise InputError(
            "the network was made in inference mode, so it cannot be trained: make it, or copy.deepcopy it, outside"
        )
    return found


def check_weights(weights: Iterable[Tensor]) -> None:
    """Raises TrainingError if a weight is not finite after the last step, which no loss has seen."""
    if not all(bool(weight.isfinite().all()) for weight in weights):
        raise TrainingError("a weight is not finite after the last step: a smaller learning rate may help")


def checked_setup(
    inputs: Tensor, labels_n: Int[Tensor, " n"], training: object, validation: Examples | None, seed: object
) -> tuple[torch.device, int]:
    """The device and the seed of a training.

    Raises:
        InputError: the examples cannot be trained on, or do not fit the settings; or the device or the seed cannot be
            used.
    """
    a_training("training", training)
    assert isinstance(training, Training)
    _check_pairs("training", inputs, labels_n)
    if validation is None:
        if training.patience is not None:
            raise InputError(
                f"patience={training.patience} needs examples to stop by: fit(..., validation=(inputs, labels))"
            )
    else:
        if training.patience is None:
            raise InputError("validation examples only serve to stop early: say when, Training(patience=...)")
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise refusal("validation", validation, "a pair (inputs, labels)")
        _check_pairs("validation", *validation)
    return usable_device(training.device), whole_number("seed", seed, 0)


def _check_pairs(what: str, inputs: object, labels_n: object) -> None:
    for name, given in (("inputs", inputs), ("labels", labels_n)):
        if not isinstance(given, Tensor) or not is_dense(given) or given.ndim == 0:
            raise refusal(f"{name} of {what}", given, "a dense tensor with the examples on its first axis")
    assert isinstance(inputs, Tensor)
    assert isinstance(labels_n, Tensor)
    if len(inputs) != len(labels_n) or len(labels_n) == 0:
        raise InputError(f"{what} needs one label for each input, found {len(inputs)} and {len(labels_n)}")
    if labels_n.ndim != 1 or labels_n.is_floating_point() or labels_n.is_complex() or labels_n.dtype == torch.bool:
        raise refusal(f"labels of {what}", labels_n, "classes, whole numbers from 0, on one axis")


def shuffled_batches(n: int, training: Training, seed: int) -> Iterator[Int[Tensor, " b"]]:
    """The rows of each step. Every pass over the n examples has its own order."""
    return islice(_passes(n, training.batches_per_epoch(n), seed), training.iterations_for(n))


def checked_classes(labels_n: Int[Tensor, " n"], classes: int, what: str = "labels") -> Int[Tensor, " n"]:
    """The labels as int64; raises InputError if one is no class."""
    # On a GPU, cross_entropy answers a label out of range by ending the process.
    labels_n = labels_n.long()  # torch compares not all unsigned types
    if labels_n.min() < 0 or labels_n.max() >= classes:
        raise InputError(
            f"{what} must be 0 to {classes - 1}, as the network has {classes} classes; "
            f"found {int(labels_n.min())} to {int(labels_n.max())}"
        )
    return labels_n


def diverged(loss: float, iteration: int, iterations: int, learning_rate: float, inputs: Tensor) -> str:
    """The error message for a loss that is not finite, with a probable cause."""
    bad = ~torch.isfinite(inputs).reshape(len(inputs), math.prod(inputs.shape[1:])).all(dim=1)
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
            logits = logits_of(network, inputs, device)
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
