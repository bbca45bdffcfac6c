"""One turn of the circle: fit, measure, predict, select, ask, label."""

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tonsure.errors import InputError, SelectionWarning
from tonsure.labels import LabelSource
from tonsure.models import BayesianModel
from tonsure.objective import Objective
from tonsure.optimizers import Optimizer
from tonsure.pool import Pool
from tonsure.predictions import predict
from tonsure.seeding import derive_seed
from tonsure.strategies import Searched, Strategy, View
from tonsure.training import Examples

Measure = Callable[[BayesianModel], Mapping[str, float]]
"""From a fitted model to numbers about it, by name."""


@dataclass(frozen=True)
class Round:
    """What one round found out.

    Attributes:
        labeled: how many labels the model was fitted to.
        measure: what was measured of it.
        rows: what was chosen next, in that order, and labeled; nothing in the last round.
        labels: what was answered, row by row.
        gains: what each row added when it was chosen; nats where the objective is an information, else in the unit
            of the objective or strategy.
        positive: how many of the rows had a positive gain.
        seconds: spent in "fit", "predict" (of features too) and "select".
        peak_memory: of the process so far, and of the GPU where there is one; bytes.
        warnings: what ``select`` or the strategy had to say.
    """

    labeled: int
    measure: Mapping[str, float]
    rows: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    positive: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    warnings: list[str] = field(default_factory=list)


def rounds(
    pool: Pool,
    model: BayesianModel,
    objective: Objective[Any, Any] | Strategy,
    k: int,
    *,
    ask: LabelSource,
    until: int,
    by: Optimizer | None = None,
    measure: Measure | None = None,
    validation: Examples | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Iterator[Round]:
    """Learns actively: fits the model to the labels so far, and lets it choose the next k, until there are enough.

    A round is given out when its labels have joined the pool. The seeds of fitting and selecting depend on ``seed``
    and on the number of labels alone, so a loop that is begun again on the same pool goes on as it would have.

    Args:
        pool: with some labels to begin with; labeled in place.
        model: fitted afresh in every round.
        objective: what a batch is worth; or a strategy, which looks at features and labels too.
        k: how many rows are chosen in a round; fewer in the last if ``until`` or the pool is reached.
        ask: where labels come from: called with rows, answers with their labels.
        until: the number of labels at which to stop, after one more fit and measurement.
        by: the optimizer of an objective; by default that of ``select``.
        measure: what to measure of every fitted model, such as ``accuracy(test_inputs, test_labels)``.
        validation: inputs and labels for ``model.fit`` to stop by; nothing is passed on where there are none, so other
            models need not take them.
        device: where the selection is done; the model knows its own.

    Raises:
        InputError: no row of the pool is labeled, k is below one, a strategy has an optimizer beside it, or the model's
            predictions or features cannot be used.

    Warns:
        SelectionWarning: as ``select`` or the strategy does; the round keeps the text too.
    """
    if len(pool.labels) == 0:
        raise InputError(f"{pool!r} holds no label: give it some to begin with, Pool(inputs, labels={{row: label}})")
    if k < 1:
        raise InputError(f"k is {k}, expected at least 1")
    strategy = as_strategy(objective, by)
    stop_by: dict[str, Any] = {} if validation is None else {"validation": validation}
    while True:
        labeled = len(pool.labels)
        seconds = {"fit": 0.0, "predict": 0.0, "select": 0.0}
        with _timed(seconds, "fit"):
            model.fit(*pool.labeled(), seed=derive_seed(seed, labeled, 0), **stop_by)
        measured = dict(measure(model)) if measure else {}
        unlabeled_rows = pool.unlabeled_rows
        count = min(k, until - labeled, len(unlabeled_rows))
        if count < 1:
            yield Round(labeled, measured, seconds=seconds, peak_memory=peak_memory())
            return
        with _timed(seconds, "predict"):
            seen = _look(model, pool, strategy)
        with _timed(seconds, "select"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SelectionWarning)
            there = {name: tensor.to(device) for name, tensor in seen.items()}
            view = View(pool.labeled_rows, pool.labels, unlabeled_rows, **there)
            generator = torch.Generator().manual_seed(derive_seed(seed, labeled, 1))
            selection = strategy.choose(view, count, generator)
        for warning in caught:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        rows = selection.rows
        labels = ask(rows)
        pool.label(rows, labels)
        yield Round(
            labeled,
            measured,
            rows.tolist(),
            labels.tolist(),
            selection.gains.tolist(),
            selection.positive,
            seconds,
            peak_memory(),
            [str(warning.message) for warning in caught],
        )


def as_strategy(objective: Objective[Any, Any] | Strategy, by: Optimizer | None) -> Strategy:
    """A strategy as it is, an objective with the optimizer that searches for it.

    Raises:
        InputError: a strategy has an optimizer beside it.
    """
    if not isinstance(objective, Strategy):
        return Searched(objective, by)
    if by is not None:
        raise InputError(f"{objective} chooses rows by itself: expected no optimizer, found by={by}")
    return objective


def _look(model: BayesianModel, pool: Pool, strategy: Strategy) -> dict[str, Tensor]:
    """What the strategy needs to see, and nothing else."""
    seen = {}
    if strategy.needs_features:
        seen["features_N_D"] = model.features(pool.inputs)
    if strategy.needs_predictions:
        seen["log_probs_n_K_C"] = predict(model, pool.inputs, pool.unlabeled_rows)
    if strategy.needs_labeled_predictions:
        seen["labeled_log_probs_m_K_C"] = predict(model, pool.inputs, pool.labeled_rows)
    return seen


def peak_memory() -> int:
    """The most memory that this process has held so far, with that of its GPU; bytes."""
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0
    if sys.platform == "win32":
        return gpu
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return gpu + most * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
