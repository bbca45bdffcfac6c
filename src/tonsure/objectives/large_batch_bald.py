"""Large BatchBALD: BALD minus the mutual information of all pairs of the batch, with exact pairs."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.arguments import flag, real, setting
from tonsure.errors import InputError
from tonsure.information import (
    bald_of,
    merged_classes,
    shared_by_chance,
    shared_information,
    trace_of_gram,
    x_log_x,
)
from tonsure.objectives.base import Objective, Structure

COARSE = 10
"""Classes of coarse items: a pair costs C² logarithms."""

TINY = 1e-30


class PairNotes(NamedTuple):
    """I(y_i; θ), H[y_i] and tr G_i of every item, and its penalty: a sum over pairs, or a product of shares."""

    bald_n: Tensor
    entropy_n: Tensor
    trace_n: Tensor
    penalty_n: Tensor


@dataclass(frozen=True)
class LargeBatchBALD(Objective[None, PairNotes]):
    """f(S) = Σ_{i∈S} I(y_i; θ) − weight · Σ_{i<j∈S} I(y_i; y_j), every unordered pair once.

    With weight 1 it is the inclusion–exclusion expansion of the joint information I(y_S; θ), cut after second order
    (labels are independent given θ, so the interaction of two is their mutual information): exact for two items.
    Gains, in nats, never increase. They may become negative, because in large batches the sum over pairs exceeds the
    information. A step costs O(N·K·C²) for rows that may win. Needs K ≥ 2.
    Source: Rubashevskii, Kotova & Panov 2023, arXiv 2301.05490; 2-BALD in Kirsch 2023, arXiv 2301.09490.

    ``corrected``: the pair is max(0, I(y_i; y_j) − tr(G_i)·tr(G_j) / (2(K−1))). Mutual information estimated from K
    samples is too large on average: independent items seem to share this many nats to second order, with the G_i of
    ``SecondOrderLBB``, the mean over all permutations of the samples of one item (Kazi-Aoual et al. 1995). Its use for
    pairs of a batch is ours (docs/methods/corrected-pairs.md).

    ``bounded``: gain(x_i | S) = I(y_i; θ) · Π_{j∈S} (1 − ρ_ij), with ρ_ij = I(y_i; y_j) / I(y_i; θ) cut to [0, 1].
    The shares of the chosen items combine as in a noisy-or (Pearl 1988, section 4.3.2). To first order in ρ it is the
    gain of the sum, but never negative. The gain of a step is defined, so the value of a batch depends on the order in
    which its items were chosen. The use of the noisy-or in LBB is ours (docs/methods/bounded-pairs.md).

    Args:
        weight: of the pairs; 2 counts every pair twice, 0 is BALD. With ``bounded`` it must be 1.
        corrected: subtracts from every pair what independent items seem to share, down to zero.
        bounded: multiplies shares instead of summing pairs.

    Raises:
        InputError: a setting is out of range.
    """

    weight: float = setting(real(least=0), 1.0)
    corrected: bool = setting(flag, False)
    bounded: bool = setting(flag, False)
    structure: ClassVar[Structure] = Structure.SUBMODULAR
    uses_state: ClassVar[bool] = False
    rounding: ClassVar[float] = 5e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight(self.weight, self.bounded, "LargeBatchBALD")

    @property
    def samples_needed(self) -> int:
        return 2

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        return log_probs_n_K_C.exp()

    def coarse(self, log_probs_n_K_C: Tensor) -> Tensor:
        """The classes on which the samples disagree most, with all others merged: I(f(y_i); f(y_j)) ≤ I(y_i; y_j).

        Not for corrected pairs, because the correction does not decrease with the classes as pairs do.
        """
        return log_probs_n_K_C if self.corrected else merged_classes(log_probs_n_K_C, COARSE)

    def init_notes(self, items: Tensor) -> PairNotes:
        mean_n_C = items.mean(1)
        bald_n = bald_of(items, mean_n_C).double()
        trace_n = trace_of_gram(items, mean_n_C) if self.corrected else torch.zeros_like(mean_n_C[:, 0])
        penalty_n = torch.ones_like(bald_n) if self.bounded else torch.zeros_like(bald_n)
        return PairNotes(bald_n, -x_log_x(mean_n_C).sum(1), trace_n, penalty_n)

    def update_notes(self, notes: PairNotes, items: Tensor, chosen_m: Tensor) -> PairNotes:
        pair_n_m = shared_information(items, notes.entropy_n, chosen_m)
        if self.corrected:
            trace_m = trace_of_gram(chosen_m, chosen_m.mean(1))
            pair_n_m = pair_n_m - shared_by_chance(notes.trace_n, trace_m, items.shape[1])
        if self.bounded:
            return notes._replace(penalty_n=notes.penalty_n * share_left(pair_n_m, notes.bald_n))
        more_n = pair_n_m.clamp_min_(0).sum(1, dtype=torch.float64)
        return notes._replace(penalty_n=notes.penalty_n + more_n)

    def gain(self, state: None, notes: PairNotes, items: Tensor) -> Tensor:
        if self.bounded:
            return notes.bald_n * notes.penalty_n
        return notes.bald_n - self.weight * notes.penalty_n


def check_weight(weight: float, bounded: bool, name: str) -> None:
    """Raises InputError if pairs that are not summed have a weight."""
    if bounded and weight != 1:
        raise InputError(f"{name}: weight is {weight}, expected 1 with bounded=True, which sums no pairs")


def share_left(pair_n_m: Float[Tensor, "n m"], bald_n: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Π_j (1 − ρ_ij), with ρ_ij = pair_ij / I(y_i; θ) cut to [0, 1]."""
    share_n_m = pair_n_m.double() / bald_n.double()[:, None].clamp_min(TINY)
    return (1 - share_n_m.clamp_(0, 1)).prod(1)
