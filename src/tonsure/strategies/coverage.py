"""The search of ``FacilityLocation`` and its relatives: which rows cover most of the weight of a pool."""

import functools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from tonsure.optimizers.optimizer import gumbel_noise, power_key
from tonsure.predictions.reader import rows_at_once
from tonsure.search.plan import FIXED, KEEP, as_text
from tonsure.strategies.base import PoolState
from tonsure.strategies.distances import squared_distances, unit_of
from tonsure.strategies.similarities import MANY, ExactGains, Similarities, lazy_greedy, similarity
from tonsure.strategies.sphere import COPIES, SAMPLED, FeatureRows, Features, Sphere, bytes_of_whitening

logger = logging.getLogger("tonsure")

CANDIDATES = 32_768
"""Rows of a larger pool among which is chosen, drawn in proportion to the score; half as many without labels."""

LABELED = 16
"""From so many labeled rows on, about one similarity in seventeen is above what they cover, and all of these fit."""

PER_PICK = 8
"""Candidates per row to choose, where that is more."""

BLOCK = 64
"""Rows that are compared with all others at once: what the caches of a processor hold."""

MERGED = 2048
"""Rows at least among which neighbors are looked for at a time."""

ASKED = 256
"""Rows whose distance to their neighbors is measured."""

RANK = 16
"""Neighbors are looked for among more than ``SAMPLED`` rows if fewer of them would be nearer than the one asked for."""

LEAST = 1e-5
"""The smallest r²: squared distances on the sphere in single precision are not more accurate."""

Radius = Callable[[Sphere, Tensor, Tensor, int, torch.Generator], float]
"""A rule for r²: from the features, the labeled and the unlabeled rows, k and the generator of the selection."""


