"""CoreSet: greedy k-center on features."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from tonsure.errors import InputError
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.distances import Cloud, largest
from tonsure.strategies.memory import of_centers, sizes


@dataclass(frozen=True)
class CoreSet(Strategy):
    """x_t = arg max_x min_{z labeled or chosen} ‖h(x) − h(z)‖: greedy k-center, ties to the lowest row.

    The largest distance of an item to its nearest center is at most twice the smallest possible with k centers
    (Gonzalez 1985). A gain is the distance of the row when it was chosen, in the unit of the features. A pick costs
    O(N·D). Memory: a copy of the features in float64, and the distances of one block to the labeled rows.
    Source: Sener & Savarese 2018, arXiv 1708.00489, algorithm 1.
    """

    needs_features: ClassVar[bool] = True

    @property
    def before_labels(self) -> None:
        return None

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        """As ``Strategy.choose``; the generator is not used.

        Raises:
            InputError: as ``Strategy.choose``, or no row is labeled.
        """
        return selected(self, state, k, self._picks(state, k))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state)
        return at.rows + of_centers(at, at.c)

    def _picks(self, state: PoolState, k: int) -> Iterator[tuple[int, float]]:
        if len(state.labeled_rows) == 0:
            raise InputError(
                f"{self} compares with the labeled rows, but none of the {len(state)} rows is labeled: labeled=rows"
            )
        features_N_D = state.features()
        cloud = Cloud.of(features_N_D, state.choosable_rows)
        nearest_n, _ = cloud.nearest(features_N_D[state.labeled_rows])
        for _ in range(k):
            chosen = largest(nearest_n)
            yield int(state.choosable_rows[chosen]), cloud.length(nearest_n[chosen])
            nearest_n = nearest_n.minimum(cloud.squared_to(chosen))
            nearest_n[chosen] = -torch.inf
