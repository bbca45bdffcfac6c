"""What might mend facility location where BAIT is ahead of it: strategies for the scale "mends" of default.py.

A guess is that on AG News, in batches of 500, the edge of the features teaches more than their middle, which facility
location weighs most. Each of these gives the edge more, in a way of its own. What comes of it is on the page of
evidence.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from tonsure import PoolState, Selection, Strategy, margin
from tonsure.predictions.reader import PoolReader
from tonsure.strategies.facilities import facilities
from tonsure.strategies.strategy import selected


@dataclass(frozen=True)
class LongFeatures(Strategy):
    """Facility location whose weights are margin(x_j) · ‖h_j − mean‖^power: lengths that cosines forget."""

    power: float = 4.0
    needs_features: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True

    def choose(self, view: PoolState, k: int, generator: torch.Generator) -> Selection:
        features_N_D = view.features().float()
        length_N = (features_N_D - features_N_D.mean(0)).norm(dim=1)
        weight_n = margin(view.predictions()) * (length_N / length_N.mean())[view.unlabeled_rows] ** self.power
        rows = (view.labeled_rows, view.unlabeled_rows)
        return selected(self, view, k, facilities(PoolReader([features_N_D]), weight_n, *rows, k, generator))


@dataclass(frozen=True)
class Mixture(Strategy):
    """The first half of a batch by one strategy, the rest by another, to which the first half counts as labeled.

    Its labels are not known yet: they count as the classes that the model takes for the likeliest.
    """

    first: Strategy
    second: Strategy
    needs_features: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True
    needs_labeled_predictions: ClassVar[bool] = True

    def choose(self, view: PoolState, k: int, generator: torch.Generator) -> Selection:
        view.features(), view.labeled_mean_probs()  # refused here, whichever half would miss them
        log_probs_n_K_C, likeliest_n = view.predictions(), view.mean_probs().argmax(1)
        begun = self.first.choose(view, k - k // 2, generator)
        if k == 1:
            return begun
        chosen_n = torch.isin(view.unlabeled_rows, begun.rows)
        later = replace(
            view,
            labeled_rows=torch.cat([view.labeled_rows, view.unlabeled_rows[chosen_n]]),
            labels_m=torch.cat([view.labels_m, likeliest_n[chosen_n]]),
            unlabeled_rows=view.unlabeled_rows[~chosen_n],
            log_probs_n_K_C=log_probs_n_K_C[~chosen_n],
            labeled_log_probs_m_K_C=torch.cat([view.labeled_log_probs_m_K_C, log_probs_n_K_C[chosen_n]]),
        )
        halves = begun, self.second.choose(later, k // 2, generator)
        rows, gains = (torch.cat([getattr(half, key) for half in halves]).tolist() for key in ("rows", "gains"))
        return selected(self, view, k, zip(rows, gains, strict=True))