@dataclass(frozen=True)
class CoveragePlan:
    """How many rows a search looks at, and the bytes that it holds beyond its inputs."""

    targets: int
    candidates: int
    least: int
    row: int
    """Bytes of the similarities of one candidate to all targets."""

    def kept(self, memory: int | None) -> int:
        """How many candidates may keep their similarities in memory."""
        room = KEEP if memory is None else memory - self.least
        return min(self.candidates, max(0, room) // self.row)

    def log(self, state: PoolState) -> None:
        """Says the plan, for people."""
        kept = self.kept(state.memory)
        budget = "no budget was given" if state.memory is None else f"of {as_text(state.memory)}"
        text = (
            f"plan for {len(state):,} rows: {as_text(self.least + kept * self.row)} beyond the inputs ({budget}): "
            f"{self.candidates:,} candidates, {self.targets:,} rows to cover, the similarities of {kept:,} candidates "
            f"in memory, {as_text(kept * self.row)}"
        )
        logger.info("%s", text)


def plan_coverage(
    state: PoolState, k: int, widths: Sequence[int], *, most: int | None, whitened: bool = False
) -> CoveragePlan:
    """The plan of a search.

    Args:
        widths: the number D of features of a row, of each kind.
        whitened: whether they are multiplied by a matrix.
        most: the number of rows that are looked at; 8·k if that is more. None is all of them.
    """
    N, unlabeled, labeled, D = len(state), len(state.unlabeled_rows), len(state.labeled_rows), sum(widths)
    looked_at = unlabeled if most is None else max(most, PER_PICK * k)
    targets, candidates = min(unlabeled, looked_at), min(len(state.choosable_rows), looked_at)
    drawn = 0 if targets == unlabeled else 3 * 8 * N
    features = 12 * D * (targets + (0 if candidates == targets else candidates))
    columns, rank = _columns(N, labeled + k)
    merged = min(columns, max(MERGED, rank + 1))
    asked = 8 * ASKED * (D + rank + 1 + merged) + 8 * BLOCK * (4 * (rank + 1) + merged)
    reading = COPIES * D * min(N, rows_at_once(COPIES * D)) + min(unlabeled, ASKED) * asked // ASKED
    mapping = sum(8 * each * min(N, each) for each in widths) if whitened else 0
    whitening = mapping + max(bytes_of_whitening(N, each) for each in widths) if whitened else 0
    working = targets * ((4 + (4 + 8) * 2) * MANY + 64) + 64 * candidates + (8 + COPIES) * D * min(N, MANY)
    least = max(whitening, mapping + drawn + features + max(reading, working))
    return CoveragePlan(targets, candidates, FIXED + 24 * N + least, 4 * targets)


def cover(
    state: PoolState,
    features: Sequence[FeatureRows],
    score_n: Float[Tensor, " n"],
    k: int,
    generator: torch.Generator,
    planned: CoveragePlan,
    radius: Radius,
    *,
    whitening: float | None,
    directions: int | None = None,
) -> Iterator[tuple[int, float]]:
    """k of the rows that may be chosen, each with its gain, as ``FacilityLocation`` defines it.

    Args:
        features: one or several kinds, each [N, D], read block by block; those of the rows that are looked at are held.
        score_n: of the unlabeled rows.
        planned: what ``plan_coverage`` gives.
        radius: the rule for r², which is ``LEAST`` if it gives less.
        whitening: the exponent w of Σ^(−w/2), by which centered features are multiplied before they are divided by
            their lengths; with None they are not centered either.
        directions: with whitening, those of the largest variance, to which features are projected; None is all.
    """
    labeled_rows, unlabeled_rows = state.labeled_rows, state.unlabeled_rows
    sphere = Sphere([Features.of(reader, whitening, generator, directions) for reader in features])
    worth = unit_of(score_n)
    score_n = (score_n.double() / worth).float().cpu()
    target_places, candidate_places = _looked_at(score_n, state.choosable_n, planned, generator)
    weight_T = score_n[target_places]
    if len(target_places) < len(score_n):  # they were drawn in proportion to it: each stands for as much of the pool
        weight_T = torch.full_like(weight_T, float(score_n.double().sum()) / len(weight_T))
    targets = _Points.of(sphere.at(unlabeled_rows[target_places]))
    same = torch.equal(candidate_places, target_places)
    candidates = targets if same else _Points.of(sphere.at(unlabeled_rows[candidate_places]))
    squared_radius = max(radius(sphere, labeled_rows, unlabeled_rows, k, generator), LEAST)
    weight_T = weight_T.to(targets.double_n_D.device)
    similarities = Similarities(candidates.single_n_D, targets.single_n_D, squared_radius, planned.kept(state.memory))
    exact = ExactGains(sphere.at, labeled_rows, candidates.double_n_D, targets.double_n_D, squared_radius, weight_T)
    covered_T = torch.zeros(len(target_places), dtype=torch.float32, device=weight_T.device)
    for some in labeled_rows.sort().values.split(BLOCK) if len(labeled_rows) else ():
        similarity_m_T = similarity(sphere.at(some).float(), targets.single_n_D, squared_radius)
        covered_T = torch.cat([covered_T[None], similarity_m_T]).amax(0)
    rows = unlabeled_rows[candidate_places]
    left_n = torch.ones(len(rows), dtype=torch.bool)
    for chosen, (place, gain) in enumerate(lazy_greedy(similarities, exact, covered_T, weight_T.float()), 1):
        yield int(rows[place]), gain * worth
        left_n[place] = False
        if chosen == k:
            return
    # Where nothing is left to cover, the rest is drawn uniformly.
    left = rows[left_n]
    for place in torch.randperm(len(left), generator=generator)[: k - int((~left_n).sum())].tolist():
        yield int(left[place]), 0.0


def _looked_at(
    score_n: Float[Tensor, " n"], choosable_n: Bool[Tensor, " n"], planned: CoveragePlan, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The places of targets and candidates, ascending: all of them, or by one draw in proportion to the score."""
    allowed = (torch.ones_like(choosable_n), choosable_n)
    places = [allowed_n.nonzero()[:, 0] for allowed_n in allowed]
    counts = (planned.targets, planned.candidates)
    if counts == tuple(map(len, places)):
        return places[0], places[1]
    key_n = power_key(score_n.double(), gumbel_noise(len(score_n), generator), 1.0)
    drawn = [those[key_n[those].topk(count).indices.sort().values] for those, count in zip(places, counts, strict=True)]
    return drawn[0], drawn[1]


def _columns(N: int, labels: int) -> tuple[int, int]:
    """Among how many rows neighbors are looked for, and the rank of the neighbor that r² is the distance of."""
    neighbors = N // labels
    columns = min(N, max(SAMPLED, math.ceil(RANK * N / max(1, neighbors))))
    return columns, neighbors if columns == N else max(1, round(neighbors * columns / N))


def fixed(radius: float) -> Radius:
    """r² is the square of a number."""
    return lambda *_: radius**2


def to_neighbors(factor: float) -> Radius:
    """r² is ``factor`` times the median squared distance of a row to its (N / (labeled + k))-th neighbor."""
    return functools.partial(_squared_distance, factor=factor)


def between_labeled(
    sphere: Sphere,
    labeled_rows: Int[Tensor, " m"],
    unlabeled_rows: Int[Tensor, " n"],
    k: int,
    generator: torch.Generator,
) -> float:
    """r² is the smallest positive squared distance between labeled rows; 1 if no two of them differ."""
    least = math.inf
    rows = labeled_rows.sort().values
    for first in range(0, len(rows), BLOCK):
        some_D = sphere.at(rows[first : first + BLOCK])
        for _, others_D in sphere.blocks(rows[first:]):
            squared = squared_distances(some_D, others_D)
            least = min(least, float(squared.masked_fill_(squared == 0, math.inf).min()))
    return least if least < math.inf else 1.0


def bytes_between_labeled(labeled: int, D: int) -> int:
    """What ``between_labeled`` takes: some rows, blocks of the others, and the distances of both."""
    block = min(labeled, rows_at_once(COPIES * D))
    return COPIES * D * block + 8 * min(labeled, BLOCK) * (D + 5 * block)


def _squared_distance(
    sphere: Sphere,
    labeled_rows: Int[Tensor, " m"],
    unlabeled_rows: Int[Tensor, " n"],
    k: int,
    generator: torch.Generator,
    factor: float = 1.0,
) -> float:
    """The median, over some rows, of the squared distance to the (N / (labeled + k))-th neighbor, times a factor."""
    N = len(sphere)
    columns, rank = _columns(N, len(labeled_rows) + k)
    asked = unlabeled_rows[torch.randperm(len(unlabeled_rows), generator=generator)[:ASKED]]
    if columns == N:
        looked_at, rank = torch.arange(N), rank + 1  # the row itself is one of them
    else:
        looked_at = torch.randperm(N, generator=generator)[: columns + len(asked)]
        looked_at = looked_at[~torch.isin(looked_at, asked)][:columns].sort().values
    # In double precision: in single precision small distances would depend on the order of the features.
    asked_D = [sphere.at(some) for some in asked.split(BLOCK)]
    nearest = [some_D.new_empty(len(some_D), 0) for some_D in asked_D]
    for block in looked_at.split(max(MERGED, rank)):
        cosines = [some_D.new_empty(len(some_D), len(block)) for some_D in asked_D]
        for place, features_n_D in sphere.blocks(block):
            for some_D, cosine in zip(asked_D, cosines, strict=True):
                cosine[:, place] = some_D @ features_n_D.T
        for index, cosine in enumerate(cosines):
            among = torch.cat([nearest[index], cosine], dim=1)
            nearest[index] = among.topk(min(rank, among.shape[1])).values
    return factor * float((2 - 2 * torch.cat(nearest)[:, -1]).median().clamp_min(0))


class _Points(NamedTuple):
    """Points on the sphere, in both precisions."""

    single_n_D: Float[Tensor, "n D"]
    double_n_D: Float64[Tensor, "n D"]

    @classmethod
    def of(cls, double_n_D: Float64[Tensor, "n D"]) -> "_Points":
        return cls(double_n_D.float(), double_n_D)
