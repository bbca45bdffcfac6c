"""CoreSet: greedy k-center on features."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from tonsure.errors import InputError
from tonsure.predictions.reader import rows_at_once
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.distances import (
    BLOCK,
    HEADROOM,
    largest,
    squared_distances,
    unit_of_rows,
    without_rounding,
)
from tonsure.strategies.memory import DOUBLE, sizes

DISTANCE_BYTES = 2**26
"""The most bytes of distances to the labeled rows at a time."""


@dataclass(frozen=True)
class CoreSet(Strategy):
    """x_t = arg max_x min_{z labeled or chosen} ‖h(x) − h(z)‖: greedy k-center, ties to the lowest row.

    The largest distance of an item to its nearest center is at most twice the smallest possible with k centers
    (Gonzalez 1985). A gain is the distance of the row when it was chosen, in the unit of the features. A pick costs
    O(N·D). Memory: a copy of the features in float64, and the distances of one block to the labeled rows.
    Source: Sener & Savarese 2018, arXiv 1708.00489, algorithm 1.
    """

    needs_features: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        """As ``Strategy.choose``; the generator is not used.

        Raises:
            InputError: as ``Strategy.choose``, or no row is labeled.
        """
        return selected(self, state, k, self._picks(state, k))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state)
        features = at.copied + (at.c + at.m) * at.D * (at.item + 2 * DOUBLE)
        return at.rows + features + min(at.c, _rows_at_once(at.m)) * (5 * at.m + at.D) * DOUBLE

    def _picks(self, state: PoolState, k: int) -> Iterator[tuple[int, float]]:
        if len(state.labeled_rows) == 0:
            raise InputError(
                f"{self} compares with the labeled rows, but none of the {len(state)} rows is labeled: labeled=rows"
            )
        features_N_D = state.features()
        unit = unit_of_rows(features_N_D)
        labeled_m_D = features_N_D[state.labeled_rows].double().div_(unit).mul_(HEADROOM)
        features_n_D = features_N_D[state.choosable_rows].double().div_(unit).mul_(HEADROOM)
        nearest_n = features_n_D.new_empty(len(features_n_D))
        # Written in place: small tensors kept between the large ones of each block would split the heap.
        step = _rows_at_once(len(labeled_m_D))
        for block, found in zip(features_n_D.split(step), nearest_n.split(step), strict=True):
            found.copy_(squared_distances(block, labeled_m_D).amin(dim=1))
        norms_n = features_n_D.square().sum(1)
        for _ in range(k):
            chosen = largest(nearest_n)
            yield int(state.choosable_rows[chosen]), float(nearest_n[chosen].sqrt()) / HEADROOM * unit
            both_n = norms_n + norms_n[chosen]
            distance_n = without_rounding(both_n - 2 * (features_n_D @ features_n_D[chosen]), both_n)
            nearest_n = nearest_n.minimum(distance_n)
            nearest_n[chosen] = -torch.inf


def _rows_at_once(m: int) -> int:
    """Rows that are compared with m labeled ones at a time."""
    return min(BLOCK, rows_at_once(5 * max(1, m) * DOUBLE, DISTANCE_BYTES))
