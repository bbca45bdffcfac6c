"""Facility location: what the model may have wrong is to lie near something that is labeled."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tonsure.errors import InputError
from tonsure.optimizers.optimizer import gumbel_noise, power_key
from tonsure.scores import margin
from tonsure.select import Selection
from tonsure.strategies.distances import on_the_sphere
from tonsure.strategies.strategy import Strategy, View, selected

FRESH = 64
"""Rows whose gains are brought up to date at once."""

BLOCK = 64
"""Rows of the matrix that are made at once: what the caches of a processor hold."""

ASKED = 256
"""So many rows are asked how far their neighbors are."""

LEAST = 1e-5
"""Of r²: squared distances on the sphere in float32 are known no better."""


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
    rows, however large the pool; it costs O(n²·D) and holds 4·n² bytes beside a copy of the features.
    Source: ours, as a form of the facility location problem with weights. Wei, Iyer & Bilmes 2015 have it without,
    for what is left of a pool after filtering by uncertainty.

    Args:
        score: a function of ``log_probs_n_K_C`` that gives [n] numbers, none negative.
        radius: the scale of r².
        most: how many unlabeled rows are looked at; 8·k where that is more.

    Raises:
        InputError: a number is out of range.
    """

    score: Callable[[Tensor], Tensor] = margin
    radius: float = 1.0
    most: int = 16_384
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

    def choose(self, view: View, k: int, generator: torch.Generator) -> Selection:
        return self.choose_by_score(view, self.score(view.predictions()), k, generator)

    def choose_by_score(
        self, view: View, score_n: Float[Tensor, " n"], k: int, generator: torch.Generator
    ) -> Selection:
        """The same where the scores of the unlabeled rows are known, and the view holds no predictions."""
        return selected(self, view, k, self._picks(view, score_n.float(), k, generator))

    def _picks(
        self, view: View, score_n: Float[Tensor, " n"], k: int, generator: torch.Generator
    ) -> Iterator[tuple[int, float]]:
        features_N_D = view.features().float()
        features_N_D = on_the_sphere(features_N_D - features_N_D.mean(0))
        looked_at = self._looked_at(score_n, k, generator)
        weight_n = score_n[looked_at] if len(looked_at) == len(score_n) else torch.ones_like(score_n[looked_at])
        rows = view.unlabeled_rows[looked_at.cpu()]
        features_n_D, squared_radius = features_N_D[rows], self._squared_radius(features_N_D, view, k, generator)

        def told(some: Tensor) -> Float[Tensor, "m n"]:
            """What labels of some rows would tell of those that are looked at."""
            cosine_m_n = features_N_D[some] @ features_n_D.T
            return cosine_m_n.sub_(1).clamp_max_(0).mul_(2 / squared_radius).exp_()

        covered_n = torch.zeros_like(weight_n)
        for some in view.labeled_rows.split(BLOCK):
            covered_n = torch.cat([covered_n[None], told(some)]).amax(0)
        told_n_n = torch.empty(len(rows), len(rows)).to(weight_n)
        for some, there in zip(rows.split(BLOCK), told_n_n.split(BLOCK), strict=True):
            there.copy_(told(some))

        open_n = torch.ones(len(rows), dtype=torch.bool)
        for place, gain in islice(_lazy_greedy(told_n_n, covered_n, weight_n), k):
            yield int(rows[place]), gain
            open_n[place] = False
        # Where nothing is left to cover, the rest is drawn.
        left = rows[open_n]
        for place in torch.randperm(len(left), generator=generator)[: k - int((~open_n).sum())]:
            yield int(left[place]), 0.0

    def _looked_at(self, score_n: Float[Tensor, " n"], k: int, generator: torch.Generator) -> Int[Tensor, " m"]:
        """All places, or so many that are drawn in proportion to the score."""
        most = max(self.most, 8 * k)
        if len(score_n) <= most:
            return torch.arange(len(score_n)).to(score_n.device)
        noise_n = gumbel_noise(len(score_n), generator).to(score_n.device)
        return power_key(score_n.double(), noise_n, 1.0).topk(most).indices.sort().values

    def _squared_radius(
        self, features_N_D: Float[Tensor, "N D"], view: View, k: int, generator: torch.Generator
    ) -> float:
        """r²"""
        neighbor = len(view) // (len(view.labeled_rows) + k)
        asked = view.unlabeled_rows[torch.randperm(len(view.unlabeled_rows), generator=generator)[:ASKED]]
        place = max(1, len(view) - neighbor)  # in ascending order, of which the last is the row itself
        cosine_n = torch.cat(
            [(features_N_D[some] @ features_N_D.T).kthvalue(place, dim=1).values for some in asked.split(BLOCK)]
        )
        squared_n = 2 - 2 * cosine_n
        return self.radius * max(float(squared_n.median()), LEAST)


def _lazy_greedy(
    told_n_n: Float[Tensor, "n n"], covered_n: Float[Tensor, " n"], weight_n: Float[Tensor, " n"]
) -> Iterator[tuple[int, float]]:
    """The places that cover most of what is left, each with what it adds, until nothing adds any."""

    def gain(places: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        return (told_n_n[places] - covered_n).clamp_min_(0) @ weight_n

    gain_n = torch.cat([gain(places) for places in torch.arange(len(weight_n)).split(BLOCK)])
    open_n, fresh_n = torch.ones(2, len(gain_n), dtype=torch.bool, device=gain_n.device)
    while True:
        first = gain_n.topk(min(FRESH, len(gain_n))).indices
        best = int(first[0])
        if not fresh_n[best]:
            stale = first[~fresh_n[first]]
            gain_n[stale], fresh_n[stale] = gain(stale), True
        elif gain_n[best] <= 0:
            return
        else:
            yield best, float(gain_n[best])
            covered_n = covered_n.maximum(told_n_n[best])
            open_n[best], gain_n[best] = False, -torch.inf
            fresh_n = ~open_n
