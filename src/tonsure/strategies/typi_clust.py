"""TypiClust: the most typical item of the largest clusters without labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tonsure.arguments import setting, whole
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.clusters import clusters_of
from tonsure.strategies.distances import BLOCK, NEAR_TIE, largest, normalized, on_the_sphere, squared_distances
from tonsure.strategies.memory import DOUBLE, SINGLE, of_clusters, sizes

AT_ONCE = 2**24
"""Distances within a cluster that are in memory at a time."""

LEAST = 5
"""Clusters with fewer items come last."""


@dataclass(frozen=True)
class TypiClust(Strategy):
    """x_t = arg max_{x in G} typicality(x),   typicality(x) = 1 / (mean_{z ∈ NN(x)} ‖h(x) − h(z)‖ + 1e-5)

    k-means divides all rows into min(labeled + k, max_clusters) clusters. G is the largest of the clusters with the
    fewest labeled or chosen rows, and NN(x) are the nearest rows to x in its cluster, labeled or not. Features are
    divided by their lengths, as in the paper. Ties within 1e-5 go to the lowest row.

    A gain is the typicality, 0 for a row that is alone in its cluster. Costs k-means and the distances within clusters.
    Memory: a copy of the features, and the distances of one block to a cluster. The same seed gives the same rows on
    the same kind of processor.
    Source: Hacohen, Dekel & Weinshall 2022, arXiv 2202.02794, section 3; the smallest size of a cluster, 5 rows, is
    that of its released code.

    Args:
        neighbors: the number of nearest rows; fewer in smaller clusters.
        max_clusters: the largest number of clusters, so that they do not become too small.

    Raises:
        InputError: a number is below one.
        MissingExtraError: in ``choose``, scikit-learn is not installed.
    """

    neighbors: int = setting(whole(1), 20)
    max_clusters: int = setting(whole(1), 500)
    needs_features: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state, k, generator))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state)
        distances = 5 * min(BLOCK * at.N, AT_ONCE + at.N) * DOUBLE  # of a cluster that holds all rows
        within = at.N * at.D * (max(at.item, SINGLE) + 3 * DOUBLE) + distances
        return at.rows + at.copied + 2 * at.N * at.D * SINGLE + max(of_clusters(at, self.max_clusters), within)

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        given_N_D = state.features()
        features_N_D = on_the_sphere(given_N_D)
        count = min(len(state.labeled_rows) + k, self.max_clusters)
        cluster_N = clusters_of(features_N_D, count, generator)
        size, covered = cluster_N.bincount(minlength=count), cluster_N[state.labeled_rows].bincount(minlength=count)
        left = cluster_N[state.choosable_rows].bincount(minlength=count).tolist()
        queues: dict[int, Iterator[tuple[int, float]]] = {}
        sizes, covers = size.tolist(), covered.tolist()
        for _ in range(k):
            cluster = min(
                (cluster for cluster in range(count) if left[cluster]),
                key=lambda cluster: (sizes[cluster] < LEAST, covers[cluster], -sizes[cluster], cluster),
            )
            if cluster not in queues:
                rows = (cluster_N == cluster).nonzero()[:, 0]
                queues[cluster] = self._most_typical(given_N_D, rows, state.choosable_rows)
            yield next(queues[cluster])
            left[cluster] -= 1
            covers[cluster] += 1

    def _most_typical(
        self, features_N_D: Float[Tensor, "N D"], rows: Tensor, choosable_rows: Tensor
    ) -> Iterator[tuple[int, float]]:
        """The rows of a cluster that may be chosen, from the most typical to the least."""
        # In double precision, as items may be nearer than single precision can tell.
        typicality_n = _typicality(normalized(features_N_D[rows].double()), self.neighbors).cpu()
        left_n = torch.isin(rows, choosable_rows)
        while left_n.any():
            place = largest(typicality_n.where(left_n, -torch.inf), NEAR_TIE)
            left_n[place] = False
            yield int(rows[place]), float(typicality_n[place])


def _typicality(features_n_D: Float64[Tensor, "n D"], neighbors: int) -> Float64[Tensor, " n"]:
    n = len(features_n_D)
    if n == 1:
        return torch.zeros(1, dtype=torch.float64)
    mean_n = features_n_D.new_empty(n)
    block = max(1, min(BLOCK, AT_ONCE // n))
    for start in range(0, n, block):
        squared = squared_distances(features_n_D[start : start + block], features_n_D)
        squared.diagonal(start).fill_(torch.inf)
        mean_n[start : start + block] = squared.topk(min(neighbors, n - 1), largest=False).values.sqrt().mean(dim=1)
    return 1 / (mean_n + 1e-5)
