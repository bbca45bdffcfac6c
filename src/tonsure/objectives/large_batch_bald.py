"""Large BatchBALD: BALD, corrected pair by pair for what the items of a batch would tell twice."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tonsure.errors import InputError
from tonsure.information import bald_of, merged_classes, shared_information, x_log_x
from tonsure.objective import Gains, Objective

COARSE = 10
"""Classes that lazy search looks at first: a pair costs C² logarithms."""


class PairNotes(NamedTuple):
    bald_n: Tensor
    entropy_n: Tensor
    redundancy_n: Tensor


@dataclass(frozen=True)
class LargeBatchBALD(Objective[None, PairNotes]):
    """f(S) = Σ_{i∈S} I(y_i; θ) − weight · Σ_{i<j∈S} I(y_i; y_j), every unordered pair once.

    With weight 1 it is the inclusion–exclusion expansion of the joint information I(y_S; θ), cut after second order
    (labels are independent given θ, so the interaction of two is their mutual information): exact for two items.
    Gains only fall; they may turn negative, for the sum over pairs overshoots in large batches.
    Source: Rubashevskii, Kotova, Panov 2023, arXiv 2301.05490; the second-order k-BALD of Kirsch 2023.

    Args:
        weight: of the pairwise terms; 2 counts every pair twice, 0 is BALD.
    """

    weight: float = 1.0
    gains: ClassVar[Gains] = Gains.FALLING
    rounding: ClassVar[float] = 5e-6

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise InputError(f"LargeBatchBALD: weight is {self.weight}, expected a finite number of at least 0")

    @property
    def samples_needed(self) -> int:
        return 2

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        return log_probs_n_K_C.exp()

    def coarse(self, log_probs_n_K_C: Tensor) -> Tensor:
        """The classes that the samples disagree on most, and all others as one: I(f(y_i); f(y_j)) ≤ I(y_i; y_j)."""
        return merged_classes(log_probs_n_K_C, COARSE)

    def first_notes(self, items: Tensor) -> PairNotes:
        mean_n_C = items.mean(1)
        bald_n = bald_of(items, mean_n_C).double()
        return PairNotes(bald_n, -x_log_x(mean_n_C).sum(1), torch.zeros_like(bald_n))

    def next_notes(self, notes: PairNotes, items: Tensor, chosen_m: Tensor) -> PairNotes:
        pair_n_m = shared_information(items, notes.entropy_n, chosen_m)
        more_n = pair_n_m.clamp_min_(0).sum(1, dtype=torch.float64)
        return notes._replace(redundancy_n=notes.redundancy_n + more_n)

    def gain(self, state: None, notes: PairNotes, items: Tensor) -> Tensor:
        return notes.bald_n - self.weight * notes.redundancy_n
