"""ReleasedLBB: what the released code of the LBB paper computes; a baseline, not Large BatchBALD."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tonsure.information import bald
from tonsure.objective import Gains, Objective
from tonsure.objectives.pointwise import ScoreNotes


@dataclass(frozen=True)
class ReleasedLBB(Objective[None, ScoreNotes]):
    """f(S) = Σ_{i∈S} s_i with s_i = I(y_i; θ) + Σ_c A_ic [log(1 + A_ic) − log(1 + B_ic)].

    A_ic = Σ_{j≠i} mean_k p_ikc p_jkc and B_ic = Σ_{j≠i} m_ic m_jc, j running over the item's block of 1,024 in pool
    order. It rewards redundancy, ignores what has been chosen, and depends on the order of the pool; results "as
    published" need it all the same. Since Σ_j mean_k p_ikc p_jkc = mean_k p_ikc Σ_j p_jkc, it costs O(N·K·C) and not
    O(N²·K·C). Source: the behavior of the code released with arXiv 2301.05490. By ``PowerSample(beta=5)`` it is that
    code's PLBB.
    """

    gains: ClassVar[Gains] = Gains.FIXED
    block: ClassVar[int | None] = 1024

    @property
    def samples_needed(self) -> int:
        return 2

    def first_notes(self, items: Tensor) -> ScoreNotes:
        probs_n_K_C = items.double().exp()
        mean_n_C = probs_n_K_C.mean(1)
        together_n_C = (probs_n_K_C * (probs_n_K_C.sum(0) - probs_n_K_C)).mean(1)
        apart_n_C = mean_n_C * (mean_n_C.sum(0) - mean_n_C)
        extra_n = (together_n_C * (together_n_C.log1p() - apart_n_C.log1p())).sum(1)
        return ScoreNotes(bald(items.double()) + extra_n)

    def gain(self, state: None, notes: ScoreNotes, items: Tensor) -> Tensor:
        return notes.score_n
