"""LCMD: the farthest row of the largest cluster."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.distances import RELATIVE_TIE, Cloud, largest, tie_of_squared
from tonsure.strategies.memory import of_centers, sizes


@dataclass(frozen=True)
class LCMD(Strategy):
    """x_t = arg max_{x : z(x) = z*} d(x, z(x)),   z* = arg max_z Σ_{x : z(x) = z} d(x, z)²,   d(x, z) = ‖h(x) − h(z)‖

    Largest cluster maximum distance: z(x) is the labeled or chosen row that is nearest to the unlabeled row x, and the
    rows with the same z are a cluster. The next row is the farthest one of the cluster with the largest sum of squared
    distances, where CoreSet takes the farthest row of all, however few lie around it. This is the mode "TP" of the
    paper, in which the training rows are the first centers, with the linear kernel k(x, x') = ⟨h(x), h(x')⟩.

    Without labeled rows the first row is that with the largest k(x, x), the longest. Rows that may not be chosen count
    in the sums; a cluster without a row that may be chosen is passed over. Of clusters with the same sum the farthest
    row is taken, of rows at the same distance the lowest, and of centers at the same distance the first one, where
    labeled rows come in ascending order.

    A gain is the distance of the row to its center when it was chosen, in the unit of the features; that of a first row
    without labels is its length. A pick costs O(n·D). Memory: as CoreSet.

    Source: Holzmüller, Zaverkin, Kästner & Steinwart, JMLR 2023, arXiv 2203.09410, for regression. There, h are
    sketched gradients of all layers, here whatever is given as features. Decided here: ties, and rows that may not be
    chosen.
    """

    needs_features: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        """As ``Strategy.choose``; the generator is not used."""
        return selected(self, state, k, self._picks(state, k))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state)
        return at.rows + of_centers(at, at.n)

    def _picks(self, state: PoolState, k: int) -> Iterator[tuple[int, float]]:
        features_N_D = state.features()
        cloud = Cloud.of(features_N_D, state.unlabeled_rows)
        labeled_rows = state.labeled_rows.sort().values
        m = len(labeled_rows)
        if m:
            nearest_n, center_n = cloud.nearest(features_N_D[labeled_rows])
        else:  # as if zero were the only center, up to the first row
            nearest_n, center_n = cloud.norms_n, torch.full_like(cloud.norms_n, k, dtype=torch.int64)
        open_n = state.choosable_n.to(nearest_n.device)
        for center in range(m, m + k):
            chosen = _farthest_of_largest(nearest_n, center_n, open_n, m + k + 1)
            yield int(state.unlabeled_rows[chosen]), cloud.length(nearest_n[chosen])
            squared_n = cloud.squared_to(chosen)
            tie_n = tie_of_squared(squared_n, cloud.norms_n + cloud.norms_n[chosen])
            if center == 0:
                nearest_n, center_n = squared_n, torch.zeros_like(center_n)
            else:
                center_n = center_n.where(squared_n + tie_n >= nearest_n, center)
                nearest_n = nearest_n.minimum(squared_n)
            open_n[chosen] = False


def _farthest_of_largest(
    nearest_n: Float64[Tensor, " n"], center_n: Int64[Tensor, " n"], open_n: Tensor, centers: int
) -> int:
    """The place of the farthest item that is open, in the cluster with the largest sum of those that have one."""
    sums = nearest_n.new_zeros(centers).index_add_(0, center_n, nearest_n)
    sum_n = sums[center_n].where(open_n, -torch.inf)
    return largest(nearest_n.where(sum_n >= (1 - RELATIVE_TIE) * sum_n.max(), -torch.inf))
