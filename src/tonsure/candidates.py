"""The pool as an optimizer sees it: blocks, shards, gains, and the mask on what has been chosen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from tonsure.errors import InputError
from tonsure.objective import Gains, Objective

TIE = 1e-6
"""Keys that differ by less, in their unit or relative to the largest where that is above one, are a tie: so much
may rounding do to equal items that stand in different blocks. Ties go to the lowest row."""

BLOCK = {"cpu": 1024, "cuda": 2**17}
"""Rows that are read at a time: on a CPU few, for the cache; on a GPU many, for the launches."""

SEGMENTS = {"cpu": 64, "cuda": 4}
"""Into how many parts rows are sorted; more leave more of them behind, and cost more launches."""

Key = Callable[[Tensor, Tensor], Tensor]
"""(gain_n, noise_n) -> key_n, by which rows win; it never falls as the gain rises."""


def by_gain(gain_n: Float64[Tensor, " n"], noise_n: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    return gain_n


@dataclass
class _Segment:
    """Rows that are brought up to date together: with the first ``seen`` chosen items so far."""

    rows: Tensor
    seen: int
    top: float


class Shard:
    """A part of the pool, in pool order, with the notes and the last known gain of each of its rows.

    Where gains only fall, a gain of long ago is an upper bound: rows are brought up to date a segment at a time,
    from the largest bound down, until no bound can reach the best key found (lazy greedy, Minoux 1978), and for all
    the items that were chosen meanwhile at once. Segments are of rows with a similar first key, so that those that
    cannot win stand together; sorting them anew on the way cost more than it saved.

    Rows are numbered within the shard. Shards share only numbers and the chosen items: they may live apart.
    """

    def __init__(self, items: Tensor, objective: Objective[Any, Any], state: Any, block: int | None) -> None:
        self._items, self._objective, self._state = items, objective, state
        self._block = block or BLOCK.get(items.device.type, 2**14)
        self._chosen: list[Tensor] = []
        self._key: Key = by_gain
        notes, gains = [], []
        for rows in self._all_rows().split(objective.block or self._block):
            block_items = self._read(rows)
            notes.append(objective.first_notes(block_items))
            gains.append(self._checked(objective.gain(state, notes[-1], block_items), rows))
        self._make_notes = type(notes[0])
        self._notes = [torch.cat(column) for column in zip(*notes, strict=True)]
        self._gain_n = torch.cat(gains)
        self._open_n = torch.ones_like(self._gain_n, dtype=torch.bool)
        self._segments: list[_Segment] = []
        self.rank_by(by_gain, torch.zeros_like(self._gain_n))

    def __len__(self) -> int:
        return len(self._items)

    def rank_by(self, key: Key, noise_n: Float64[Tensor, " n"]) -> None:
        """From now on rows win by this key."""
        self._key, self._noise_n = key, noise_n.to(self._items.device)
        self.refresh()
        self._key_n = torch.where(self._open_n, key(self._gain_n, self._noise_n), -torch.inf)
        self._sort()

    def refresh(self) -> None:
        """Brings every row up to date."""
        for segment in self._segments:
            self._refresh(segment)

    def gains(self) -> Float64[Tensor, " n"]:
        """The gain of every row, up to date; −inf where chosen."""
        self.refresh()
        return torch.where(self._open_n, self._gain_n, -torch.inf)

    def top(self, at_least: float = -torch.inf) -> float:
        """The largest key, up to date, if that is ``at_least`` (a tie included), else some bound below."""
        if self._objective.gains is Gains.FREE:
            self.refresh()
        top = at_least
        for segment in sorted(self._segments, key=lambda segment: -segment.top):
            if segment.top < less(top):
                break
            self._refresh(segment)
            top = max(top, segment.top)
        return max(segment.top for segment in self._segments)

    def lowest(self, at_least: float) -> int | None:
        """The lowest row whose key reaches ``at_least``, if any; ``top`` must have been asked for before."""
        near = [segment.rows for segment in self._segments if segment.top >= at_least]
        rows = torch.cat([self._all_rows()[:0], *near])
        rows = rows[self._open_n[rows] & (self._key_n[rows] >= at_least)]
        return int(rows.min()) if len(rows) else None

    def item(self, row: int) -> Tensor:
        """The item at a row, of shape [1, ...]."""
        return self._read(torch.tensor([row], device=self._items.device))

    def close(self, row: int) -> float:
        """Marks the row as chosen: it cannot win again. Gives its gain, computed for it alone."""
        self._open_n[row] = False
        self._key_n[row] = -torch.inf
        notes = self._make_notes(*(column[row : row + 1] for column in self._notes))
        return float(self._objective.gain(self._state, notes, self.item(row)))

    def join(self, chosen_1: Tensor, state: Any) -> None:
        """An item, of this shard or another, has joined the chosen set, which ``state`` now sums up."""
        self._chosen.append(chosen_1.to(self._items.device))
        self._state = state

    def _all_rows(self) -> Tensor:
        return torch.arange(len(self._items), device=self._items.device)

    def _read(self, rows: Tensor) -> Tensor:
        """Items as objectives want them: float32 or float64, and distributions again where storage rounded them."""
        first, last = int(rows[0]), int(rows[-1])
        neighbors = last - first + 1 == len(rows)  # rows ascend: what stands together needs no copy
        items = self._items[first : last + 1] if neighbors else self._items[rows]
        return items if items.dtype in (torch.float32, torch.float64) else items.float().log_softmax(-1)

    def _checked(self, gain_n: Tensor, rows: Tensor) -> Tensor:
        if gain_n.isnan().any():
            first = int(rows[gain_n.isnan()][0])
            raise InputError(f"{self._objective}: the gain of row {first} is nan")
        return gain_n.double()

    def _refresh(self, segment: _Segment) -> None:
        """Brings a segment up to date."""
        if segment.seen == len(self._chosen):
            return
        if self._objective.gains not in (Gains.FIXED, Gains.EQUAL):
            chosen_m = torch.cat(self._chosen[segment.seen :])
            for rows in segment.rows.split(self._block):
                items = self._read(rows)
                notes = self._make_notes(*(column[rows] for column in self._notes))
                notes = self._objective.next_notes(notes, items, chosen_m)
                for column, new in zip(self._notes, notes, strict=True):
                    column[rows] = new
                gain_n = self._checked(self._objective.gain(self._state, notes, items), rows)
                key_n = self._key(gain_n, self._noise_n[rows])
                self._gain_n[rows] = gain_n
                self._key_n[rows] = torch.where(self._open_n[rows], key_n, -torch.inf)
        segment.seen = len(self._chosen)
        segment.top = float(self._key_n[segment.rows].max())

    def _sort(self) -> None:
        free = self._objective.gains is Gains.FREE  # nothing is left behind, so nothing is to be gained by sorting
        order = self._all_rows() if free else self._key_n.sort(descending=True, stable=True).indices
        size = max(256, -(-len(self) // SEGMENTS.get(self._items.device.type, 8)))
        self._segments = [
            _Segment(rows.sort().values, len(self._chosen), float(self._key_n[rows].max()))
            for rows in order.split(size)
        ]


class Candidates:
    """All rows of the pool, numbered through its shards: what an optimizer searches.

    Args:
        shards: the parts of the pool, in order, each [n, ...], all on one device.
        objective: what a chosen row is worth.
        block: how many rows are read at a time; None for what suits the device.
    """

    def __init__(self, shards: Sequence[Tensor], objective: Objective[Any, Any], *, block: int | None = None) -> None:
        self.objective = objective
        self.state = objective.first_state(shards[0][:1])
        self._shards = [Shard(items, objective, self.state, block) for items in shards]
        self._ends: list[int] = torch.tensor([len(shard) for shard in self._shards]).cumsum(0).tolist()

    def __len__(self) -> int:
        return self._ends[-1]

    def rank_by(self, key: Key, noise_N: Float64[Tensor, " N"]) -> None:
        """From now on rows win by ``key(gain_n, noise_n)`` and not by the gain alone."""
        sizes = [len(shard) for shard in self._shards]
        for shard, noise_n in zip(self._shards, noise_N.split(sizes), strict=True):
            shard.rank_by(key, noise_n)

    def refresh(self) -> None:
        """Brings the gain of every row up to date, also of those that cannot win."""
        for shard in self._shards:
            shard.refresh()

    def gains(self) -> Float64[Tensor, " N"]:
        """The gain of every row, up to date, on the CPU; −inf where chosen."""
        return torch.cat([shard.gains().cpu() for shard in self._shards])

    def best(self) -> int:
        """The row with the largest key, ties to the lowest; rows that cannot win are left behind."""
        top = -torch.inf
        for shard in self._shards:
            top = max(top, shard.top(top))
        for shard, end in zip(self._shards, self._ends, strict=True):
            row = shard.lowest(less(top))
            if row is not None:
                return end - len(shard) + row
        raise AssertionError("every row has been chosen")

    def choose(self, row: int) -> float:
        """The row joins the batch; gives the gain that it joins with (if the row is up to date, as ``best`` is)."""
        place = next(place for place, end in enumerate(self._ends) if row < end)
        shard = self._shards[place]
        within = row - self._ends[place] + len(shard)
        chosen_1, gain = shard.item(within), shard.close(within)
        self.state = self.objective.next_state(self.state, chosen_1)
        for other in self._shards:
            other.join(chosen_1, self.state)
        return gain


def less(key: float) -> float:
    """The least key that ties with this one."""
    return key - TIE * max(1.0, abs(key))


def largest(key_N: Float64[Tensor, " N"], k: int) -> list[int]:
    """The rows of the k largest keys, from the largest down, ties to the lowest."""
    least = float(key_N.topk(k).values[-1])
    rows = (key_N >= less(least)).nonzero()[:, 0]
    left_n = key_N[rows]
    chosen = []
    for _ in range(k):
        place = int((left_n >= less(float(left_n.max()))).nonzero()[0])
        left_n[place] = -torch.inf
        chosen.append(int(rows[place]))
    return chosen
