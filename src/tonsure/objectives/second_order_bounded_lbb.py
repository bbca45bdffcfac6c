"""SecondOrderBoundedLBB: the bounded penalty with pairs to second order, in the space of the posterior samples."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tonsure.objective import Gains, Objective
from tonsure.objectives.bounded_lbb import TINY
from tonsure.objectives.gram import bald_and_gram, without_chance


class LeftNotes(NamedTuple):
    left_n: Tensor


@dataclass(frozen=True)
class SecondOrderBoundedLBB(Objective[None, LeftNotes]):
    """gain(x_i | S) = I(y_i; θ) · Π_{j∈S} (1 − ρ_ij), with ρ_ij = ½⟨G_i, G_j⟩ / I(y_i; θ), cut to [0, 1].

    ``BoundedLBB`` with the pairs of ``SecondOrderLBB``: the cost of a pair is one inner product of K(K + 1)/2 numbers,
    whatever the number of classes. The terms overshoot where items are confident and their samples disagree; here a
    share ends at 1. Gains only fall and are never negative.

    Args:
        corrected: takes tr(G_i)·tr(G_j) / (2(K − 1)) off every pair, down to zero: what two items that have nothing in
            common seem to share when only K samples are seen.
    """

    corrected: bool = True
    gains: ClassVar[Gains] = Gains.FALLING
    rounding: ClassVar[float] = 5e-6

    @property
    def samples_needed(self) -> int:
        return 2

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        """I(y_i; θ), and the upper triangle of G_i or of what chance leaves of it: [n, 1 + D]."""
        items_n_D = bald_and_gram(log_probs_n_K_C)
        return without_chance(items_n_D, log_probs_n_K_C.shape[1]) if self.corrected else items_n_D

    def first_notes(self, items: Tensor) -> LeftNotes:
        return LeftNotes(torch.ones(len(items), dtype=torch.float64, device=items.device))

    def next_notes(self, notes: LeftNotes, items: Tensor, chosen_m: Tensor) -> LeftNotes:
        pair_n_m = 0.5 * (items[:, 1:] @ chosen_m[:, 1:].T)
        share_n_m = pair_n_m.double() / items[:, :1].double().clamp_min(TINY)
        return LeftNotes(notes.left_n * (1 - share_n_m.clamp_(0, 1)).prod(1))

    def gain(self, state: None, notes: LeftNotes, items: Tensor) -> Tensor:
        return items[:, 0].double() * notes.left_n
