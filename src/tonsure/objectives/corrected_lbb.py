"""CorrectedLBB: Large BatchBALD with pairs that are freed from what so few samples add to them."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tonsure.information import bald_of, shared_by_chance, shared_information, trace_of_gram, x_log_x
from tonsure.objective import Gains, Objective


class CorrectedNotes(NamedTuple):
    bald_n: Tensor
    entropy_n: Tensor
    trace_n: Tensor
    redundancy_n: Tensor


@dataclass(frozen=True)
class CorrectedLBB(Objective[None, CorrectedNotes]):
    """f(S) = Σ_{i∈S} I(y_i; θ) − Σ_{i<j∈S} max(0, I(y_i; y_j) − tr(G_i)·tr(G_j) / (2(K−1))).

    Mutual information that is read off K samples is too large on average: two items that have nothing in common seem to
    share tr(G_i)·tr(G_j) / (2(K−1)) nats to second order, with the G_i of ``SecondOrderLBB``, which is the mean over
    all ways to shuffle the samples of one of them. With few samples that is more than what there is to measure. Gains
    only fall; they may turn negative all the same, as the sum over pairs overshoots in large batches.
    Source: ours; the mean of the χ² statistic under independence (Pearson 1900), weighted by the items' own variance.
    """

    gains: ClassVar[Gains] = Gains.FALLING
    rounding: ClassVar[float] = 5e-6

    @property
    def samples_needed(self) -> int:
        return 2

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        return log_probs_n_K_C.exp()

    def first_notes(self, items: Tensor) -> CorrectedNotes:
        mean_n_C = items.mean(1)
        bald_n = bald_of(items, mean_n_C).double()
        return CorrectedNotes(
            bald_n, -x_log_x(mean_n_C).sum(1), trace_of_gram(items, mean_n_C), torch.zeros_like(bald_n)
        )

    def next_notes(self, notes: CorrectedNotes, items: Tensor, chosen_m: Tensor) -> CorrectedNotes:
        pair_n_m = shared_information(items, notes.entropy_n, chosen_m)
        chance_n_m = shared_by_chance(notes.trace_n, trace_of_gram(chosen_m, chosen_m.mean(1)), items.shape[1])
        more_n = (pair_n_m - chance_n_m).clamp_min_(0).sum(1, dtype=torch.float64)
        return notes._replace(redundancy_n=notes.redundancy_n + more_n)

    def gain(self, state: None, notes: CorrectedNotes, items: Tensor) -> Tensor:
        return notes.bald_n - notes.redundancy_n
