"""Facility location: what the model may have wrong is to lie near something that is labeled."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tonsure.errors import InputError
from tonsure.predictions.reader import PoolReader
from tonsure.scores import margin
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.facilities import MOST, RADIUS, facilities


@dataclass(frozen=True, repr=False)
class FacilityLocation(Strategy):
    """f(S) = Σ_j score(x_j) · max_{z ∈ L ∪ S} exp(−‖h_j − h_z‖² / r²)

    The score says where the model may be wrong; the rest, how much a label of z tells of x_j: h are features, centered
    and divided by their lengths, and L is what is labeled. A row is worth what lies around it that is undecided and not
    covered yet, so that neither an outlier nor a copy, of what is labeled or of the batch, gains much.

    r² is ``radius`` times the median squared distance of a row to its (N / (labeled + k))-th neighbor: so many rows
    come to each label of the next round.

    Gains only fall: the rows are those of greedy search, with at least 1 − 1/e of the largest f (Nemhauser, Wolsey &
    Fisher 1978), found lazily (Minoux 1978). Of a pool of more rows than ``most``, so many are drawn in
    proportion to the score, to be looked at; each of them then counts the same. So a selection looks at n ≤ ``most``
    rows, however large the pool; it costs O(n²·D + N·D) and holds 4·n² bytes beside the features of these n. Those of
    the others are read 16,384 at a time, for their mean and for r².
    Source: ours, as a form of the facility location problem with weights. Wei, Iyer & Bilmes 2015 have it without,
    for what is left of a pool after filtering by uncertainty.

    Args:
        score: a function of ``log_probs_n_K_C`` that gives [n] numbers, none negative.
        radius: the scale of r².
        most: how many unlabeled rows are looked at; 8·k where that is more.

    Raises:
        InputError: a number is out of range.
    """

    score: Callable[[Tensor], Tensor] | None = margin
    radius: float = RADIUS
    most: int = MOST
    needs_features: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.radius < float("inf"):
            raise InputError(f"FacilityLocation: radius is {self.radius}, expected a finite number above 0")
        if self.most < 1:
            raise InputError(f"FacilityLocation: most is {self.most}, expected at least 1")

    def __repr__(self) -> str:
        score = getattr(self.score, "__name__", self.score)
        return f"FacilityLocation({score}, radius={self.radius}, most={self.most})"

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        picks = facilities(
            PoolReader([state.features()]),
            state.scores(self.score),
            state.labeled_rows,
            state.unlabeled_rows,
            k,
            generator,
            radius=self.radius,
            most=self.most,
        )
        return selected(self, state, k, picks)
