"""SecondOrderLBB: Large BatchBALD with pairs to second order, in the space of the posterior samples."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from tonsure.arguments import flag, real, setting
from tonsure.objectives.base import NoNotes, Objective, Structure
from tonsure.objectives.gram import bald_and_gram, matrix_bytes, without_chance
from tonsure.objectives.large_batch_bald import check_weight, share_left


class LeftNotes(NamedTuple):
    left_n: Tensor


@dataclass(frozen=True)
class SecondOrderLBB(Objective[Any, Any]):
    """f(S) = Σ_{i∈S} I(y_i; θ) − weight · Σ_{i<j∈S} ½⟨G_i, G_j⟩, with G_i = Z_i Z_iᵀ (K × K).

    Z_i (K × C) has entries (p_ikc − m_ic) / √(K·m_ic), and ½⟨G_i, G_j⟩ is I(y_i; y_j) to second order in these
    deviations: χ² in place of the Kullback–Leibler divergence. The redundancy of an item with the whole batch is then
    ½⟨G_i, M_S⟩ with one matrix M_S = Σ_{j∈S} G_j: a step costs O(N·K²), whatever the batch and the number of classes.
    Where items are confident and their samples disagree, the pairs exceed the exact ones; I(y_i; θ) is exact.
    Gains, in nats, never increase, except with ``corrected`` alone. Needs K ≥ 2.
    Source: the pairwise objective is that of Rubashevskii, Kotova & Panov 2023, arXiv 2301.05490; the expansion of
    mutual information is standard. Accumulating the batch in one K × K matrix is ours (docs/methods/README.md).

    ``corrected`` and ``bounded`` are those of ``LargeBatchBALD``, with these pairs.

    Args:
        weight: of the pairs; 2 counts every pair twice, 0 is BALD. With ``bounded`` it must be 1.
        corrected: subtracts tr(G_i)·tr(G_j) / (2(K − 1)) from every pair; with ``bounded`` down to zero.
        bounded: multiplies shares instead of summing pairs.

    Raises:
        InputError: a setting is out of range.
    """

    weight: float = setting(real(least=0), 1.0)
    corrected: bool = setting(flag, False)
    bounded: bool = setting(flag, False)
    rounding: ClassVar[float] = 5e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight(self.weight, self.bounded, "SecondOrderLBB")

    @property
    def structure(self) -> Structure:
        # A corrected pair may be negative; the sum of pairs is not cut at zero one by one.
        return Structure.GENERAL if self.corrected and not self.bounded else Structure.SUBMODULAR

    @property
    def uses_state(self) -> bool:
        return not self.bounded

    @property
    def updates_notes(self) -> bool:
        return self.bounded

    @property
    def samples_needed(self) -> int:
        return 2

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        """I(y_i; θ) and the upper triangle of G_i, [n, 1 + K(K + 1)/2], as ``bald_and_gram``."""
        items_n_D = bald_and_gram(log_probs_n_K_C)
        return without_chance(items_n_D, log_probs_n_K_C.shape[1]) if self.corrected else items_n_D

    def init_state(self, like: Tensor) -> Any:
        """The coefficients of the items in a gain: 1, and −½ · weight · M_S."""
        direction_D = torch.zeros(like.shape[1], dtype=torch.float64, device=like.device)
        direction_D[0] = 1
        return direction_D

    def update_state(self, state: Any, chosen_1: Tensor) -> Any:
        if self.bounded:
            return state
        state = state.clone()
        state[1:] -= 0.5 * self.weight * chosen_1[0, 1:]
        return state

    def init_notes(self, items: Tensor) -> Any:
        if not self.bounded:
            return NoNotes()
        return LeftNotes(torch.ones(len(items), dtype=torch.float64, device=items.device))

    def update_notes(self, notes: Any, items: Tensor, chosen_m: Tensor) -> Any:
        if not self.bounded:
            return notes
        return LeftNotes(notes.left_n * share_left(0.5 * (items[:, 1:] @ chosen_m[:, 1:].T), items[:, 0]))

    def gain(self, state: Any, notes: Any, items: Tensor) -> Tensor:
        if self.bounded:
            return items[:, 0].double() * notes.left_n
        return (items @ state.to(items.dtype)).double()

    def working_bytes(self, like: Tensor, k: int) -> int:
        return matrix_bytes(like)
