"""The search of ``FacilityLocation``: which rows cover most of the weight of a pool."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from tonsure.optimizers.optimizer import gumbel_noise, power_key
from tonsure.predictions.reader import PoolReader
from tonsure.search.backend import Backend, LocalBackend
from tonsure.search.plan import FIXED, KEEP, as_text
from tonsure.search.ranking import TIE
from tonsure.shapes import Rows
from tonsure.strategies.distances import normalized

RADIUS = 1.0

CANDIDATES = 32_768
"""Rows of a larger pool among which is chosen, drawn in proportion to the score."""

PER_PICK = 8
"""Candidates per row to choose, where that is more."""

FEW, MANY = 8, 64
"""Rows whose gains are computed at once: first few, then twice as many up to many."""

BLOCK = 64
"""Rows that are compared with all others at once: what the caches of a processor hold."""

READ = 16_384
"""Rows whose features are read at a time, where all of them are needed."""

TILE = 512
"""Rows and columns of a matrix that are computed at once, for the same reason as ``BLOCK``."""

ASKED = 256
"""Rows whose distance to their neighbors is measured."""

SAMPLED = 32_768
"""Rows of a larger pool among which neighbors are looked for; more if fewer than ``RANK`` of them would be nearer."""

RANK = 16

SUM = 1e-5
"""What single precision may do to a sum, relative to it."""

EPSILON = 6e-8
"""What single precision does to a number, relative to it."""

NOTHING = 1e-12
"""Gains below this share of the similarities that they are made of are what rounding leaves of zero."""

LEAST = 1e-5
"""The smallest r²: squared distances on the sphere in single precision are not more accurate."""


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

    def text(self, rows: int, memory: int | None) -> str:
        """The plan, for people."""
        kept = self.kept(memory)
        budget = "no budget was given" if memory is None else f"of {as_text(memory)}"
        return (
            f"plan for {rows:,} rows: {as_text(self.least + kept * self.row)} beyond the inputs ({budget}): "
            f"{self.candidates:,} candidates, {self.targets:,} rows to cover, the similarities of {kept:,} candidates "
            f"in memory, {as_text(kept * self.row)}"
        )


def plan_coverage(N: int, unlabeled: int, choosable: int, k: int, D: int, *, most: int, labeled: int) -> CoveragePlan:
    """The plan of a search.

    Args:
        N: rows of the pool, of which so many are unlabeled, and so many may be chosen.
        D: features of a row.
        most: see ``FacilityLocation``.
    """
    looked_at = max(most, PER_PICK * k)
    targets, candidates = min(unlabeled, looked_at), min(choosable, looked_at)
    drawn = 0 if targets == unlabeled else 3 * 8 * N
    features = 12 * D * (targets + (0 if candidates == targets else candidates))
    columns, rank = _columns(N, labeled + k)
    reading = READ * D * 24 + ASKED * 4 * (D + 2 * (rank + 1) + 2 * min(columns, READ))
    working = targets * ((4 + 8) * 2 * MANY + 64) + 64 * candidates
    return CoveragePlan(targets, candidates, FIXED + 24 * N + drawn + features + max(reading, working), 4 * targets)


def cover(
    features: PoolReader,
    score_n: Float[Tensor, " n"],
    labeled_rows: Int[Tensor, " m"],
    unlabeled_rows: Int[Tensor, " n"],
    choosable_n: Bool[Tensor, " n"],
    k: int,
    generator: torch.Generator,
    planned: CoveragePlan,
    *,
    radius: float = RADIUS,
    memory: int | None = None,
    backend: Backend | None = None,
) -> Iterator[tuple[int, float]]:
    """k of the rows that may be chosen, each with its gain, as ``FacilityLocation`` defines it.

    Args:
        features: [N, D], read block by block; those of the rows that are looked at are held.
        score_n: of the unlabeled rows, which are ascending.
        choosable_n: which of them may be chosen.
        planned: what ``plan_coverage`` gives.
        memory: bytes beyond the inputs, at least ``planned.least``.
    """
    sphere = _Sphere(features, _mean(features, backend))
    score_n = score_n.float().cpu()
    target_places, candidate_places = _looked_at(score_n, choosable_n, planned, generator)
    weight_T = score_n[target_places]
    if len(target_places) < len(score_n):  # they were drawn in proportion to it: each stands for as much of the pool
        weight_T = torch.full_like(weight_T, float(score_n.double().sum()) / len(weight_T))
    targets = _Points.of(sphere.at(unlabeled_rows[target_places]))
    same = torch.equal(candidate_places, target_places)
    candidates = targets if same else _Points.of(sphere.at(unlabeled_rows[candidate_places]))
    squared_radius = radius * _squared_distance(sphere, labeled_rows, unlabeled_rows, k, generator)
    weight_T = weight_T.to(targets.double_n_D.device)
    similarities = _Similarities(candidates.single_n_D, targets.single_n_D, squared_radius, planned.kept(memory))
    exact = _Exact(sphere, labeled_rows, candidates.double_n_D, targets.double_n_D, squared_radius, weight_T)
    covered_T = torch.zeros(len(target_places), device=weight_T.device)
    for some in labeled_rows.sort().values.split(BLOCK) if len(labeled_rows) else ():
        similarity_m_T = _similarity(sphere.at(some).float(), targets.single_n_D, squared_radius)
        covered_T = torch.cat([covered_T[None], similarity_m_T]).amax(0)
    rows = unlabeled_rows[candidate_places]
    left_n = torch.ones(len(rows), dtype=torch.bool)
    for chosen, (place, gain) in enumerate(_lazy_greedy(similarities, exact, covered_T, weight_T.float()), 1):
        yield int(rows[place]), gain
        left_n[place] = False
        if chosen == k:
            return
    # Where nothing is left to cover, the rest is drawn uniformly.
    left = rows[left_n]
    for place in torch.randperm(len(left), generator=generator)[: k - int((~left_n).sum())].tolist():
        yield int(left[place]), 0.0


def _similarity(
    features_m_D: Float[Tensor, "m D"], features_n_D: Float[Tensor, "n D"], squared_radius: float
) -> Float[Tensor, "m n"]:
    """exp(−‖h − h'‖² / r²) of each of the one with each of the others."""
    return (features_m_D @ features_n_D.T).sub_(1).clamp_max_(0).mul_(2 / squared_radius).exp_()


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


def _squared_distance(
    sphere: "_Sphere",
    labeled_rows: Int[Tensor, " m"],
    unlabeled_rows: Int[Tensor, " n"],
    k: int,
    generator: torch.Generator,
) -> float:
    """The median, over some rows, of the squared distance to the (N / (labeled + k))-th neighbor."""
    N = len(sphere.features)
    columns, rank = _columns(N, len(labeled_rows) + k)
    asked = unlabeled_rows[torch.randperm(len(unlabeled_rows), generator=generator)[:ASKED]]
    if columns == N:
        looked_at, rank = torch.arange(N), rank + 1  # the row itself is one of them
    else:
        looked_at = torch.randperm(N, generator=generator)[: columns + len(asked)]
        looked_at = looked_at[~torch.isin(looked_at, asked)][:columns].sort().values
    asked_D = [sphere.at(some).float() for some in asked.split(BLOCK)]
    nearest = [some_D.new_empty(len(some_D), 0) for some_D in asked_D]
    for block in looked_at.split(READ):
        features_n_D = sphere.at(block).float()
        for place, some_D in enumerate(asked_D):
            cosine = torch.cat([nearest[place], some_D @ features_n_D.T], dim=1)
            nearest[place] = cosine.topk(min(rank, cosine.shape[1])).values
    return max(float((2 - 2 * torch.cat(nearest)[:, -1]).median()), LEAST)


def _mean(features: PoolReader, backend: Backend | None) -> Float64[Tensor, " D"]:
    # Features in memory are not sent to other machines for a sum.
    run = LocalBackend() if backend is None or features.path is None else backend
    sums_D = torch.cat(run.map(features, _sums))
    return (sums_D.sum(0) / len(features)).to(features.works_on)


def _sums(features: PoolReader) -> Float64[Tensor, "b D"]:
    blocks = torch.arange(len(features)).split(READ)
    return torch.stack([features.stored(block).double().sum(0) for block in blocks])


@dataclass(frozen=True, eq=False)
class _Sphere:
    """Features in double precision, centered and divided by their lengths, of some rows at a time, ascending."""

    features: PoolReader
    mean_D: Float64[Tensor, " D"]

    def at(self, rows: Rows) -> Float64[Tensor, "n D"]:
        blocks = rows.sort().values.split(READ)
        return torch.cat([normalized(self.features.stored(block).double() - self.mean_D) for block in blocks])


class _Points(NamedTuple):
    """Points on the sphere, in both precisions."""

    single_n_D: Float[Tensor, "n D"]
    double_n_D: Float64[Tensor, "n D"]

    @classmethod
    def of(cls, double_n_D: Float64[Tensor, "n D"]) -> "_Points":
        return cls(double_n_D.float(), double_n_D)


class _Similarities:
    """The similarities of candidates to targets: all of them in memory, or those that were used last.

    Args:
        keep: how many candidates may keep theirs in memory.
    """

    def __init__(
        self, candidates_n_D: Float[Tensor, "n D"], targets_T_D: Float[Tensor, "T D"], squared_radius: float, keep: int
    ) -> None:
        self._candidates_n_D, self._targets_T_D = candidates_n_D, targets_T_D
        self._squared_radius = squared_radius
        self._symmetric = candidates_n_D is targets_T_D
        self.all = keep >= len(candidates_n_D)
        # To keep fewer than are asked for at once is not worth it.
        self._kept = targets_T_D.new_empty(keep if self.all or keep > MANY else 0, len(targets_T_D))
        self._slot_n = torch.full((len(candidates_n_D),), -1)
        self._free = 0
        # Memory that is new to the process is slower than memory that is used again.
        self._work = targets_T_D.new_empty(MANY, len(targets_T_D))

    def __len__(self) -> int:
        return len(self._candidates_n_D)

    def first(
        self, covered_T: Float[Tensor, " T"], weight_T: Float[Tensor, " T"]
    ) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
        """Every gain, and the sum of its similarities times their weights, of which its error is a part."""
        gain_n, mass_n = torch.zeros(2, len(self), dtype=torch.float64, device=weight_T.device)
        for some, others in self._tiles():
            tile = _similarity(self._candidates_n_D[some], self._targets_T_D[others], self._squared_radius)
            mass_n[some] += tile @ weight_T[others]
            gain_n[some] += (tile - covered_T[others]).clamp_min_(0) @ weight_T[others]
            if self.all:
                self._kept[some, others] = tile
            if self._symmetric and some != others:  # the tile on the other side of the diagonal
                mass_n[others] += weight_T[some] @ tile
                gain_n[others] += weight_T[some] @ (tile - covered_T[some, None]).clamp_min_(0)
                if self.all:
                    # Not in huge pages, as NumPy asks for them: faster in a loop of selections, on a virtual machine
                    # they were slower where a model is trained between two of them.
                    self._kept[others, some] = tile.T.contiguous()
        return gain_n.cpu(), mass_n.cpu()

    def _tiles(self) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of the matrix, in pieces that stay in the caches; half of them where it is symmetric."""
        candidates, targets = (
            [slice(first, first + TILE) for first in range(0, count, TILE)]
            for count in (len(self), len(self._targets_T_D))
        )
        return combinations_with_replacement(targets, 2) if self._symmetric else product(candidates, targets)

    def error(self) -> float:
        """What single precision does to a similarity, relative to it: cosines of D products, times 2 / r²."""
        D = self._targets_T_D.shape[1]
        return EPSILON * (4 + 2 * (4 + 2 * D**0.5) / self._squared_radius)

    def of(self, places: Tensor) -> Float[Tensor, "b T"]:
        """The similarities of some candidates, at most ``MANY``; they may be changed, and hold until the next call."""
        if not len(self._kept):
            return self._computed(places)
        if self.all:
            slots = places
        else:
            new = places[self._slot_n[places] < 0]
            if self._free + len(new) > len(self._kept):  # then all are forgotten
                self._slot_n.fill_(-1)
                self._free, new = 0, places
            at = slice(self._free, self._free + len(new))
            self._kept[at] = self._computed(new)
            self._slot_n[new] = torch.arange(at.start, at.stop)
            self._free = at.stop
            slots = self._slot_n[places]
        return torch.index_select(self._kept, 0, slots.to(self._kept.device), out=self._work[: len(places)])

    def _computed(self, places: Tensor | slice) -> Float[Tensor, "b T"]:
        return _similarity(self._candidates_n_D[places], self._targets_T_D, self._squared_radius)


class _Exact:
    """Gains in double precision, for the few candidates that single precision cannot tell from the best.

    What is covered by labeled and chosen rows is brought up to date when a gain is asked for.
    """

    def __init__(
        self,
        sphere: _Sphere,
        labeled_rows: Int[Tensor, " m"],
        candidates_n_D: Float64[Tensor, "n D"],
        targets_T_D: Float64[Tensor, "T D"],
        squared_radius: float,
        weight_T: Float[Tensor, " T"],
    ) -> None:
        self._sphere, self._labeled_rows = sphere, labeled_rows.sort().values
        self._candidates_n_D, self._targets_T_D, self._squared_radius = candidates_n_D, targets_T_D, squared_radius
        self._weight_T = weight_T.double()
        self._covered_T: Tensor | None = None
        self._chosen: list[int] = []

    def choose(self, place: int) -> None:
        self._chosen.append(place)

    def gains(self, places: Tensor) -> Float64[Tensor, " b"]:
        """Of a few candidates, on the CPU."""
        if self._covered_T is None:
            self._covered_T = torch.zeros_like(self._weight_T)
            for some in self._labeled_rows.split(FEW) if len(self._labeled_rows) else ():
                self._cover(self._sphere.at(some))
        for chosen in torch.tensor(self._chosen, dtype=torch.int64).split(FEW) if self._chosen else ():
            self._cover(self._candidates_n_D[chosen])
        self._chosen.clear()
        similarity_b_T = _similarity(self._candidates_n_D[places], self._targets_T_D, self._squared_radius)
        return (similarity_b_T.sub_(self._covered_T).clamp_min_(0) @ self._weight_T).cpu()

    def _cover(self, features_m_D: Float64[Tensor, "m D"]) -> None:
        assert self._covered_T is not None
        similarity_m_T = _similarity(features_m_D, self._targets_T_D, self._squared_radius)
        torch.maximum(self._covered_T, similarity_m_T.amax(0), out=self._covered_T)


def _lazy_greedy(
    similarities: _Similarities, exact: _Exact, covered_T: Float[Tensor, " T"], weight_T: Float[Tensor, " T"]
) -> Iterator[tuple[int, float]]:
    """The candidates that cover most of what is left, each with its gain, until nothing adds any.

    Gains in double precision decide; those that differ by less than ``TIE``, relative to the largest, are a tie, which
    the lowest candidate wins. Gains in single precision, with what they may be wrong by, leave few to decide among: so
    the rows do not depend on how similarities were computed and kept.
    """
    gain_n, mass_n = similarities.first(covered_T, weight_T)
    part = 2 * similarities.error()
    high_n, low_n = gain_n * (1 + SUM) + part * mass_n, torch.full_like(gain_n, -torch.inf)
    open_n = torch.ones(len(gain_n), dtype=torch.bool)
    while open_n.any():
        decided_n = torch.zeros_like(open_n)
        low_n.fill_(-torch.inf)
        count = MANY if similarities.all else FEW
        while True:  # until the largest bound is that of a gain of now
            first = high_n.topk(min(count, len(high_n))).indices
            if low_n[first[0]] > -torch.inf:
                break
            stale = first[(low_n[first] == -torch.inf) & open_n[first]]
            gain_b = (similarities.of(stale).sub_(covered_T).clamp_min_(0) @ weight_T).double().cpu()
            error_b = SUM * gain_b + part * mass_n[stale]
            gain_n[stale] = gain_b
            low_n[stale], high_n[stale] = gain_b - error_b, torch.minimum(high_n[stale], gain_b + error_b)
            count = min(2 * count, MANY)
        count = FEW
        while True:  # until the lowest of those that tie with the largest is known
            near = (high_n >= low_n.max() * (1 - TIE)).nonzero()[:, 0]
            unsure = near[~decided_n[near]]
            tied = near[decided_n[near] & (gain_n[near] >= high_n[near].max() * (1 - TIE))]
            if len(near) == 1 or (len(tied) and (len(unsure) == 0 or tied[0] < unsure[0])):
                break
            some = unsure[:count]
            gain_n[some] = low_n[some] = high_n[some] = exact.gains(some)
            decided_n[some] = True
            count = min(2 * count, MANY)
        place = int(near[0] if len(near) == 1 else tied[0])
        if gain_n[place] <= NOTHING * mass_n[place]:
            return
        yield place, float(gain_n[place])
        exact.choose(place)
        covered_T = covered_T.maximum(similarities.of(torch.tensor([place]))[0])
        open_n[place], high_n[place] = False, -torch.inf
