"""DIRECT: items around the threshold of the score that separates each class from all others."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from tonsure.arguments import real, setting
from tonsure.selection import Selection
from tonsure.shapes import Rows
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.memory import DOUBLE, sizes

STEP = 2.0**-30
"""Differences of probabilities that round to the same multiple of it are a tie."""


@dataclass(frozen=True)
class DIRECT(Strategy):
    """t_c = arg min_t |{labeled x : y = c, rank_c(x) > t}| + |{labeled x : y ≠ c, rank_c(x) ≤ t}|

    rank_c orders all rows by the lead q_c(x) = m_c − max_{c' ≠ c} m_c' of a class, the largest first; m is the mean
    prediction. t_c is the threshold of the lead that separates the class from all others with the fewest errors on the
    labels, which imbalance moves away from the threshold of the model, q_c = 0. Of thresholds with as few errors, that
    nearest to the model's is taken. Ties of the lead, within 2⁻³⁰, are ranked by row.

    The batch is divided over the classes, in random order. Of the rows of a class, a share ``search`` is drawn
    uniformly from the ranks where the threshold may lie, that is, between the first labeled row of another class and
    the last one of this class; the others are the nearest in rank to the threshold, from both sides in turns.

    The paper searches for a threshold with labels that it asks for meanwhile, in several steps for each batch. A
    strategy chooses a batch at once: t_c goes by the labels of earlier rounds, and what the search finds serves the
    next round. Lead, equal errors, and the even split between search and threshold are our decisions, where the
    abstract and reviews of the paper, which is all of it that we could read, leave them open.

    A gain is 1 − |q_c(x)|, for the class that the row was chosen for. Costs O(C · N log N). Memory: the mean
    predictions of all rows.
    Source: Nuggehalli, Zhang, Jain & Nowak, ICML 2025, arXiv 2312.09196.

    Args:
        search: the share of the rows of a class that serves the search, from 0 to 1, rounded down.

    Raises:
        InputError: ``search`` is out of range.
    """

    search: float = setting(real(least=0, most=1), 0.5)
    needs_predictions: ClassVar[bool] = True
    needs_labeled_predictions: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state, k, generator))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state)
        return at.rows + at.means(at.n) + at.means(at.m) + at.N * (2 * at.C + 16) * DOUBLE

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        mean_n_C, mean_m_C = state.mean_probs().cpu(), state.labeled_mean_probs().cpu()
        mean_N_C = mean_n_C.new_empty(len(state), mean_n_C.shape[1])
        mean_N_C[state.unlabeled_rows], mean_N_C[state.labeled_rows] = mean_n_C, mean_m_C
        del mean_n_C, mean_m_C
        label_m = state.labels() if len(state.labeled_rows) else state.labeled_rows
        open_N = torch.zeros(len(state), dtype=torch.bool)
        open_N[state.choosable_rows] = True
        C = mean_N_C.shape[1]
        for turn, label in enumerate(torch.randperm(C, generator=generator).tolist()):
            count = k // C + (turn < k % C)
            lead_N = _lead(mean_N_C, label)
            found = _separation(lead_N, state.labeled_rows, label_m == label)
            within = found.order[found.first : found.last]
            within = within[open_N[within]]
            drawn = torch.randperm(len(within), generator=generator)[: int(self.search * count)]
            open_N[within[drawn]] = False
            around = _around(found.order, found.threshold, open_N, count - len(drawn))
            open_N[around] = False
            for row in chain(within[drawn].tolist(), around.tolist()):
                yield row, 1 - abs(float(lead_N[row]))


class Separation(NamedTuple):
    """The rows by rank, how many of them come before the threshold, and the first and last number that it may be."""

    order: Rows
    threshold: int
    first: int
    last: int


def _lead(mean_N_C: Float64[Tensor, "N C"], label: int) -> Float64[Tensor, " N"]:
    """m_c − max_{c' ≠ c} m_c', in multiples of ``STEP``."""
    lead_N = torch.full_like(mean_N_C[:, 0], -torch.inf)
    for others_N_C in (mean_N_C[:, :label], mean_N_C[:, label + 1 :]):
        if others_N_C.shape[1]:
            lead_N = lead_N.maximum(others_N_C.amax(1))
    return ((mean_N_C[:, label] - lead_N) / STEP).round() * STEP


def _separation(lead_N: Float64[Tensor, " N"], labeled_rows: Rows, of_class_m: Bool[Tensor, " m"]) -> Separation:
    """The threshold with the fewest errors on the labels."""
    N = len(lead_N)
    order = lead_N.sort(descending=True, stable=True).indices
    # What one more row before the threshold adds to the errors.
    adds_N = torch.zeros(N, dtype=torch.int64)
    adds_N[labeled_rows] = 1 - 2 * of_class_m.long()
    adds_N = adds_N[order]
    errors = torch.cat([adds_N.new_zeros(1), adds_N.cumsum(0)])
    fewest = (errors == errors.min()).nonzero()[:, 0]
    threshold = int(fewest[(fewest - int((lead_N > 0).sum())).abs().argmin()])
    others, own = (adds_N > 0).nonzero()[:, 0], (adds_N < 0).nonzero()[:, 0]
    ends = int(others[0]) if len(others) else N, int(own[-1]) + 1 if len(own) else 0
    return Separation(order, threshold, min(ends), max(ends))


def _around(order: Rows, threshold: int, open_N: Bool[Tensor, " N"], count: int) -> Int64[Tensor, " b"]:
    """The ``count`` open rows that are nearest to the threshold in rank, one from each side in turns."""
    before, after = order[:threshold].flip(0), order[threshold:]
    sides = [side[open_N[side]][:count].tolist() for side in (before, after)]
    turns = [row for pair in zip_longest(*sides) for row in pair if row is not None]
    return torch.tensor(turns[:count], dtype=torch.int64)
