"""compare: batches of several methods from the same predictions, with the same measures."""

import math
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tonsure.arguments import LARGEST, whole_number
from tonsure.comparison.measures import Averages, averages, joint_information, redundancy
from tonsure.errors import InputError, SelectionWarning, TonsureError
from tonsure.methods import Method, methods_by_name
from tonsure.predictions.arrays import Array
from tonsure.predictions.open import Numbers, Whole
from tonsure.predictions.store import Store
from tonsure.progress import progress
from tonsure.search.backend import Backend
from tonsure.search.plan import as_bytes

# The same checks and error messages as in select.
from tonsure.select import check_fits, checked_device, choose, open_pool
from tonsure.selection import Selection
from tonsure.strategies import Strategy
from tonsure.surroundings import selecting

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
    "prediction-coverage",
)
"""The methods compared by default; names from ``METHODS``."""

WITH_FEATURES = ("facility-location",)
"""The methods compared in addition by default if there are features."""

LIMITS: Mapping[str, tuple[int, int, int]] = {"BatchBALD": (50, 20, 3 * 10**8)}
"""Limits on k, C and k·N·K·C for slow methods. Above them a method may take minutes on a CPU, and is compared only if
it is named."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The batch of one method, with measures that are the same for all methods.

    Attributes:
        method: the method that chose the batch.
        selection: the rows, and their gains in the unit of the method's objective.
        seed: the seed of the random choices; ``select`` chooses the same rows with it.
        seconds: the time of the selection, without the measures.
        information: I(y_S; θ), the joint information of all labels of the batch, in nats; see ``joint_information``.
        standard_error: the standard error of ``information``, in nats; 0 if it is exact.
        redundancy: the average share of the information of a label that another label of the batch carries too; see
            ``redundancy``.
        averages: mean BALD, mean entropy and the effective number of classes.
        warnings: the messages of the ``SelectionWarning``s of the selection.
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
        batches: the batch of each method by name, in the order of the methods.
        pool: the averages over all candidates.
        shape: (N, K, C): the number of candidates, of posterior samples and of classes.
        left_out: the methods that were not compared, each with the reason.
    """

    batches: Mapping[str, Batch]
    pool: Averages
    shape: tuple[int, int, int]
    left_out: Mapping[str, str]

    @property
    def ceiling(self) -> float:
        """log K, nats: the maximum of ``information`` with K posterior samples."""
        return math.log(self.shape[1])

    def overlap(self, one: str, other: str) -> float:
        """|A ∩ B| / k: the share of the rows that both methods have chosen."""
        rows, others = (set(self.batches[name].selection.rows.tolist()) for name in (one, other))
        return len(rows & others) / len(rows)


@selecting()
def compare(
    predictions: Array | list[Any] | tuple[Any, ...] | Store,
    k: Whole,
    methods: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    more: Mapping[str, Any] | Sequence[str] | None = None,
    features: Array | Store | None = None,
    last_layer: Array | Store | None = None,
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

    A method that needs more posterior samples than there are, or that refuses its input when it selects, is left out;
    ``Comparison.left_out`` states the reason. Progress is shown on a terminal only.

    Args:
        predictions: log-probabilities [N, K, C], as for ``select``.
        k: the number of rows that each method selects.
        methods: a list of names as for ``select``, or a dict of methods by names of your own. None is ``BY_DEFAULT``
            without methods that would be slow (``LIMITS``), and ``WITH_FEATURES`` if there are features.
        more: methods to compare in addition, in the same form.
        features, last_layer, labeled, labels, candidates: as for ``select``.
        seed: the seed of all random choices. Each method has its own seed, derived from this one and its name: with
            common random numbers the batches of two methods would overlap too much.
        samples, memory, device, backend: as for ``select``.

    Returns:
        The batches of all methods, with their measures.

    Raises:
        InputError: an input is invalid or missing, as for ``select``, or the memory is too small for a method, checked
            before anything is selected; or no method is left.
    """
    pool = open_pool(predictions, features, last_layer, labeled, labels, candidates, samples, checked_device(device))
    if pool.predictions is None:
        found = "none" if predictions is None else "scores"
        raise InputError(
            f"compare measures batches by predictions: expected log-probabilities [N, K, C], found {found}"
        )
    seed = whole_number("seed", seed, 0)
    k = whole_number("k", k, 1, len(pool.candidate_rows), ", the number of rows that may be chosen")
    reader = pool.predictions.at(pool.candidate_rows) if len(pool.candidate_rows) < pool.N else pool.predictions
    N, K, C = len(reader), *reader.stored(torch.zeros(1, dtype=torch.int64)).shape[1:]
    default = [*BY_DEFAULT, *(WITH_FEATURES if pool.features is not None else ())]
    added = methods_by_name("more", {} if more is None else more)
    wanted = methods_by_name("methods", default if methods is None else methods) | added
    limited = {name for name in LIMITS if methods is None and name not in added}
    left_out = {name: reason for name in wanted if (reason := _reason(name, wanted[name], limited, k, N, K, C))}
    compared = {name: method for name, method in wanted.items() if name not in left_out}
    budget = None if memory is None else as_bytes(memory)
    for method in compared.values():
        check_fits(pool, method, k, budget, backend)

    # Computed before the first method, so that a file is in the cache of the operating system for all methods.
    whole = averages(reader)
    batches = {}
    shown_methods = progress(compared.items(), "compare", unit="method")
    for name, method in shown_methods:
        shown_methods.set_postfix_str(name)
        own_seed = (seed + zlib.crc32(name.encode(errors="surrogatepass"))) % LARGEST
        chosen_by = partial(choose, pool, method, k, seed=own_seed, memory=budget, backend=backend)
        try:
            selection, seconds, noted = _timed(chosen_by)
        except TonsureError as error:  # what the other methods have found is not lost
            left_out[name] = str(error)
            continue
        chosen = pool.predictions.at(selection.rows.sort().values)
        information = joint_information(chosen, seed)
        batches[name] = Batch(
            method, selection, own_seed, seconds, *information, redundancy(chosen, seed), averages(chosen), noted
        )
    if not batches:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise InputError(f"there is no method to compare ({reasons or 'none was given'})")
    return Comparison(batches, whole, (N, K, C), left_out)


def _reason(name: str, method: Method, limited: set[str], k: int, N: int, K: int, C: int) -> str | None:
    """The reason why a method is left out; None if it is compared."""
    needed = 1 if isinstance(method.method, Strategy) else method.method.samples_needed
    if needed > K:
        return f"it compares posterior samples with each other and needs at least {needed}, but K = {K}"
    if name not in limited or all(
        number <= most for number, most in zip((k, C, k * N * K * C), LIMITS[name], strict=True)
    ):
        return None
    return f"it would take long with k = {k:,} and predictions of shape {(N, K, C)}; name it to compare it anyway"


def _timed(choose: Callable[[], Selection]) -> tuple[Selection, float, tuple[str, ...]]:
    """The selection, its time in seconds, and its selection warnings; other warnings are passed on."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SelectionWarning)
        selection = choose()
    seconds = time.perf_counter() - start
    noted = [warning for warning in caught if issubclass(warning.category, SelectionWarning)]
    for warning in caught:
        if warning not in noted:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return selection, seconds, tuple(str(warning.message) for warning in noted)
