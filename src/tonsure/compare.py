"""What each of several methods would choose of the same predictions, measured alike."""

import math
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from tonsure.arrays import Predictions
from tonsure.batch_measures import Averages, averages, joint_information, redundancy
from tonsure.errors import InputError, SelectionWarning
from tonsure.objective import Objective
from tonsure.objectives import (
    BatchBALD,
    LargeBatchBALD,
    LogDet,
    Pointwise,
    Random,
    SecondOrderBoundedLBB,
    SecondOrderLBB,
)
from tonsure.optimizers import Optimizer, PowerSample
from tonsure.plan import as_bytes, plan
from tonsure.scores import bald, entropy, margin

# One door: what select refuses, and how, is the same here.
from tonsure.select import DEFAULT, DEFAULT_BY, Selection, checked_part, select
from tonsure.store import Store


@dataclass(frozen=True)
class Search:
    """An objective, and its optimizer (None: the default one); or neither, as ``select`` then chooses by itself."""

    objective: Objective[Any, Any] | None = None
    by: Optimizer | None = None


METHODS: Mapping[str, Search] = {
    "random": Search(Random()),
    "margin": Search(Pointwise(margin)),
    "entropy": Search(Pointwise(entropy)),
    "BALD": Search(Pointwise(bald)),
    "PowerBALD": Search(Pointwise(bald), PowerSample()),
    "BatchBALD": Search(BatchBALD()),
    "LBB": Search(LargeBatchBALD()),
    "second-order-LBB": Search(SecondOrderLBB()),
    "PLBB": Search(LargeBatchBALD(), PowerSample(beta=5.0)),
    "bounded-LBB": Search(SecondOrderBoundedLBB()),
    "log-det": Search(LogDet()),
    "discounted-margin": Search(DEFAULT, DEFAULT_BY),
}
"""What is compared by default, by the names to pick it by; a new method is one line."""

BY_FEATURES: Mapping[str, Search] = {"facility-location": Search()}
"""What is compared besides where features are given."""

