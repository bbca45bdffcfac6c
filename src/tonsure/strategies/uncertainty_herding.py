"""UncertaintyHerding: rows that are similar to as much of the calibrated uncertainty of the pool as possible."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from tonsure.arguments import optional, real, setting, whole
from tonsure.predictions.calibration import calibration_error_of, log_mean_probs, tempered
from tonsure.scores import margin
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.coverage import CoveragePlan, between_labeled, bytes_between_labeled, cover, plan_coverage
from tonsure.strategies.distances import largest
from tonsure.strategies.max_herding import MaxHerding
from tonsure.strategies.memory import DOUBLE, sizes

TEMPERATURES = tuple(tenth / 10 for tenth in range(10, 200))
"""Those that are tried: from 1 to 20, without 20."""


@dataclass(frozen=True)
class UncertaintyHerding(Strategy):
    """x_t = arg max_x Σ_j u_j · max_{z ∈ L ∪ S ∪ {x}} exp(−‖h_j − h_z‖² / σ²), j over all rows

    u_j = 1 − (p_j(1) − p_j(2)) with p_jc ∝ m_jc^(1/T), and u_j = 0 on the labeled rows L
    σ = min {‖h_y − h_z‖ > 0 : y, z ∈ L}

    h are features, divided by their lengths, m the mean predictions, p(1) and p(2) the two largest of their tempered
    ones, and S the rows that were chosen before. T is the temperature in [1, 20) with the least expected calibration
    error on held-out labels, by a model that has not seen them: ``rounds`` fits the model once more, to 70% of the
    labels, and predicts the other 30%. The more labels there are, the smaller is σ, and the more the uncertainty alone
    decides. Before any label u = 1 and σ = 1, which is ``MaxHerding()`` (that needs no predictions); σ = 1, too,
    where all labeled rows are copies of one.

    In ``select`` there is no model to fit. There the predictions of the labeled rows stand in for the held-out ones:
    they should come from a model that has not seen those labels, for example by cross-validation. Otherwise T is too
    small. ``temperature`` fixes T, and then no labels are needed.

    The paper speaks of one network; the mean prediction takes the place of its softmax. Other choices that are ours: T
    in steps of 0.1, the lowest of those that tie; 15 bins of the same width; held-out labels are drawn at random,
    without strata, so that two classes remain where there are two; T = 1 with fewer than three labels; σ² is at least
    1e-5. A row of zeros is treated as by ``MaxHerding``.

    Cost: that of ``MaxHerding``, O(m²·D) for σ with m labeled rows, 190 passes over the held-out predictions, and in
    ``rounds`` a fit, whose time counts as time of selection. Memory: as ``FacilityLocation``, and some copies of the
    held-out mean predictions.

    Source: Bae, Oliveira & Sutherland, ICLR 2025, arXiv 2412.20644, with margin as the uncertainty, as in most of its
    experiments. ``FacilityLocation`` maximizes the same f with other u, σ and h.

    Args:
        temperature: T, above 0; None finds it.
        most: the number of rows that are looked at, drawn in proportion to u where there are more; 8·k if that is more.
            None is all rows, as in the paper.

    Raises:
        InputError: a setting is out of range; in ``choose``, ``temperature`` is None, and held-out predictions or
            labels are not there.
    """

    temperature: float | None = setting(optional(real(above=0)), None)
    most: int | None = setting(optional(whole(1)), None)
    needs_features: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True
    uses_backend: ClassVar[bool] = True

    @property
    def needs_held_out_predictions(self) -> bool:
        return self.temperature is None

    @property
    def before_labels(self) -> Strategy:
        return MaxHerding(most=self.most)

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state, k, generator))

    def memory_needed(self, state: PoolState, k: int) -> int:
        return self._plan(state, k).least

    def _plan(self, state: PoolState, k: int) -> CoveragePlan:
        at, D = sizes(state), state.feature_reader().width
        searched = plan_coverage(state, k, [D], most=self.most)
        held_out = 0 if state.held_out_rows is None else len(state.held_out_rows)
        of_scores = at.means(held_out) + 4 * held_out * at.C * DOUBLE + 2 * at.score  # in double precision
        return replace(searched, least=searched.least + of_scores + bytes_between_labeled(at.m, D))

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        planned = self._plan(state, k)
        planned.log(state)
        features, score_n = [state.feature_reader()], state.scores(self._uncertainty(state))
        yield from cover(state, features, score_n, k, generator, planned, between_labeled, whitening=None)

    def _uncertainty(self, state: PoolState) -> Callable[[Tensor], Tensor] | None:
        if len(state.labeled_rows) == 0:
            return None
        if self.temperature is not None:
            return TemperedMargin(self.temperature)
        probs_n_C = state.held_out_mean_probs().cpu()
        return TemperedMargin(best_temperature(probs_n_C, state.held_out_labels()))


@dataclass(frozen=True)
class TemperedMargin:
    """The margin of the mean prediction at a temperature; in a class, so that it can be computed elsewhere."""

    temperature: float

    def __call__(self, log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, " n"]:
        return margin(tempered(log_mean_probs(log_probs_n_K_C), self.temperature)[:, None])


def best_temperature(probs_n_C: Float64[Tensor, "n C"], labels_n: Int[Tensor, " n"]) -> float:
    """The temperature with the least calibration error, the lowest of several; 1 if there are no labels."""
    if len(labels_n) == 0:
        return 1.0
    log_probs_n_C = probs_n_C.log()
    errors = [calibration_error_of(tempered(log_probs_n_C, temperature), labels_n) for temperature in TEMPERATURES]
    return TEMPERATURES[largest(1 - torch.tensor(errors, dtype=torch.float64))]
