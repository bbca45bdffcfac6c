"""SecondOrderLBB: Large BatchBALD with pairs to second order, in the space of the posterior samples."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tonsure.errors import InputError
from tonsure.objective import Gains, NoNotes, Objective
from tonsure.objectives.gram import bald_and_gram


@dataclass(frozen=True)
class SecondOrderLBB(Objective[Tensor, NoNotes]):
    """f(S) = Σ_{i∈S} I(y_i; θ) − weight · Σ_{i<j∈S} ½⟨G_i, G_j⟩, with G_i = Z_i Z_iᵀ (K × K).

    Z_i (K × C) has entries (p_ikc − m_ic) / √(K·m_ic), and ½⟨G_i, G_j⟩ is I(y_i; y_j) to second order in these
    deviations, χ² in the place of the Kullback–Leibler divergence. What the whole batch tells twice is then
    ½⟨G_i, M_S⟩ with one matrix M_S = Σ_{j∈S} G_j: a step costs O(N·K²), whatever the batch and the number of classes.
    Where items are confident and their samples disagree, the terms overshoot the exact ones; I(y_i; θ) is exact.
    Gains only fall. Source: the second-order (χ²) expansion of mutual information; the pairwise objective is that
    of Rubashevskii, Kotova, Panov 2023, arXiv 2301.05490.

    Args:
        weight: of the pairwise terms; 2 counts every pair twice, 0 is BALD.
    """

    weight: float = 1.0
    gains: ClassVar[Gains] = Gains.FALLING
    rounding: ClassVar[float] = 5e-6

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise InputError(f"SecondOrderLBB: weight is {self.weight}, expected a finite number of at least 0")

    @property
    def samples_needed(self) -> int:
        return 2

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        """I(y_i; θ), and the upper triangle of G_i, where off the diagonal √2 keeps the inner product: [n, 1 + D]."""
        return bald_and_gram(log_probs_n_K_C)

    def first_state(self, like: Tensor) -> Tensor:
        """What a gain is of the numbers that ``prepare`` gives: 1, and −½ · weight · M_S."""
        direction_D = torch.zeros(like.shape[1], dtype=torch.float64, device=like.device)
        direction_D[0] = 1
        return direction_D

    def next_state(self, state: Tensor, chosen_1: Tensor) -> Tensor:
        state = state.clone()
        state[1:] -= 0.5 * self.weight * chosen_1[0, 1:]
        return state

    def gain(self, state: Tensor, notes: NoNotes, items: Tensor) -> Tensor:
        return (items @ state.to(items.dtype)).double()
