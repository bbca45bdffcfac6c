"""Variants of facility location for pools where BAIT is ahead of it: strategies for the scale "mends" of default.py.

The hypothesis: on AG News, in batches of 500, items far from the mean of the features teach more than items near it,
to which facility location gives the largest weight. Each variant gives more weight to the items far from the mean.
docs/evidence.md has the results.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from tonsure import FacilityLocation, PoolState, Selection, Strategy, margin
from tonsure.strategies.base import selected


@dataclass(frozen=True)
class LongFeatures(Strategy):
    """Facility location with the weights margin(x_j) · ‖h_j − mean‖^power."""

    power: float = 4.0
    needs_features: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        features_N_D = state.features().float()
        length_N = (features_N_D - features_N_D.mean(0)).norm(dim=1)
        weight_n = margin(state.predictions()) * (length_N / length_N.mean())[state.unlabeled_rows] ** self.power
        return FacilityLocation(whitening=0.0).choose(replace(state, scores_n=weight_n), k, generator)


@dataclass(frozen=True)
class Mixture(Strategy):
    """Selects the first half of a batch by one strategy and the rest by another.

    For the second strategy the first half counts as labeled, with the most probable classes as labels.
    """

    first: Strategy
    second: Strategy
    needs_features: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True
    needs_labeled_predictions: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        state.features(), state.labeled_mean_probs()  # an error here, whichever half needs them
        log_probs_n_K_C, likeliest_n = state.predictions(), state.mean_probs().argmax(1)
        begun = self.first.choose(state, k - k // 2, generator)
        if k == 1:
            return begun
        chosen_n = torch.isin(state.unlabeled_rows, begun.rows)
        candidates = state.candidate_rows
        later = replace(
            state,
            candidate_rows=candidates if candidates is None else candidates[~torch.isin(candidates, begun.rows)],
            labeled_rows=torch.cat([state.labeled_rows, state.unlabeled_rows[chosen_n]]),
            labels_m=torch.cat([state.labels_m, likeliest_n[chosen_n]]),
            unlabeled_rows=state.unlabeled_rows[~chosen_n],
            log_probs_n_K_C=log_probs_n_K_C[~chosen_n],
            labeled_log_probs_m_K_C=torch.cat([state.labeled_log_probs_m_K_C, log_probs_n_K_C[chosen_n]]),
        )
        halves = begun, self.second.choose(later, k // 2, generator)
        rows, gains = (torch.cat([getattr(half, key) for half in halves]).tolist() for key in ("rows", "gains"))
        return selected(self, state, k, zip(rows, gains, strict=True))
