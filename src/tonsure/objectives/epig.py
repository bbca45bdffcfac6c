"""EPIG: the mutual information of a label and the labels of target inputs."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tonsure.information import deviations, mutual_information
from tonsure.objectives.base import Structure
from tonsure.objectives.pointwise import ScoreNotes
from tonsure.objectives.with_targets import WithTargets


@dataclass(frozen=True, eq=False, repr=False)
class EPIG(WithTargets[None, ScoreNotes]):
    """f(S) = Σ_{i∈S} mean_t I(y_i; y_t), nats: top-k selection, without regard to redundancy.

    Information about θ that changes no prediction for the targets does not count, for example that of outliers. Costs
    O(N·T·K·C²) multiply-adds and O(N·T·C²) logarithms, once; ``SecondOrderEPIG`` needs neither.
    Source: Bickford Smith et al. 2023, arXiv 2304.08151, section 4.
    """

    structure: ClassVar[Structure] = Structure.MODULAR
    prepares: ClassVar[bool] = False
    uses_state: ClassVar[bool] = False
    updates_notes: ClassVar[bool] = False

    def init_notes(self, items: Tensor) -> ScoreNotes:
        targets_T_K_C = self.targets_like(items).to(items.dtype)
        return ScoreNotes(mutual_information(items, targets_T_K_C).double().mean(1))

    def gain(self, state: None, notes: ScoreNotes, items: Tensor) -> Tensor:
        return notes.score_n


@dataclass(frozen=True, eq=False, repr=False)
class SecondOrderEPIG(WithTargets[None, ScoreNotes]):
    """f(S) = Σ_{i∈S} ½⟨G_i, M_T⟩, nats, with M_T = mean_t G_t: EPIG to second order.

    G_i is that of ``SecondOrderLBB``. Costs O(N·K²·C), for any number of targets.
    Source: the second-order expansion of EPIG (Bickford Smith et al. 2023, arXiv 2304.08151) is ours
    (docs/methods/targets.md says what we looked for).
    """

    structure: ClassVar[Structure] = Structure.MODULAR
    prepares: ClassVar[bool] = False
    uses_state: ClassVar[bool] = False
    updates_notes: ClassVar[bool] = False

    def init_notes(self, items: Tensor) -> ScoreNotes:
        mean_K_K = mean_gram(self.targets_like(items)).to(items.dtype)
        probs_n_K_C = items.exp()
        deviations_n_K_C = deviations(probs_n_K_C, probs_n_K_C.mean(1))
        return ScoreNotes(0.5 * (deviations_n_K_C * (mean_K_K @ deviations_n_K_C)).sum((1, 2)).double())

    def gain(self, state: None, notes: ScoreNotes, items: Tensor) -> Tensor:
        return notes.score_n


def mean_gram(log_probs_T_K_C: Tensor) -> Tensor:
    """M_T = mean_t Z_t Z_tᵀ, [K, K]."""
    probs_T_K_C = log_probs_T_K_C.exp()
    deviations_K_TC = deviations(probs_T_K_C, probs_T_K_C.mean(1)).transpose(0, 1).flatten(1)
    return deviations_K_TC @ deviations_K_TC.T / len(log_probs_T_K_C)
