"""Fitting one network to labeled data: the only training loop there is."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from tonsure.errors import InputError, TonsureError

Schedule = Callable[[float], float]
"""From the fraction of the training that is done, in [0, 1], to what the learning rate is multiplied by."""


class TrainingError(TonsureError, RuntimeError):
    """The training diverged; the message names the iteration and the learning rate."""


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

    def __post_init__(self) -> None:
        if self.iterations is not None and self.epochs is not None:
            raise InputError(f"give iterations ({self.iterations}) or epochs ({self.epochs}), not both")
        if self.iterations is None and self.epochs is None:
            object.__setattr__(self, "iterations", 1000)
        for name in ("iterations", "epochs", "batch_size"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise InputError(f"{name} must be at least 1, found {number}")
        if not (self.learning_rate > 0 and self.weight_decay >= 0):
            raise InputError(
                f"learning_rate must be above 0 and weight_decay not below 0, "
                f"found {self.learning_rate} and {self.weight_decay}"
            )

    def __repr__(self) -> str:
        # Functions by name: an experiment's record holds this line, and an address changes with every run.
        settings = (f"{field.name}={_name_of(getattr(self, field.name))}" for field in fields(self))
        return f"Training({', '.join(settings)})"


DEFAULT_TRAINING = Training()


def fit(network: nn.Module, inputs: Tensor, labels_n: Int[Tensor, " n"], training: Training, *, seed: int) -> nn.Module:
    """Minimizes  −1/n Σ_i log softmax(network(x_i))[y_i]  over the network's weights, in place.

    The same network, data, training and seed give the same weights, on the same CPU to the bit. On a GPU
    cuDNN is made deterministic; of other operations, ``torch.use_deterministic_algorithms`` makes them
    so or refuses.

    Args:
        network: from inputs [n, ...] to logits [n, C].
        seed: decides the batches and the dropout. No global generator is disturbed.

    Returns:
        The same network, on the training's device and in evaluation mode.

    Raises:
        InputError: there is no example, inputs and labels differ in number, a label is no class of the
            network, or the network's output is not [n, C].
        TrainingError: the loss is no longer finite.
    """
    if len(inputs) != len(labels_n) or len(labels_n) == 0:
        raise InputError(f"training needs one label for each input, found {len(inputs)} and {len(labels_n)}")
    device = torch.device(training.device)
    batches_per_epoch = math.ceil(len(labels_n) / training.batch_size)
    iterations = training.iterations or (training.epochs or 0) * batches_per_epoch
    network.to(device).train()
    optimizer = training.optimizer(network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    batches = islice(_shuffled(len(labels_n), batches_per_epoch, seed), iterations)
    with seeded(seed, device), torch.enable_grad():
        for iteration, rows in enumerate(tqdm(batches, "fit", total=iterations, disable=None, leave=False, delay=2)):
            learning_rate = training.learning_rate * training.schedule(iteration / iterations)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            logits = checked_logits(network(inputs[rows].to(device)), len(rows))
            loss = nn.functional.cross_entropy(logits, _classes(labels_n[rows], logits.shape[1]).to(device))
            if not math.isfinite(loss.item()):
                raise TrainingError(
                    f"the loss is {loss.item()} at iteration {iteration} of {iterations}, with the learning "
                    f"rate {learning_rate:g}: {_likely_cause(inputs)}"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def checked_logits(logits: object, n: int) -> Float[Tensor, "n C"]:
    """The output of a network for n items, refused with its shape when it is not [n, C]."""
    if not isinstance(logits, Tensor):
        raise InputError(f"the network must return logits [n, C], found {type(logits).__name__}")
    if logits.ndim != 2 or len(logits) != n:
        raise InputError(f"the network must return logits [n, C], found the shape {list(logits.shape)} for n = {n}")
    return logits


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, torch draws from ``seed`` and cuDNN is deterministic; afterwards both are as they were.

    Global generators, because neither ``nn.Dropout`` nor the initial weights of a layer accept one of ours.
    Only those of the CPU and of ``device`` are touched: to ask another GPU for its state claims memory there.
    """
    gpus = []
    if device.type == "cuda":
        gpus = [torch.cuda.current_device() if device.index is None else device.index]
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU too
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(seed)
        try:
            cudnn.deterministic, cudnn.benchmark = True, False
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = before


def derive_seed(*numbers: int) -> int:
    """One seed from several numbers, such as (seed, member): close numbers give unrelated streams.

    Raises:
        ValueError: a number is negative.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])


def best_device() -> str:
    """``cuda`` where there is a GPU that torch can use, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _shuffled(n: int, parts: int, seed: int) -> Iterator[Int[Tensor, " b"]]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        # Parts of equal size: a last batch of one example would stop batch normalization.
        yield from torch.randperm(n, generator=generator).tensor_split(parts)


def _classes(labels_n: Int[Tensor, " n"], classes: int) -> Int[Tensor, " n"]:
    # On a GPU, cross_entropy answers a label out of range by ending the process.
    if labels_n.min() < 0 or labels_n.max() >= classes:
        raise InputError(
            f"labels must be 0 to {classes - 1}, as the network has {classes} classes; "
            f"found {int(labels_n.min())} to {int(labels_n.max())}"
        )
    return labels_n.long()


def _likely_cause(inputs: Tensor) -> str:
    bad = ~torch.isfinite(inputs).reshape(len(inputs), -1).all(dim=1)
    if bad.any():
        return f"example {int(bad.nonzero()[0])} of {len(inputs)} is not finite"
    return "a smaller one, or inputs on another scale, may help"


def _name_of(value: object) -> str:
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)
