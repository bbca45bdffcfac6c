"""Several methods on the same predictions, measured alike."""

import math
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from tonsure.comparison.measures import Averages, averages, joint_information, redundancy
from tonsure.errors import InputError, SelectionWarning
from tonsure.methods import Method, named
from tonsure.predictions.arrays import Array
from tonsure.predictions.open import Numbers, Whole, whole_number
from tonsure.predictions.store import Store
from tonsure.search.backend import Backend
from tonsure.search.plan import as_bytes

# One door: what select refuses, and how, is the same here.
from tonsure.select import check_fits, checked_device, choose, open_pool
from tonsure.selection import Selection
from tonsure.strategies import Strategy

BY_DEFAULT = (
    "random",
    "margin",
    "entropy",
    "BALD",
    "PowerBALD",
    "BatchBALD",
    "LBB",
    "second-order-LBB",
    "PLBB",
    "bounded-LBB",
    "log-det",
    "discounted-margin",
)
"""The methods that are compared if none are named, by the names of ``METHODS``."""

WITH_FEATURES = ("facility-location",)
"""Those that are compared in addition if there are features."""

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

    method: Method
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
    predictions: Array | list[Any] | tuple[Any, ...] | Store,
    k: Whole,
    methods: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    more: Mapping[str, Any] | Sequence[str] | None = None,
    features: Array | Store | None = None,
    labeled: Numbers | None = None,
    labels: Numbers | None = None,
    candidates: Numbers | None = None,
    seed: Whole = 0,
    samples: Numbers | None = None,
    memory: int | str | None = None,
    device: str | torch.device | None = None,
    backend: Backend | None = None,
) -> Comparison:
    """Selects k rows by each method, and measures the batches.

    A method that needs more posterior samples than there are is left out, and named with the reason. Shows progress on
    a terminal only.

    Args:
        predictions: as for ``select``, [N, K, C].
        k: the number of rows that each method selects.
        methods: names as ``select`` knows them, or methods by names of your own. None is ``BY_DEFAULT``, without those
            that would be slow (``LIMITS``), and with features ``WITH_FEATURES``.
        more: methods to compare in addition.
        features, labeled, labels, candidates: as for ``select``.
        seed: of the random choices. Each method has its own seed, derived from this one and its name: common random
            numbers would make the batches of two methods look alike.
        samples, memory, device, backend: as for ``select``.

    Raises:
        InputError: as ``select``, before anything is selected; or no method is left.
    """
    pool = open_pool(predictions, features, labeled, labels, candidates, samples, checked_device(device))
    if pool.predictions is None:
        raise InputError(
            "compare measures batches by predictions, log-probabilities [N, K, C]: expected them, not scores"
        )
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    k = whole_number("k", k, 1, len(pool.candidate_rows), ", the number of rows that may be chosen")
    reader = pool.predictions.at(pool.candidate_rows) if len(pool.candidate_rows) < pool.N else pool.predictions
    N, K, C = len(reader), *reader.stored(torch.zeros(1, dtype=torch.int64)).shape[1:]
    default = [*BY_DEFAULT, *(WITH_FEATURES if pool.features is not None else ())]
    added = _named(more or {})
    wanted = _named(default if methods is None else methods) | added
    limited = {name for name in LIMITS if methods is None and name not in added}
    left_out = {name: reason for name in wanted if (reason := _reason(name, wanted[name], limited, k, N, K, C))}
    compared = {name: method for name, method in wanted.items() if name not in left_out}
    if not compared:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise InputError(f"there is no method to compare ({reasons or 'none was given'})")
    budget = None if memory is None else as_bytes(memory)
    for method in compared.values():
        check_fits(pool, method, k, budget, backend)

    # Before the first method, so that all of them find the file in the cache of the operating system.
    whole = averages(reader)
    batches = {}
    progress = tqdm(compared.items(), desc="compare", unit="method", disable=None, leave=False)
    for name, method in progress:
        progress.set_postfix_str(name)
        own_seed = seed + zlib.crc32(name.encode())
        chosen_by = partial(choose, pool, method, k, seed=own_seed, memory=budget, backend=backend)
        selection, seconds, noted = _watched(chosen_by)
        chosen = pool.predictions.at(selection.rows.sort().values)
        information = joint_information(chosen, seed)
        batches[name] = Batch(
            method, selection, own_seed, seconds, *information, redundancy(chosen, seed), averages(chosen), noted
        )
    return Comparison(batches, whole, (N, K, C), left_out)


def _named(methods: Mapping[str, Any] | Sequence[str]) -> dict[str, Method]:
    if isinstance(methods, Mapping):
        return {name: Method(method) for name, method in methods.items()}
    if (
        not isinstance(methods, Sequence)
        or isinstance(methods, str)
        or not all(isinstance(one, str) for one in methods)
    ):
        raise InputError(f"methods is {methods!r}, expected a list of names or a dict of methods")
    return {name: named(name) for name in methods}


def _reason(name: str, method: Method, limited: set[str], k: int, N: int, K: int, C: int) -> str | None:
    """Why a method is not compared; None where it is."""
    needed = 1 if isinstance(method.method, Strategy) else method.method.samples_needed
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