LIMITS: Mapping[str, tuple[int, int, int]] = {"BatchBALD": (50, 20, 3 * 10**8)}
"""k, C and k·N·K·C up to which a slow method is compared by default: beyond, it may take minutes on a CPU."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What a method has chosen, and measures that are the same for all methods.

    Attributes:
        method: what chose it.
        selection: the rows, and their gains in the unit of the method's objective.
        seed: of the optimizer's draws: with it ``select`` chooses the same rows.
        seconds: of ``select``, the check of the predictions included; the measures are not.
        information: I(y_S; θ) of all its labels together, nats; see ``joint_information``.
        standard_error: of the information, nats; 0 where it is exact.
        redundancy: of what an item tells, the share that another of the batch tells too; see ``redundancy``.
        averages: BALD and entropy of an item, and the number of classes.
        warnings: what ``select`` had to say.
    """

    method: Search
    selection: Selection
    seed: int
    seconds: float
    information: float
    standard_error: float
    redundancy: float
    averages: Averages
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The batches of several methods.

    Attributes:
        batches: by name, in the order that the methods were given in.
        pool: the averages of all rows that may be chosen.
        shape: (N, K, C): how many rows may be chosen, posterior samples, classes.
        left_out: the methods that were not compared, each with the reason.
    """

    batches: Mapping[str, Batch]
    pool: Averages
    shape: tuple[int, int, int]
    left_out: Mapping[str, str]

    @property
    def ceiling(self) -> float:
        """log K, nats: the most that any batch can tell of K posterior samples."""
        return math.log(self.shape[1])

    def overlap(self, one: str, other: str) -> float:
        """|A ∩ B| / k: the share of the rows that two methods have both chosen."""
        rows, others = (set(self.batches[name].selection.rows.tolist()) for name in (one, other))
        return len(rows & others) / len(rows)


def compare(
    log_probs_N_K_C: Predictions | Sequence[Predictions] | Store,
    k: int,
    methods: Mapping[str, Search] | None = None,
    *,
    more: Mapping[str, Search] | None = None,
    features_N_D: Predictions | None = None,
    seed: int = 0,
    among: Sequence[int] | Tensor | None = None,
    samples: Sequence[int] | Tensor | None = None,
    memory: int | str | None = None,
    device: str | torch.device | None = None,
) -> Comparison:
    """Chooses k rows by each method, and measures what it chose.

    A method that needs more posterior samples than there are is left out, and named with the reason. Progress is
    shown on a terminal only.

    Args:
        log_probs_N_K_C: as for ``select``.
        k: how many rows each method chooses.
        methods: by name; None is ``METHODS``, without those that would be slow (``LIMITS``).
        more: methods to compare besides.
        features_N_D: as for ``select``; with them, ``FacilityLocation()`` is compared besides, which is not held to the
            ``memory``.
        seed: of the draws. Each method has its own, made of this one and its name: draws in common would make the
            batches of two methods look alike.
        among: as for ``select``, like all that follow.

    Raises:
        InputError: as ``select`` does, before anything is chosen; or no method is left.
    """
    part = checked_part(log_probs_N_K_C, among, samples, device)
    N, K, C = len(part), *part.stored(torch.zeros(1, dtype=torch.int64)).shape[1:]
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= N:
        raise InputError(f"k is {k!r}, expected a whole number from 1 to N = {N}")
    wanted = dict(METHODS if methods is None else methods) | dict(more or {})
    wanted |= {} if features_N_D is None else BY_FEATURES
    limited = {name for name in LIMITS if methods is None and name not in (more or {})}
    left_out = {name: reason for name in wanted if (reason := _reason(name, wanted[name], limited, int(k), N, K, C))}
    compared = {name: method for name, method in wanted.items() if name not in left_out}
    if not compared:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise InputError(f"there is no method to compare ({reasons or 'none was given'})")
    if memory is not None:
        for method in compared.values():
            if method.objective is not None:
                plan(part, method.objective, int(k), as_bytes(memory))

    # Before the first method, so that all of them find what the system has read of a file.
    pool = averages(part)
    batches = {}
    progress = tqdm(compared.items(), desc="compare", unit="method", disable=None, leave=False)
    for name, method in progress:
        progress.set_postfix_str(name)
        own_seed = seed + zlib.crc32(name.encode())
        choose = partial(select, log_probs_N_K_C, method.objective, k, by=method.by, seed=own_seed)
        choose = partial(choose, among=among, samples=samples, device=device)
        by_features = features_N_D is not None and method.objective is None
        more_options = {"features_N_D": features_N_D} if by_features else {"memory": memory}
        selection, seconds, told = _watched(partial(choose, **more_options))
        chosen = replace(part, rows=selection.rows.to(part.pieces[0].device).sort().values)
        information = joint_information(chosen, seed)
        batches[name] = Batch(
            method, selection, own_seed, seconds, *information, redundancy(chosen, seed), averages(chosen), told
        )
    return Comparison(batches, pool, (N, K, C), left_out)


def _reason(name: str, method: Search, limited: set[str], k: int, N: int, K: int, C: int) -> str | None:
    """Why a method is not compared; None where it is."""
    needed = 1 if method.objective is None else method.objective.samples_needed
    if needed > K:
        return f"it compares posterior samples with each other and needs at least {needed}, but K = {K}"
    if name not in limited or all(
        number <= most for number, most in zip((k, C, k * N * K * C), LIMITS[name], strict=True)
    ):
        return None
    return f"it would take long with k = {k:,} and predictions of shape {(N, K, C)}, and is compared if it is asked for"


def _watched(choose: Callable[[], Selection]) -> tuple[Selection, float, tuple[str, ...]]:
    """What was chosen, in how many seconds, and what ``select`` said of it; other warnings are passed on."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SelectionWarning)
        selection = choose()
    seconds = time.perf_counter() - start
    told = [warning for warning in caught if issubclass(warning.category, SelectionWarning)]
    for warning in caught:
        if warning not in told:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return selection, seconds, tuple(str(warning.message) for warning in told)
