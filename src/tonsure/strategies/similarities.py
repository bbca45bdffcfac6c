"""Lazy greedy search for coverage: the similarities of candidates to targets, and the gains that they add up to."""

from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement, product

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from tonsure.search.ranking import TIE

FEW, MANY = 8, 64
"""Rows whose gains are computed at once: first few, then twice as many up to many."""

TILE = 512
"""Rows and columns of a matrix that are computed at once: what the caches of a processor hold."""

SUM = 1e-5
"""What single precision may do to a sum, relative to it."""

EPSILON = 6e-8
"""What single precision does to a number, relative to it."""

NOTHING = 1e-12
"""Gains below this share of the similarities that they are made of are what rounding leaves of zero."""


def similarity(
    features_m_D: Float[Tensor, "m D"], features_n_D: Float[Tensor, "n D"], squared_radius: float
) -> Float[Tensor, "m n"]:
    """exp(−‖h − h'‖² / r²) of each of the one with each of the others."""
    return (features_m_D @ features_n_D.T).sub_(1).clamp_max_(0).mul_(2 / squared_radius).exp_()


class Similarities:
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
            tile = similarity(self._candidates_n_D[some], self._targets_T_D[others], self._squared_radius)
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
        return similarity(self._candidates_n_D[places], self._targets_T_D, self._squared_radius)


class ExactGains:
    """Gains in double precision, for the few candidates that single precision cannot tell from the best.

    What is covered by labeled and chosen rows is brought up to date when a gain is asked for.

    Args:
        labeled: the features of some of the labeled rows, by their row numbers; read when they are first needed.
    """

    def __init__(
        self,
        labeled: Callable[[Tensor], Tensor],
        labeled_rows: Int[Tensor, " m"],
        candidates_n_D: Float64[Tensor, "n D"],
        targets_T_D: Float64[Tensor, "T D"],
        squared_radius: float,
        weight_T: Float[Tensor, " T"],
    ) -> None:
        self._labeled, self._labeled_rows = labeled, labeled_rows.sort().values
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
                self._cover(self._labeled(some))
        for chosen in torch.tensor(self._chosen, dtype=torch.int64).split(FEW) if self._chosen else ():
            self._cover(self._candidates_n_D[chosen])
        self._chosen.clear()
        similarity_b_T = similarity(self._candidates_n_D[places], self._targets_T_D, self._squared_radius)
        return (similarity_b_T.sub_(self._covered_T).clamp_min_(0) @ self._weight_T).cpu()

    def _cover(self, features_m_D: Float64[Tensor, "m D"]) -> None:
        assert self._covered_T is not None
        similarity_m_T = similarity(features_m_D, self._targets_T_D, self._squared_radius)
        torch.maximum(self._covered_T, similarity_m_T.amax(0), out=self._covered_T)


def lazy_greedy(
    similarities: Similarities, exact: ExactGains, covered_T: Float[Tensor, " T"], weight_T: Float[Tensor, " T"]
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
