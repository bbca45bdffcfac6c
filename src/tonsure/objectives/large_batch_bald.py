"""Large BatchBALD: BALD, corrected pair by pair for what the items of a batch would tell twice."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tonsure.errors import InputError
from tonsure.information import bald, mutual_information
from tonsure.objective import Gains, Objective


class PairNotes(NamedTuple):
    bald_n: Tensor
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

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise InputError(f"LargeBatchBALD: weight is {self.weight}, expected a finite number of at least 0")

    @property
    def samples_needed(self) -> int:
        return 2

    def first_notes(self, items: Tensor) -> PairNotes:
        bald_n = bald(items).double()
        return PairNotes(bald_n, torch.zeros_like(bald_n))

    def next_notes(self, notes: PairNotes, items: Tensor, chosen_m: Tensor) -> PairNotes:
        more_n = mutual_information(items, chosen_m).sum(1, dtype=torch.float64)
        return notes._replace(redundancy_n=notes.redundancy_n + more_n)

    def gain(self, state: None, notes: PairNotes, items: Tensor) -> Tensor:
        return notes.bald_n - self.weight * notes.redundancy_n
