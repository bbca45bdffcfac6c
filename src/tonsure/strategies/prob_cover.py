"""ProbCover: balls of one radius around labeled rows that cover as much of the pool as possible."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tonsure.arguments import optional, real, setting, whole
from tonsure.errors import InputError
from tonsure.selection import Selection
from tonsure.shapes import Rows
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.clusters import clusters_of
from tonsure.strategies.distances import BLOCK, on_the_sphere
from tonsure.strategies.memory import SINGLE, of_clusters, sizes

BELOW = 1 - 1e-4
"""The largest δ relative to the radius at which a ball is no longer pure, so that rounding does not matter."""


@dataclass(frozen=True)
class ProbCover(Strategy):
    """x_t = arg max_x |{z not covered : ‖h(x) − h(z)‖ ≤ δ}|,   covered: within δ of a labeled or chosen row

    Features are divided by their lengths. Ties are frequent and are drawn at random. A gain is the number of rows that
    the ball adds to the covered ones. When all rows are covered, the rest is drawn uniformly, with gains of 0.

    No graph is kept: the distances of a row to all others are computed for its first count, when it is covered, and for
    δ. Costs O(N²·D) three times. Memory: a copy of the features, and the distances of one block.
    Source: Yehuda, Dekel, Hacohen & Weinshall 2022, arXiv 2205.11320, section 3.

    Args:
        delta: the radius δ, above 0, at most the diameter 2. None is the largest radius at which a share of
            at least ``purity`` of all balls is pure, that is, contains rows of one cluster only. The clusters are those
            of k-means, with as many clusters as classes, on the features of the round.
        purity: above 0 and at most 1; used if δ is None.
        classes: the number of classes, used if δ is None; None is one more than the largest label.

    Raises:
        InputError: a number is out of range; in ``choose``, δ and ``classes`` are None and no row is labeled.
        MissingExtraError: in ``choose``, δ is None and scikit-learn is not installed.
    """

    delta: float | None = setting(optional(real(above=0, most=2)), None)
    purity: float = setting(real(above=0, most=1), 0.95)
    classes: int | None = setting(optional(whole(2)), None)
    needs_features: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state, k, generator))

    @property
    def before_labels(self) -> Strategy | None:
        return self if self.delta is not None or self.classes is not None else None

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state)
        distances = min(BLOCK, at.N) * at.N * 7 * SINGLE  # a block of them, the one before, masks, and sums
        clusters = of_clusters(at, 1000) if self.delta is None else 0
        return at.rows + at.copied + 3 * at.N * at.D * SINGLE + max(clusters, distances)

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        features_N_D = on_the_sphere(state.features())
        delta = self._largest_pure(features_N_D, state, generator) if self.delta is None else self.delta
        covered_N = torch.zeros(len(state), dtype=torch.bool, device=features_N_D.device)
        for inside_n_N in _balls(features_N_D, state.labeled_rows, delta):
            covered_N |= inside_n_N.any(dim=0)
        worth_N = torch.zeros(len(state), dtype=torch.int64, device=features_N_D.device)
        for inside_n_N in _balls(features_N_D, (~covered_N).nonzero()[:, 0], delta):
            worth_N += inside_n_N.sum(dim=0)
        open_N = torch.zeros_like(covered_N)
        open_N[state.choosable_rows] = True
        for taken in range(k):
            if covered_N.all():
                left = open_N.nonzero()[:, 0]
                for place in torch.randperm(len(left), generator=generator)[: k - taken]:
                    yield int(left[place]), 0.0
                return
            worth_of_open_N = worth_N.where(open_N, -1)
            best = (worth_of_open_N == worth_of_open_N.max()).nonzero()[:, 0]
            row = best[int(torch.randint(len(best), (), generator=generator))]
            (inside_1_N,) = _balls(features_N_D, row[None], delta)
            added_N = inside_1_N[0] & ~covered_N
            yield int(row), float(added_N.sum())
            for inside_n_N in _balls(features_N_D, added_N.nonzero()[:, 0], delta):
                worth_N -= inside_n_N.sum(dim=0)
            covered_N |= added_N
            open_N[row] = False

    def _largest_pure(self, features_N_D: Float[Tensor, "N D"], state: PoolState, generator: torch.Generator) -> float:
        """max {δ : the share of rows whose ball of radius δ contains one cluster only is at least ``purity``}"""
        if self.classes is None and len(state.labels()) == 0:
            raise InputError(f"{self} counts the classes of the labels, but no row is labeled: give delta or classes")
        count = self.classes or max(2, int(state.labels().max()) + 1)
        cluster_N = clusters_of(features_N_D, min(count, len(state)), generator).to(features_N_D.device)
        # The ball around x is pure as long as it does not reach the nearest row of another cluster.
        reach_N = features_N_D.new_empty(len(state))
        for rows, squared_n_N in _squared_distances(features_N_D, torch.arange(len(state))):
            reach_N[rows] = squared_n_N.masked_fill(cluster_N[rows][:, None] == cluster_N, torch.inf).amin(dim=1)
        reach_N.clamp_(0, 4)
        pure = math.ceil(self.purity * len(state))
        return BELOW * float(reach_N.sort(descending=True).values[pure - 1].sqrt())


def _balls(features_N_D: Float[Tensor, "N D"], rows: Rows, delta: float) -> Iterator[Bool[Tensor, "n N"]]:
    """For each of ``rows``, which rows lie within δ of it, one block at a time."""
    for some, squared_n_N in _squared_distances(features_N_D, rows):
        inside_n_N = squared_n_N <= delta**2
        inside_n_N[torch.arange(len(some)), some] = True  # whatever rounding makes of its distance to itself
        yield inside_n_N


def _squared_distances(features_N_D: Float[Tensor, "N D"], rows: Rows) -> Iterator[tuple[Rows, Float[Tensor, "n N"]]]:
    # In float32, as nothing is far from the sphere: what matters is many times the rounding.
    norms_N = features_N_D.square().sum(dim=1)
    for some in rows.split(BLOCK):
        yield some, norms_N[some][:, None] + norms_N - 2 * features_N_D[some] @ features_N_D.T
