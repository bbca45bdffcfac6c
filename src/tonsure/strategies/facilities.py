"""Facilities: the rows near which most of what is undecided lies. The search of ``FacilityLocation``."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, islice

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.optimizers.optimizer import gumbel_noise, power_key
from tonsure.predictions.reader import PoolReader
from tonsure.shapes import Rows
from tonsure.strategies.distances import on_the_sphere

RADIUS = 1.0
MOST = 16_384

FRESH = 64
"""Rows whose gains are brought up to date at once."""

BLOCK = 64
"""Rows that are compared with all others at once: what the caches of a processor hold."""

READ = 16_384
"""Rows whose features are read at a time, where all of them are looked at."""

TILE = 512
"""As many rows and columns of a matrix are made at once, for the same reason."""

ASKED = 256
"""So many rows are asked how far their neighbors are."""

LEAST = 1e-5
"""Of r²: squared distances on the sphere in float32 are known no better."""


def facilities(
    features: PoolReader,
    score_n: Float[Tensor, " n"],
    labeled_rows: Tensor,
    unlabeled_rows: Tensor,
    k: int,
    generator: torch.Generator,
    *,
    radius: float = RADIUS,
    most: int = MOST,
) -> Iterator[tuple[int, float]]:
    """k of the unlabeled rows, each with what it adds; ``FacilityLocation`` says to what.

    Args:
        features: [N, D], read where they lie: none but those of the rows that are looked at are kept.
        score_n: of the unlabeled rows, which are ascending.
    """
    sphere = _Sphere(features, _mean(features))
    score_n, every = score_n.float(), max(most, 8 * k) >= len(score_n)
    looked_at = torch.arange(len(score_n)) if every else _drawn(score_n, max(most, 8 * k), generator)
    weight_n = score_n[looked_at] if every else torch.ones_like(score_n[looked_at])
    rows = unlabeled_rows[looked_at]
    features_n_D = sphere.at(rows)
    squared_radius = radius * _squared_distance(sphere, labeled_rows, unlabeled_rows, k, generator)

    covered_n = torch.zeros_like(weight_n)
    for some in labeled_rows.split(BLOCK) if len(labeled_rows) else ():
        similarity_m_n = _similarity(sphere.at(some), features_n_D, squared_radius)
        covered_n = torch.cat([covered_n[None], similarity_m_n]).amax(0)
    # Not in large pages, as NumPy asks for them: faster in a loop of selections, on a virtual machine they were slower
    # where a model is trained between two of them.
    similarity_n_n = weight_n.new_empty(len(rows), len(rows))
    spans = [slice(first, first + TILE) for first in range(0, len(rows), TILE)]
    for some, others in combinations_with_replacement(spans, 2):
        tile = _similarity(features_n_D[some], features_n_D[others], squared_radius)
        similarity_n_n[some, others], similarity_n_n[others, some] = tile, tile.T.contiguous()  # it is symmetric

    open_n = torch.ones(len(rows), dtype=torch.bool)
    for place, gain in islice(_lazy_greedy(similarity_n_n, covered_n, weight_n), k):
        yield int(rows[place]), gain
        open_n[place] = False
    # Where nothing is left to cover, the rest is drawn.
    left = rows[open_n]
    for place in torch.randperm(len(left), generator=generator)[: k - int((~open_n).sum())].tolist():
        yield int(left[place]), 0.0


def _similarity(
    features_m_D: Float[Tensor, "m D"], features_n_D: Float[Tensor, "n D"], squared_radius: float
) -> Float[Tensor, "m n"]:
    """exp(−‖h − h'‖² / r²): what a label of each of the one would tell of each of the others."""
    return (features_m_D @ features_n_D.T).sub_(1).clamp_max_(0).mul_(2 / squared_radius).exp_()


def _drawn(score_n: Float[Tensor, " n"], count: int, generator: torch.Generator) -> Tensor:
    """So many places, in proportion to the score."""
    noise_n = gumbel_noise(len(score_n), generator).to(score_n.device)
    return power_key(score_n.double(), noise_n, 1.0).topk(count).indices.sort().values.cpu()


def _squared_distance(
    sphere: "_Sphere", labeled_rows: Tensor, unlabeled_rows: Tensor, k: int, generator: torch.Generator
) -> float:
    """Of a row to its (N / (labeled + k))-th neighbor, the median over some rows."""
    N = len(sphere.features)
    neighbors = N // (len(labeled_rows) + k)
    asked = unlabeled_rows[torch.randperm(len(unlabeled_rows), generator=generator)[:ASKED]]
    asked_D = [sphere.at(some) for some in asked.split(BLOCK)]
    nearest = [some_D.new_empty(len(some_D), 0) for some_D in asked_D]
    for block in torch.arange(N).split(READ):
        features_n_D = sphere.at(block)
        for place, some_D in enumerate(asked_D):
            cosine = torch.cat([nearest[place], some_D @ features_n_D.T], dim=1)
            nearest[place] = cosine.topk(min(neighbors + 1, cosine.shape[1])).values  # and one is the row itself
    return max(float((2 - 2 * torch.cat(nearest)[:, -1]).median()), LEAST)


def _mean(features: PoolReader) -> Float[Tensor, " D"]:
    blocks = torch.arange(len(features)).split(READ)
    sums_D = [features.stored(block).float().sum(0).double() for block in blocks]
    return (torch.stack(sums_D).sum(0) / len(features)).float()


@dataclass(frozen=True, eq=False)
class _Sphere:
    """Features, centered and divided by their lengths, of some rows at a time, in ascending order."""

    features: PoolReader
    mean_D: Float[Tensor, " D"]

    def at(self, rows: Rows) -> Float[Tensor, "n D"]:
        return on_the_sphere(self.features.stored(rows.sort().values).float() - self.mean_D)


def _lazy_greedy(
    similarity_n_n: Float[Tensor, "n n"], covered_n: Float[Tensor, " n"], weight_n: Float[Tensor, " n"]
) -> Iterator[tuple[int, float]]:
    """The places that cover most of what is left, each with what it adds, until nothing adds any."""
    work = similarity_n_n.new_empty(max(BLOCK, FRESH), len(weight_n))  # used again: fresh memory every time is slow

    def gain(places: Tensor) -> Float[Tensor, " b"]:
        similarity_b_n = torch.index_select(similarity_n_n, 0, places.to(work.device), out=work[: len(places)])
        return similarity_b_n.sub_(covered_n).clamp_min_(0) @ weight_n

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
            covered_n = covered_n.maximum(similarity_n_n[best])
            open_n[best], gain_n[best] = False, -torch.inf
            fresh_n = ~open_n
