"""BoundedLBB: Large BatchBALD whose penalty is bounded: what is told twice is a share, and shares multiply."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tonsure.information import (
    bald_of,
    merged_classes,
    shared_by_chance,
    shared_information,
    trace_of_gram,
    x_log_x,
)
from tonsure.objective import Gains, Objective
from tonsure.objectives.large_batch_bald import COARSE

TINY = 1e-30


class ShareNotes(NamedTuple):
    bald_n: Tensor
    entropy_n: Tensor
    trace_n: Tensor
    left_n: Tensor


@dataclass(frozen=True)
class BoundedLBB(Objective[None, ShareNotes]):
    """gain(x_i | S) = I(y_i; θ) · Π_{j∈S} (1 − ρ_ij), with ρ_ij = I(y_i; y_j) / I(y_i; θ), from 0 to 1.

    Every chosen item explains a share of what y_i would tell of θ; shares that know nothing of each other are joined as
    in a noisy-or (Pearl 1988, section 4.3.2). To first order in ρ it is the gain of ``LargeBatchBALD``; where that sum
    over pairs exceeds what there is to tell, and prefers items that tell nothing, this one only comes near to zero.
    Gains only fall and are never negative. It is the gain of a step that is defined: what a batch is worth depends on
    the order in which its items joined.

    Pairs from K samples are too large on average, also those of items that have nothing in common: by
    tr(G_i)·tr(G_j) / (2(K−1)) to second order, G_i being that of ``SecondOrderLBB``. With five members this is more
    than what there is to measure; ``corrected`` takes it off, down to zero.

    Args:
        corrected: whether pairs are freed from what so few samples add to them on average.
    """

    corrected: bool = True
    gains: ClassVar[Gains] = Gains.FALLING
    rounding: ClassVar[float] = 5e-6

    @property
    def samples_needed(self) -> int:
        return 2

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        return log_probs_n_K_C.exp()

    def coarse(self, log_probs_n_K_C: Tensor) -> Tensor:
        """As ``LargeBatchBALD``; but the correction does not shrink with the classes as pairs do."""
        return log_probs_n_K_C if self.corrected else merged_classes(log_probs_n_K_C, COARSE)

    def first_notes(self, items: Tensor) -> ShareNotes:
        mean_n_C = items.mean(1)
        bald_n = bald_of(items, mean_n_C).double()
        return ShareNotes(bald_n, -x_log_x(mean_n_C).sum(1), trace_of_gram(items, mean_n_C), torch.ones_like(bald_n))

    def next_notes(self, notes: ShareNotes, items: Tensor, chosen_m: Tensor) -> ShareNotes:
        pair_n_m = shared_information(items, notes.entropy_n, chosen_m)
        if self.corrected:
            trace_m = trace_of_gram(chosen_m, chosen_m.mean(1))
            pair_n_m -= shared_by_chance(notes.trace_n, trace_m, items.shape[1])
        share_n_m = pair_n_m.double() / notes.bald_n[:, None].clamp_min(TINY)
        return notes._replace(left_n=notes.left_n * (1 - share_n_m.clamp_(0, 1)).prod(1))

    def gain(self, state: None, notes: ShareNotes, items: Tensor) -> Tensor:
        return notes.bald_n * notes.left_n
