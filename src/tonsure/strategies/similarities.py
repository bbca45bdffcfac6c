"""Lazy greedy search for coverage: the similarities of candidates to targets, and the gains that they add up to."""

from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement, product

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from tonsure.search.ranking import TIE

FEW, MANY = 8, 64
"""Rows whose gains are computed at once: first few, then twice as many up to many."""

TILE = 512
"""Rows and columns of a matrix that are computed at once: what the caches of a processor hold."""

SUM = 1e-5
"""What single precision may do to a sum, relative to it."""

EPSILON, DOUBLE = 6e-8, 1.2e-16
"""What single and double precision do to a number, relative to it."""

ENTRY_BYTES = 12
"""Of a similarity in a sparse matrix while it is made: the number, its column, its row within a block; then eight."""

SPARSE = 0.04
"""The share of similarities up to which a sparse matrix is quicker than whole rows that are kept."""

EXPECTED = 0.8
"""The share of the room for a sparse matrix that it may be expected to fill, as a sample says."""

PATIENCE = 0.125
"""So many rows for each candidate are computed again before it is asked whether a sparse matrix would do."""

CHEAPER = 32
"""Gains of so many rows that are kept take about the time in which one is computed."""

NOTHING = 1e-12
"""Gains below this share of the similarities that they are made of are what rounding leaves of zero; more where r² is
small, as among copies: then rounding of a cosine is multiplied by 2 / r²."""


def similarity(
    features_m_D: Float[Tensor, "m D"], features_n_D: Float[Tensor, "n D"], squared_radius: float
) -> Float[Tensor, "m n"]:
    """exp(−‖h − h'‖² / r²) of each of the one with each of the others."""
    return (features_m_D @ features_n_D.T).sub_(1).clamp_max_(0).mul_(2 / squared_radius).exp_()


