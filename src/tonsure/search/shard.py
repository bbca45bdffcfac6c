"""Shard: a contiguous part of the pool in a search, with keys, upper bounds on them, and a mask of the chosen rows."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from tonsure.errors import InputError
from tonsure.objectives.base import Objective, Structure
from tonsure.predictions.reader import PoolReader, as_log_probs
from tonsure.scores import naming_rows
from tonsure.search.bounds import Bounds
from tonsure.search.ranking import Key, by_gain, lowest_tie
from tonsure.shapes import Rows

ACTIVE = 2**14
"""The approximate number of active rows: those with the largest bounds, which a step examines before all others."""

ALONE = 2**21
"""The number of elements in all prepared items up to which float64 alone is faster than bounds in float32 first."""

FIRST = 64
"""The number of rows updated at once at the beginning of a step; it doubles until the step is decided."""


@dataclass(frozen=True)
class Bid:
    """Lower and upper bound on the largest key of a shard.

    Attributes:
        known: the largest key that is up to date, or ``at_least`` of the request if none is larger.
        bound: an upper bound on all keys of the shard.
    """

    known: float
    bound: float


class Shard:
    """A contiguous part of the pool, with an upper bound on the key of each row.

    If gains never increase, an earlier gain is an upper bound (lazy greedy search, Minoux 1978). Only rows whose bound
    may be the largest are updated, with all items chosen since their last update. The update has two stages. First in
    single precision, on coarse items if the objective defines them, with a few chosen items at a time, until the bound
    shows that the row cannot win. The remaining rows are computed in double precision, and only such keys win.

    Rows are numbered within the shard. Shards exchange only bids and chosen items, so they may run on different
    machines.

    Args:
        reader: reads the predictions of the shard.
        objective: the objective that is searched.
        block: the number of rows read at a time.
        keep: the number of precisions at which prepared items are kept in memory: 0, 1 (single) or 2.
    """

    def __init__(self, reader: PoolReader, objective: Objective[Any, Any], *, block: int, keep: int = 0) -> None:
        self._reader, self._objective, self._block = reader, objective, block
        modular = objective.structure in (Structure.MODULAR, Structure.CONSTANT)
        general = objective.structure is Structure.GENERAL
        low = torch.float64 if reader.dtype == torch.float64 else torch.float32
        self._exact = Bounds(reader, objective, torch.float64, block)
        self._quick = self._exact
        small = keep > 1 and len(reader) * self._exact.shape.numel() <= ALONE
        if not small and not (general and low == torch.float64):
            self._quick = Bounds(reader, objective, low, block, coarse=not modular and not general)
        if keep > 0:
            self._quick.keep()
        if keep > 1:
            self._exact.keep()
        # If items are vectors, the gains of all rows are about one matrix product. For a small pool that is faster than
        # to find the rows that need an update.
        self._at_once = small and not modular and not self._exact.updates_notes and len(self._exact.shape) == 1
        device = reader.works_on
        self._open_n = torch.ones(len(reader), dtype=torch.bool, device=device)
        self._gain_n = torch.empty(len(reader), dtype=torch.float64, device=device)  # bounds, unless up to date
        self._first_n, self._offset_n = torch.zeros(2, len(reader), dtype=torch.float32, device=device)
        self._first_pass()
        self._key: Key = by_gain
        self._restricted = False
        self._closed_1: Tensor | None = None  # the prepared item chosen last in this shard, until it joins
        self.rank_by(by_gain, self._gain_n[:0])

    def __len__(self) -> int:
        return len(self._reader)

    def rank_by(self, key: Key, noise_n: Float64[Tensor, " n"]) -> None:
        """From now on ranks rows by this key."""
        self._key, self._noise_n = key, noise_n.to(self._gain_n.device)
        self._key_n = self._gain_n
        if key is not by_gain:
            self._key_n = torch.where(self._open_n, key(self._gain_n, self._noise_n), -torch.inf)
            self._check_keys(self._open_n & (self._exact.seen_n == self._exact.joined))
        if not self._restricted:
            self._look_at()

    def restrict(self, rows: Rows | None) -> None:
        """From now on only these rows can win; None removes the restriction."""
        self._restricted = rows is not None
        if rows is None:
            self._look_at()
        else:
            rows = rows.to(self._gain_n.device).sort().values
            self._active, self._floor = rows[self._open_n[rows]], -torch.inf

    def refresh(self) -> None:
        """Brings every row that can win up to date."""
        self._settle(self._eligible())

    def gains(self) -> Float64[Tensor, " n"]:
        """The gain of every row, up to date, on the CPU; −inf for rows that cannot win."""
        self.refresh()
        rows = self._eligible()
        gain_n = torch.full_like(self._gain_n, -torch.inf)
        gain_n[rows] = self._gain_n[rows]
        return gain_n.cpu()

    def top(self, k: int) -> tuple[Rows, Float64[Tensor, " n"]]:
        """All rows that may be among the k with the largest keys, or tie with one of them, with their keys."""
        rows = self._eligible()
        if k < len(rows):
            first = rows[self._key_n[rows].topk(k).indices]
            self._settle(first.sort().values)
            least = lowest_tie(float(self._key_n[first].min()))
            rows = rows[self._key_n[rows] >= least]
        self._settle(rows)
        return rows.cpu(), self._key_n[rows].cpu()

    def bid(self, at_least: float, slack: float) -> Bid:
        """Bounds on the largest key, which differ by at most ``slack``.

        Args:
            at_least: a key known in another shard; smaller keys need not be distinguished.
            slack: the largest difference between ``bound`` and ``known``.
        """
        if self._objective.structure is Structure.GENERAL:
            self._bound_again()
        if self._all_known:
            largest = _max(self._key_n)
            return Bid(max(at_least, largest), largest)
        known, most = at_least, FIRST
        while True:
            key_n, fresh_n = self._key_n[self._active], self._fresh(self._active)
            known = max(known, _max(key_n[fresh_n]))
            least = max(known + slack, self._floor)
            may_win = ~fresh_n & (key_n > least)
            rows, key_n = self._active[may_win], key_n[may_win]
            if len(rows) == 0:
                if self._floor <= known + slack:
                    return Bid(known, max(_max(self._key_n[self._active]), self._floor))
                self._look_further(known)
                continue
            left = -torch.inf
            if len(rows) > most:
                top = key_n.topk(most + 1)
                rows, left = rows[top.indices[:most]], float(top.values[most])
            self._try(rows, known + slack, most if self._quick is self._exact else most // 8)
            # Often this decides the step, and the remaining rows need not be examined.
            known = max(known, _max(self._key_n[rows[self._fresh(rows)]]))
            bound = max(_max(self._key_n[rows]), left, least)
            if bound <= known + slack:
                return Bid(known, bound)
            most *= 2

    def lowest(self, bid: Bid) -> tuple[int | None, bool]:
        """The lowest row that may tie with the largest key of the pool, or None; and whether the tie is certain.

        Args:
            bid: bounds on the largest key of the whole pool.
        """
        least, most = lowest_tie(bid.known), FIRST
        if self._all_known:
            tied = ((self._key_n >= least) & (self._key_n > -torch.inf)).nonzero()[:1, 0].tolist()
            return (tied[0], bool(self._key_n[tied[0]] >= lowest_tie(bid.bound))) if tied else (None, True)
        if self._floor > least:
            self._look_at(least)
        while True:
            key_n = self._key_n[self._active]
            rows = self._active[(key_n >= least) & (key_n > -torch.inf)][:most]
            if len(rows) == 0:
                return None, True
            fresh_n = self._fresh(rows)
            if fresh_n[0]:
                return int(rows[0]), bool(self._key_n[rows[0]] >= lowest_tie(bid.bound))
            self._settle(self._approach(rows[~fresh_n], least)[: most // 8])
            most *= 2

    def item(self, row: int) -> Tensor:
        """The item at a row as it is stored, [1, K, C]."""
        return self._reader.stored(torch.tensor([row]))

    def close(self, row: int) -> float:
        """Marks the row as chosen, so that it cannot win again; returns its gain."""
        self._settle(torch.tensor([row], device=self._gain_n.device))
        gain = float(self._gain_n[row])
        self._closed_1 = self._exact.kept(row)
        self._open_n[row] = False
        self._gain_n[row] = self._key_n[row] = -torch.inf
        return gain

    def join(self, stored_1: Tensor) -> None:
        """Adds an item, of this shard or another, to the chosen set."""
        stored_1 = stored_1.to(self._reader.works_on)
        chosen_1 = self._exact.prepared(stored_1) if self._closed_1 is None else self._closed_1
        self._closed_1 = None
        self._exact.join(chosen_1)
        if self._quick is not self._exact:
            alike = self._quick.shape == self._exact.shape
            self._quick.join(chosen_1.to(self._quick.dtype) if alike else self._quick.prepared(stored_1))
        if self._at_once:
            self._settle_all()
        crowded = len(self._active) > 4 * ACTIVE and self._exact.joined % FIRST == 0
        if crowded and not self._restricted:
            self._look_at()

    def standard_error(self) -> float:
        """The sampling error of the value of the chosen set."""
        return self._objective.standard_error(self._exact.state)

    @property
    def _all_known(self) -> bool:
        """Whether every row can win, and its key is up to date."""
        return self._at_once and not self._restricted

    def _eligible(self) -> Rows:
        """The rows that can win."""
        return self._active[self._open_n[self._active]] if self._restricted else self._open_n.nonzero()[:, 0]

    def _first_pass(self) -> None:
        for rows in torch.arange(len(self)).split(self._block):
            at = slice(int(rows[0]), int(rows[-1]) + 1)  # writing to a slice takes half the time
            with naming_rows(rows, self._number):
                if self._quick is self._exact:
                    gain_n = self._exact.start(at, self._exact.items(rows))
                else:
                    stored_n_K_C = self._reader.stored(rows)
                    gain_n = first_n = self._quick.start(at, self._quick.prepared(stored_n_K_C))
                    if self._quick.shape != self._exact.shape:
                        items = self._objective.prepare(as_log_probs(stored_n_K_C, self._quick.dtype))
                        gain_n = self._objective.gain(
                            self._quick.state, self._objective.init_notes(items), items
                        ).double()
            self._check(gain_n, rows, exact=self._quick is self._exact)
            self._gain_n[at] = gain_n
            if self._quick is not self._exact:
                self._first_n[at] = gain_n.float()
                self._offset_n[at] = (gain_n - first_n).float()
                self._gain_n[at] = self._bound(gain_n, at)

    def _check(self, gain_n: Tensor, rows: Rows | slice, *, exact: bool = True) -> None:
        wrong_n = ~gain_n.isfinite() if exact else gain_n.isnan()
        if wrong_n.any():
            row = self._number(int(torch.arange(len(self))[rows][wrong_n.cpu()][0]))
            raise InputError(f"{self._objective}: the gain of row {row} is {float(gain_n[wrong_n][0])}")

    def _check_keys(self, rows: Tensor) -> None:
        """Raises InputError if an exact gain has no finite key, as where it is multiplied by a large number."""
        wrong_n = ~self._key_n[rows].isfinite()
        if self._key is not by_gain and wrong_n.any():
            row = int(torch.arange(len(self))[rows.cpu()][wrong_n.cpu()][0])
            raise InputError(
                f"{self._objective}: the gain of row {self._number(row)} is {float(self._gain_n[row])}, too large for "
                "the optimizer, which computes keys from gains"
            )

    def _number(self, row: int) -> int:
        """The number of a row in the pool, for a message."""
        return row if self._reader.rows is None else int(self._reader.rows[row])

    def _bound(self, gain_n: Tensor, rows: Rows | slice) -> Tensor:
        """An upper bound on exact gains, given the gains in single precision."""
        # A sum over chosen items adds an error for each of them. The error of a state is proportional to the decrease.
        fall_n = self._quick.seen_n[rows] if self._quick.updates_notes else self._first_n[rows] - gain_n
        bound_n = gain_n + self._objective.rounding * (1 + fall_n.clamp_min(0)) * gain_n.abs().clamp_min(1)
        # Gains beyond single precision: above it, or below.
        most, least = torch.finfo(torch.float64).max, torch.finfo(torch.float32).min
        return bound_n.nan_to_num_(nan=most, posinf=most, neginf=least)

    def _bound_again(self) -> None:
        """Bounds of now for all rows, as gains may have increased."""
        if self._quick is self._exact:
            self.refresh()
            return
        rows = self._eligible()
        rows = rows[(self._quick.seen_n[rows] < self._quick.joined) & ~self._fresh(rows)]
        if len(rows):
            self._write(rows, self._bound(self._quick.update(rows), rows))
            if not self._restricted:
                self._look_at()

    def _fresh(self, rows: Rows) -> Bool[Tensor, " n"]:
        return self._exact.seen_n[rows] == self._exact.joined

    def _try(self, rows: Rows, least: float, few: int) -> None:
        """Updates the bounds of rows, and brings the ``few`` largest that still reach ``least`` up to date."""
        left = self._approach(rows, least)
        if len(left) > few:
            left = left[self._key_n[left].topk(few).indices]
        self._settle(left)

    def _approach(self, rows: Tensor, least: float) -> Tensor:
        """Updates bounds in single precision where they differ; returns the rows that still reach ``least``."""
        if self._quick is self._exact:
            return rows
        behind_n = self._quick.behind(rows)
        if self._quick.updates_notes:
            behind_n &= self._exact.seen_n[rows] <= self._quick.seen_n[rows]
        behind = rows[behind_n].sort().values
        while len(behind):
            gain_n = self._quick.update(behind, all_the_way=False) + self._offset_n[behind]
            self._write(behind, torch.minimum(self._gain_n[behind], self._bound(gain_n, behind)))
            behind = behind[(self._key_n[behind] >= least) & self._quick.behind(behind)]
        return rows[self._key_n[rows] >= least]

    def _settle(self, rows: Rows) -> None:
        """Brings rows up to date with all chosen items, at the exact precision."""
        rows = rows[self._open_n[rows] & ~self._fresh(rows)].sort().values
        if len(rows):
            gain_n = self._exact.update(rows)
            self._check(gain_n, rows.cpu())
            self._write(rows, gain_n)
            self._check_keys(rows)

    def _settle_all(self) -> None:
        gain_n = self._exact.update_all()
        self._check(gain_n, slice(None))
        self._gain_n.copy_(torch.where(self._open_n, gain_n, -torch.inf))
        if self._key is not by_gain:
            self._key_n = torch.where(self._open_n, self._key(self._gain_n, self._noise_n), -torch.inf)
            self._check_keys(self._open_n)

    def _write(self, rows: Rows, gain_n: Tensor) -> None:
        self._gain_n[rows] = gain_n
        if self._key is not by_gain:
            self._key_n[rows] = self._key(gain_n, self._noise_n[rows])

    def _look_at(self, least: float = torch.inf) -> None:
        """Makes the rows with the largest bounds active, and all rows with a key of at least ``least``."""
        self._floor = -torch.inf
        if len(self) > ACTIVE:
            # A sample of the keys is enough for the threshold: it affects the time, not the rows chosen.
            every = max(1, len(self) // (8 * ACTIVE))
            cut = float(self._key_n[::every].topk(max(1, ACTIVE // every)).values.min())
            self._floor = min(cut, least)
        self._active = (self._open_n & (self._key_n >= self._floor)).nonzero()[:, 0]

    def _look_further(self, known: float) -> None:
        """Makes other rows active, since no active row has a key above ``known``."""
        self._look_at()
        if _max(self._key_n) <= self._floor:  # more rows tie than are active
            self._look_at(lowest_tie(known))


def _max(key_n: Tensor) -> float:
    """The largest key; −inf if there is none."""
    return float(key_n.max()) if len(key_n) else -torch.inf
