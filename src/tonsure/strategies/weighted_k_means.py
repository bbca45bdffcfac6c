"""WeightedKMeans: one item for each cluster of the most uncertain items."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from tonsure.arguments import score_function, setting, whole
from tonsure.scores import margin
from tonsure.search import ranking
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.clusters import clusters_of
from tonsure.strategies.distances import largest, squared_distances, unit_of
from tonsure.strategies.memory import DOUBLE, of_clusters, sizes

CENTERS = 64
"""Centers whose distances to all rows are in memory at a time."""

LEAST = 1e-6
"""The smallest weight, relative to the largest: k-means places no center without one."""


@dataclass(frozen=True, repr=False)
class WeightedKMeans(Strategy):
    """min_{c_1 … c_k} Σ_{j ∈ P} score(x_j) · min_t ‖h(x_j) − c_t‖²,   x_t = arg min_{x ∈ P} ‖h(x) − c_t‖

    P are the ``beta`` · k rows with the largest scores of those that may be chosen. k-means, weighted by the score,
    divides them into k clusters, and the row nearest to each center is chosen. The score keeps the batch uncertain, the
    clusters keep its rows apart. Labeled rows have no influence except through the model.

    What the paper leaves open: the cluster with the largest sum of scores comes first, and where a row is the nearest
    to two centers, the later one takes the nearest that is left. Where fewer than k rows of P differ, some clusters
    are empty, and the rest are the rows with the largest scores that are left. Features are as they are given. k-means
    begins once, from k-means++, and looks at all of P at every step. Ties within 1e-6 go to the lowest row.

    A gain is the sum of the scores of a row's cluster, 0 for an empty one. Cost: O(beta·k²·D) for a step of k-means.
    Memory: some copies of the features of P. The same seed gives the same rows on the same kind of processor.

    Source: Zhdanov 2019, arXiv 1901.05954, section 3; margin is its score, and 10 the smaller of its ``beta``.

    Args:
        score: a function of ``log_probs_n_K_C`` that gives [n] numbers of at least 0. Scores that are given in place of
            predictions take its place.
        beta: how many rows are kept for each row to choose; 1 is the k largest scores.

    Raises:
        InputError: a setting is out of range; in ``choose``, a score is negative or not finite.
        MissingExtraError: in ``choose``, scikit-learn is not installed.
    """

    score: Callable[[Tensor], Tensor] = setting(score_function, margin)
    beta: int = setting(whole(1), 10)
    needs_features: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True
    takes_scores: ClassVar[bool] = True
    uses_backend: ClassVar[bool] = True

    def __repr__(self) -> str:
        return f"WeightedKMeans({getattr(self.score, '__name__', self.score)}, beta={self.beta})"

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state, k, generator))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state)
        kept = min(self.beta * k, at.c)
        features = kept * at.D * (2 * at.item + 5 * DOUBLE) + of_clusters(replace(at, N=kept), k)
        return at.rows + at.score + features + 6 * CENTERS * kept * DOUBLE

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        score_n = state.scores(self.score)[state.choosable_n].double().cpu()
        unit = unit_of(score_n)
        score_n = score_n / unit
        kept = torch.tensor(ranking.largest(score_n, min(self.beta * k, len(score_n)))).sort().values
        rows, score_n = state.choosable_rows[kept], score_n[kept]
        features_n_D = _centered(state.feature_reader().stored(rows).double().cpu())
        weight_n = score_n.clamp_min(LEAST * float(score_n.max())) if score_n.any() else torch.ones_like(score_n)
        cluster_n = clusters_of(features_n_D, k, generator, weight_n, small=k)
        total_k = score_n.new_zeros(k).index_add_(0, cluster_n, score_n)
        mass_k = score_n.new_zeros(k).index_add_(0, cluster_n, weight_n)
        # In double precision, so that rows that are as near stay so.
        center_k_D = features_n_D.new_zeros(k, features_n_D.shape[1])
        center_k_D.index_add_(0, cluster_n, features_n_D * weight_n[:, None]).div_(mass_k[:, None])
        order = total_k.sort(descending=True, stable=True).indices
        open_n = torch.ones(len(rows), dtype=torch.bool)
        for some in order[mass_k[order] > 0].split(CENTERS):
            for cluster, squared_n in zip(some, squared_distances(center_k_D[some], features_n_D), strict=True):
                chosen = largest(-squared_n.where(open_n, torch.inf), ranking.TIE)
                open_n[chosen] = False
                yield int(rows[chosen]), float(total_k[cluster]) * unit
        for _ in range(int((mass_k == 0).sum())):
            chosen = largest(score_n.where(open_n, -torch.inf))
            open_n[chosen] = False
            yield int(rows[chosen]), 0.0


def _centered(features_n_D: Float64[Tensor, "n D"]) -> Float64[Tensor, "n D"]:
    """Features around zero, at most 2 in size: what k-means, which depends on distances alone, rounds the least."""
    features_n_D = features_n_D / unit_of(features_n_D)
    features_n_D = features_n_D - features_n_D.mean(0)
    return features_n_D / unit_of(features_n_D)
