"""What a selection is, and how an objective is searched."""

import logging
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from tonsure.errors import InputError, SelectionWarning
from tonsure.objectives.base import Objective, Structure
from tonsure.optimizers import LazyGreedy, Optimizer, PowerSample, TopK
from tonsure.predictions.reader import PoolReader
from tonsure.progress import progress
from tonsure.search.backend import Backend, LocalBackend
from tonsure.search.plan import plan
from tonsure.search.ranking import TIE
from tonsure.search.space import SearchSpace
from tonsure.surroundings import selecting

logger = logging.getLogger("tonsure")

OPTIMIZERS: dict[Structure, Optimizer] = {
    Structure.CONSTANT: PowerSample(),
    Structure.MODULAR: TopK(),
    Structure.SUBMODULAR: LazyGreedy(),
    Structure.GENERAL: LazyGreedy(),
}
"""The optimizer of an objective if none is given: the fastest exact one, or a uniform draw if all gains are equal."""

SATURATED = 0.98
"""The share of its ceiling at which an objective can no longer distinguish items."""


@dataclass(frozen=True, eq=False)
class Selection:
    """A batch to label.

    Attributes:
        rows: positions in the pool, in the order chosen, [b].
        gains: the gain of each row when it was chosen, [b]; in nats where the objective is an information.
        standard_error: the sampling error of ``gains.sum()``; zero where nothing was sampled.

    Raises:
        InputError: a gain is not finite; the message names its row.
    """

    rows: Int64[Tensor, " b"]
    gains: Float64[Tensor, " b"]
    standard_error: float = 0.0

    def __post_init__(self) -> None:
        wrong_b = ~self.gains.isfinite()
        if wrong_b.any():
            row, gain = int(self.rows[wrong_b][0]), float(self.gains[wrong_b][0])
            large = ": the features or scores are too large; divide them by a number" if gain == math.inf else ""
            raise InputError(f"the gain of row {row} is {gain}, expected finite numbers{large}")

    @property
    def positive(self) -> int:
        """The number of rows whose gain is positive beyond rounding."""
        return int((self.gains > TIE).sum())

    def __len__(self) -> int:
        return len(self.rows)


@selecting()
def search(
    reader: PoolReader,
    objective: Objective[Any, Any],
    k: int,
    optimizer: Optimizer | None = None,
    *,
    seed: int = 0,
    memory: int | None = None,
    backend: Backend | None = None,
    block: int | None = None,
) -> Selection:
    """The k rows of a reader that an optimizer finds for an objective; rows are numbered as in the reader's pool.

    Args:
        k: from 1 to the number of rows; checked by the caller.
        optimizer: None is ``OPTIMIZERS[objective.structure]``.
        memory: bytes beyond the predictions; None is at most 1 GiB for prepared items, and the notes.
        block: how many rows are read at a time; None is chosen by the plan.

    Raises:
        InputError: K is too small for the objective, or the memory is too small (the message states the minimum).
    """
    N, K, C = _shape(reader)
    if objective.samples_needed > K:
        raise InputError(
            f"{objective} compares posterior samples with each other and needs at least "
            f"{objective.samples_needed}, but the predictions have shape {(N, K, C)}: K = {K}. With one sample use a "
            "score of the mean prediction, such as Pointwise(entropy) or Pointwise(margin)."
        )
    planned = plan(reader, objective, k, memory, block)
    logger.info("%s", planned)
    generator = torch.Generator().manual_seed(seed)
    with (backend or LocalBackend()).start(reader, objective, planned) as shards:
        space = SearchSpace(shards, objective)
        chosen = optimizer or OPTIMIZERS[objective.structure]
        places, gains = gather(chosen.search(space, k, generator), k)
        return Selection(reader.row_numbers()[places], gains, space.standard_error())


def gather(picks: Iterable[tuple[int, float]], k: int) -> tuple[Int64[Tensor, " b"], Float64[Tensor, " b"]]:
    """The first k picks of a search, and their gains. Shows progress on a terminal if it takes more than a second."""
    found = list(progress(picks, "select", total=k, unit="row", delay=1))
    return torch.tensor([row for row, _ in found]), torch.tensor([gain for _, gain in found], dtype=torch.float64)


def warn_of_small_gains(selection: Selection, method: object, hint: str = "", *, stacklevel: int = 3) -> None:
    """Warns if some of the rows have no positive gain.

    Warns:
        SelectionWarning: with the number of rows that have a positive gain.
    """
    if selection.positive < len(selection):
        warnings.warn(
            f"only {selection.positive} of the {len(selection)} rows have a positive gain under {method}: by its "
            f"measure the others add nothing to the batch. Label fewer{hint}.",
            SelectionWarning,
            stacklevel=stacklevel,
        )


def warn_of_saturation(
    selection: Selection, objective: Objective[Any, Any], like: Tensor, *, stacklevel: int = 3
) -> None:
    """Warns if the batch reaches the ceiling of the objective, or as ``warn_of_small_gains``.

    Args:
        like: an item as it is stored, [1, K, C].
    """
    k, ceiling = len(selection), objective.ceiling(like)
    informed = 1 + int((selection.gains.cumsum(0) < SATURATED * ceiling).sum())
    if informed >= k:
        hint = ", or sample (optimizer=PowerSample()), which relies less on small gains"
        warn_of_small_gains(selection, objective, hint, stacklevel=stacklevel + 1)
        return
    K = like.shape[1]
    warnings.warn(
        f"{K} posterior samples carry at most log {K} = {ceiling:.2f} nats of information, and the first {informed} of "
        f"the {k} rows have {selection.gains[:informed].sum():.2f} of them: the other {k - informed} are chosen by "
        "small differences and by noise. Choose fewer at a time, or use more posterior samples.",
        SelectionWarning,
        stacklevel=stacklevel,
    )


def _shape(reader: PoolReader) -> tuple[int, int, int]:
    shape = reader.pieces[0].shape[1:]
    if len(shape) != 2:  # scores or features, of an objective that looks at neither samples nor classes
        return len(reader), 1, 1
    K = shape[0] if reader.samples is None else len(reader.samples)
    return len(reader), int(K), int(shape[1])