class Similarities:
    """The similarities of candidates to targets, and what of them is kept.

    A similarity below what is covered already never adds to a gain. If few are above it, as where some rows are
    labeled, they alone are kept, as a sparse matrix. Otherwise whole rows are: all of them, or those used last.

    Args:
        keep: how many candidates may keep all their similarities in memory; a sparse matrix takes no more bytes.
    """

    def __init__(
        self, candidates_n_D: Float[Tensor, "n D"], targets_T_D: Float[Tensor, "T D"], squared_radius: float, keep: int
    ) -> None:
        self._candidates_n_D, self._targets_T_D = candidates_n_D, targets_T_D
        self._squared_radius = squared_radius
        self._symmetric = candidates_n_D is targets_T_D
        self._keep = keep
        self._above: SparseRows | None = None
        self._rows: KeptRows | None = None
        self._patience = PATIENCE * len(candidates_n_D)

    def __len__(self) -> int:
        return len(self._candidates_n_D)

    @property
    def error(self) -> float:
        """What single precision does to a similarity, relative to it: cosines of D products, times 2 / r²."""
        D = self._targets_T_D.shape[1]
        return EPSILON * (4 + 2 * (4 + 2 * D**0.5) / self._squared_radius)

    @property
    def cheap(self) -> bool:
        """Whether no row has to be computed again."""
        return self._rows is None or self._rows.all

    @property
    def slack(self) -> float:
        """How far a similarity may seem to be below what is covered, and be above it."""
        return 2 * self.error

    def first(
        self, covered_T: Float[Tensor, " T"], weight_T: Float[Tensor, " T"]
    ) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
        """Every gain, and the sum of its similarities times their weights, of which its error is a part.

        What is kept is decided here: later calls may cover more, but never less.
        """
        n = len(self)
        above = self._room_above(covered_T)
        whole = KeptRows(self._targets_T_D, n, self._keep) if above is None else None
        gain_n, mass_n = torch.zeros(2, n, dtype=torch.float64, device=weight_T.device)
        for rows, columns, tile in self._tiles():
            left = tile - covered_T[columns]
            if above is not None:
                above.add(tile, left > -self.slack, rows.start, columns.start)
            elif whole is not None and whole.all:
                whole.kept_b_T[rows, columns] = tile
            mass_n[rows] += tile @ weight_T[columns]
            gain_n[rows] += left.clamp_min_(0) @ weight_T[columns]
        self._rows = whole
        if above is not None:
            self._settle(above)
        return gain_n.cpu(), mass_n.cpu()

    def gains(
        self, places: Tensor, covered_T: Float[Tensor, " T"], weight_T: Float[Tensor, " T"]
    ) -> tuple[Float64[Tensor, " b"], Float64[Tensor, " b"]]:
        """The gains of at most ``MANY`` candidates, and the sums of the similarities that may add to them."""
        if self._rows is not None and self._rows.spent >= self._patience:
            self._look_again(covered_T)
        if self._above is not None:
            return self._above.gains(places, covered_T, weight_T, self.slack)
        assert self._rows is not None
        similarity_b_T = self._rows.of(places, self._computed)
        left_b_T = torch.sub(similarity_b_T, covered_T, out=self._rows.work_b_T[: len(places)])
        mass_b = similarity_b_T.mul_(left_b_T > -self.slack) @ weight_T
        return (left_b_T.clamp_min_(0) @ weight_T).double().cpu(), mass_b.double().cpu()

    def _look_again(self, covered_T: Float[Tensor, " T"]) -> None:
        """Rows that take long give way to a sparse matrix, once so much is covered that it fits."""
        self._patience += PATIENCE * len(self)
        above = self._room_above(covered_T)
        if above is not None:
            self._rows = None  # which makes the room
            for rows, columns, tile in self._tiles():
                above.add(tile, tile > covered_T[columns] - self.slack, rows.start, columns.start)
            self._settle(above)

    def _room_above(self, covered_T: Float[Tensor, " T"]) -> "SparseRows | None":
        """A sparse matrix, empty; None if, as a few candidates say, it would be too small or slower than whole rows."""
        n, T = len(self), len(self._targets_T_D)
        most = self._keep * T * 4 // ENTRY_BYTES
        share = self._share_above(covered_T)
        fits = share * n * T <= EXPECTED * most and (share <= SPARSE or self._keep < n)
        return SparseRows(n, most, covered_T.device) if fits else None

    def _settle(self, above: "SparseRows") -> None:
        """Uses the matrix, unless there was more than the few candidates said."""
        if above.finish():
            self._above = above
        else:
            self._rows = KeptRows(self._targets_T_D, len(self), min(self._keep, len(self) - 1))

    def cover(self, place: int, covered_T: Float[Tensor, " T"]) -> None:
        """Adds what a candidate covers, in place."""
        if self._above is not None:
            columns_e, similarity_e = self._above.of(place)
            covered_T[columns_e] = covered_T[columns_e].maximum(similarity_e)
        else:
            assert self._rows is not None
            of_place = self._rows.of(torch.tensor([place]), self._computed)[0]
            torch.maximum(covered_T, of_place, out=covered_T)

    def _share_above(self, covered_T: Float[Tensor, " T"]) -> float:
        """The share of similarities that are above what is covered, of a few candidates."""
        count = min(MANY, len(self))
        places = torch.arange(count) * len(self) // count
        return float((self._computed(places) > covered_T - self.slack).float().mean())

    def _tiles(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Rows and columns of the matrix, in pieces that stay in the caches; half of them where it is symmetric."""
        candidates, targets = (
            [slice(first, first + TILE) for first in range(0, count, TILE)]
            for count in (len(self), len(self._targets_T_D))
        )
        pairs = combinations_with_replacement(targets, 2) if self._symmetric else product(candidates, targets)
        for some, others in pairs:
            tile = similarity(self._candidates_n_D[some], self._targets_T_D[others], self._squared_radius)
            yield some, others, tile
            if self._symmetric and some != others:  # the tile on the other side of the diagonal
                # Not in huge pages, as NumPy asks for them: faster in a loop of selections, on a virtual machine
                # they were slower where a model is trained between two of them.
                yield others, some, tile.T.contiguous()

    def _computed(self, places: Tensor | slice) -> Float[Tensor, "b T"]:
        return similarity(self._candidates_n_D[places], self._targets_T_D, self._squared_radius)


class KeptRows:
    """Rows of similarities in memory: all of them, or those that were used last.

    Args:
        keep: how many candidates may keep theirs.

    Attributes:
        spent: how many rows had to be computed, or the same time for rows that were kept.
    """

    def __init__(self, targets_T_D: Float[Tensor, "T D"], candidates: int, keep: int) -> None:
        T = len(targets_T_D)
        self.all = keep >= candidates
        # To keep fewer than are asked for at once is not worth it.
        self.kept_b_T = targets_T_D.new_empty(min(keep, candidates) if self.all or keep > MANY else 0, T)
        self._slot_n = torch.full((candidates,), -1)
        self._free = 0
        self.spent = 0.0
        # Memory that is new to the process is slower than memory that is used again.
        self._found_b_T, self.work_b_T = targets_T_D.new_empty(2, MANY, T)

    def of(self, places: Tensor, computed: Callable[[Tensor], Tensor]) -> Float[Tensor, "b T"]:
        """The rows of at most ``MANY`` candidates; they may be changed, and hold until the next call."""
        if not len(self.kept_b_T):
            self.spent += len(places)
            return computed(places)
        if self.all:
            self.spent += len(places) / CHEAPER
            slots = places
        else:
            new = places[self._slot_n[places] < 0]
            if self._free + len(new) > len(self.kept_b_T):  # then all are forgotten
                self._slot_n.fill_(-1)
                self._free, new = 0, places
            at = slice(self._free, self._free + len(new))
            self.kept_b_T[at] = computed(new)
            self.spent += len(new)
            self._slot_n[new] = torch.arange(at.start, at.stop)
            self._free = at.stop
            slots = self._slot_n[places]
        return torch.index_select(self.kept_b_T, 0, slots.to(self.kept_b_T.device), out=self._found_b_T[: len(places)])


class SparseRows:
    """The similarities of each candidate that can still count, as a sparse matrix in compressed rows.

    Args:
        most: how many there may be.
    """

    def __init__(self, candidates: int, most: int, device: torch.device) -> None:
        self._most, self._count = most, 0
        # For every block of rows: rows within it, columns, similarities.
        self._pieces: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in range(0, candidates, TILE)]
        self._ends_n = torch.zeros(candidates, dtype=torch.int64, device=device)
        self._columns_e = torch.empty(0, dtype=torch.int32, device=device)
        self._similarity_e = torch.empty(0, dtype=torch.float32, device=device)

    def add(self, tile_b_T: Float[Tensor, "b T"], counts_b_T: Bool[Tensor, "b T"], row: int, column: int) -> None:
        """The entries of a tile that count, whose first row and column are these."""
        if self._count > self._most:
            return
        rows_e, columns_e = counts_b_T.nonzero(as_tuple=True)
        self._count += len(rows_e)
        piece = (rows_e.to(torch.int16), columns_e.add_(column).to(torch.int32), tile_b_T[counts_b_T])
        self._pieces[row // TILE].append(piece)

    def finish(self) -> bool:
        """Brings the entries into the order of their rows; False if there are too many."""
        if self._count > self._most:
            self._pieces.clear()
            return False
        start, lengths = 0, []
        self._columns_e = self._columns_e.new_empty(self._count)
        self._similarity_e = self._similarity_e.new_empty(self._count)
        for block, pieces in enumerate(self._pieces):
            rows_e, columns_e, similarity_e = map(torch.cat, zip(*pieces, strict=True))
            pieces.clear()
            order = rows_e.argsort(stable=True)
            at = slice(start, start + len(order))
            self._columns_e[at], self._similarity_e[at] = columns_e[order], similarity_e[order]
            lengths.append(rows_e.int().bincount(minlength=min(TILE, len(self._ends_n) - block * TILE)))
            start = at.stop
        self._ends_n = torch.cat(lengths).cumsum(0)
        return True

    def of(self, place: int) -> tuple[Tensor, Tensor]:
        """The columns and similarities of a candidate."""
        at = slice(int(self._ends_n[place - 1]) if place else 0, int(self._ends_n[place]))
        return self._columns_e[at], self._similarity_e[at]

    def gains(
        self, places: Tensor, covered_T: Float[Tensor, " T"], weight_T: Float[Tensor, " T"], slack: float
    ) -> tuple[Float64[Tensor, " b"], Float64[Tensor, " b"]]:
        """As ``Similarities.gains``."""
        places = places.to(self._ends_n.device)
        ends_b = self._ends_n[places]
        lengths_b = ends_b - torch.where(places > 0, self._ends_n[places - 1], 0)
        last_b = lengths_b.cumsum(0)
        entries_e = torch.arange(int(last_b[-1]), device=places.device) + (ends_b - last_b).repeat_interleave(lengths_b)
        columns_e, similarity_e = self._columns_e[entries_e], self._similarity_e[entries_e]
        left_e, weight_e = similarity_e - covered_T[columns_e], weight_T[columns_e]
        mass_e = similarity_e.mul_(weight_e).mul_(left_e > -slack)
        # In double precision, because entries are added up one after the other.
        gain_b, mass_b = (
            torch.segment_reduce(each_e.double(), "sum", lengths=lengths_b, initial=0).cpu()
            for each_e in (left_e.clamp_min_(0).mul_(weight_e), mass_e)
        )
        return gain_b, mass_b


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
    covered_T, part = covered_T.clone(), 2 * similarities.error
    nothing = max(NOTHING, part * DOUBLE / EPSILON)
    high_n, low_n = gain_n * (1 + SUM) + part * mass_n, torch.full_like(gain_n, -torch.inf)
    open_n = torch.ones(len(gain_n), dtype=torch.bool)
    while open_n.any():
        decided_n = torch.zeros_like(open_n)
        low_n.fill_(-torch.inf)
        count = MANY if similarities.cheap else FEW
        while True:  # until the largest bound is that of a gain of now
            first = high_n.topk(min(count, len(high_n))).indices
            if low_n[first[0]] > -torch.inf:
                break
            stale = first[(low_n[first] == -torch.inf) & open_n[first]]
            gain_b, mass_b = similarities.gains(stale, covered_T, weight_T)
            error_b = SUM * gain_b + part * mass_b
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
        if gain_n[place] <= nothing * mass_n[place]:
            return
        yield place, float(gain_n[place])
        exact.choose(place)
        similarities.cover(place, covered_T)
        open_n[place], high_n[place] = False, -torch.inf
