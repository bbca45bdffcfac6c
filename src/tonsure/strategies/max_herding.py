"""MaxHerding: rows that are similar to as much of the pool as possible."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from tonsure.arguments import optional, real, setting, whole
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.coverage import CoveragePlan, cover, fixed, plan_coverage


@dataclass(frozen=True)
class MaxHerding(Strategy):
    """x_t = arg max_x Σ_j max_{z ∈ L ∪ S ∪ {x}} exp(−‖h_j − h_z‖² / σ²), j over all rows

    h are features, divided by their lengths; L are the labeled rows, and S those that were chosen before. The sum, over
    N, is the generalized coverage of the pool; with a kernel that is 1 within a radius and 0 beyond, it is that of
    ``ProbCover``. A labeled row is covered by itself and adds to no gain. ``FacilityLocation(score=None)`` differs in
    the radius, in centering, and in that it draws from large pools.

    The paper takes features of a self-supervised encoder. It leaves open what a row of zeros is, which has no
    direction: here it is as far from every row, itself included, as directions at a right angle are.

    Cost: O(n²·D) for n unlabeled rows, with the search of ``FacilityLocation``: gains in double precision decide, ties
    within 1e-6 go to the lowest row. Memory: as ``FacilityLocation``.

    Source: Bae, Noh & Sutherland, ECCV 2024, arXiv 2407.12212, section 3, with the Gaussian kernel and σ of its
    experiments.

    Args:
        sigma: σ, above 0. σ² is at least 1e-5.
        most: the number of rows that are looked at, drawn uniformly where there are more; 8·k if that is more. None is
            all rows, as in the paper.

    Raises:
        InputError: a setting is out of range.
    """

    sigma: float = setting(real(above=0), 1.0)
    most: int | None = setting(optional(whole(1)), None)
    needs_features: ClassVar[bool] = True
    uses_backend: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state, k, generator))

    def memory_needed(self, state: PoolState, k: int) -> int:
        return self._plan(state, k).least

    def _plan(self, state: PoolState, k: int) -> CoveragePlan:
        return plan_coverage(state, k, [state.feature_reader().width], most=self.most)

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        planned = self._plan(state, k)
        planned.log(state)
        features, score_n = [state.feature_reader()], state.scores(None)
        yield from cover(state, features, score_n, k, generator, planned, fixed(self.sigma), whitening=None)
