"""Spread: the distance of an item to the nearest chosen item, in the predictions of the posterior samples."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tonsure.arguments import flag, setting
from tonsure.information import deviations
from tonsure.objectives.base import Objective, Structure


class DistanceNotes(NamedTuple):
    distance_n: Tensor


@dataclass(frozen=True)
class Spread(Objective[None, DistanceNotes]):
    """gain(x_i | S) = min(‖z_i‖², min_{j∈S} ‖z_i − z_j‖²), with z_i the K × C deviations (p_ikc − m_ic) / √K.

    ‖z_i‖² is the variance of the predicted probabilities: items on which the samples agree are near the origin, and
    count as covered. With ``StepwisePowerSample()`` this is the seeding of k-means++; with greedy search it is k-center
    (Gonzalez 1985). Gains, squared distances without a unit, never increase. The gain of a step is defined, so the
    value of a batch depends on the order in which its items were chosen. A step costs O(N·K·C). Needs K ≥ 2.
    Source: Arthur & Vassilvitskii 2007, for batches as in BADGE (Ash et al. 2020, arXiv 1906.03671); the space of the
    samples for classification is ours (docs/methods/spread.md).

    Args:
        scaled: z_i has entries (p_ikc − m_ic) / √(K·m_ic), so that ‖z_i‖² is to second order 2 I(y_i; θ), and rare
            classes have more weight.

    Raises:
        InputError: ``scaled`` is no boolean.
    """

    scaled: bool = setting(flag, False)
    structure: ClassVar[Structure] = Structure.SUBMODULAR
    uses_state: ClassVar[bool] = False

    @property
    def samples_needed(self) -> int:
        return 2

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        """z_i as one vector, [n, K·C]."""
        probs_n_K_C = log_probs_n_K_C.exp()
        mean_n_C = probs_n_K_C.mean(1)
        if self.scaled:
            return deviations(probs_n_K_C, mean_n_C).flatten(1)
        return ((probs_n_K_C - mean_n_C[:, None]) / probs_n_K_C.shape[1] ** 0.5).flatten(1)

    def init_notes(self, items: Tensor) -> DistanceNotes:
        return DistanceNotes(items.square().sum(1).double())

    def update_notes(self, notes: DistanceNotes, items: Tensor, chosen_m: Tensor) -> DistanceNotes:
        apart_n_m = torch.cdist(items, chosen_m).double().square_()
        return DistanceNotes(torch.minimum(notes.distance_n, apart_n_m.amin(1)))

    def gain(self, state: None, notes: DistanceNotes, items: Tensor) -> Tensor:
        return notes.distance_n
