"""Bounds: the notes of all rows of a shard at one precision, and the gains computed from them."""

from typing import Any

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from tonsure.objectives.base import Objective, Structure
from tonsure.predictions.reader import PoolReader, as_log_probs
from tonsure.shapes import Rows

AHEAD = 8
"""The number of chosen items in the first partial update of a row, after which its bound is compared again."""

LAG = 8
"""A bound is updated again when the number of missed chosen items is at least 1/LAG of the number it includes."""


class Bounds:
    """The notes of rows at one precision, and for each row the number of chosen items that its notes include.

    Args:
        reader: reads the predictions of the rows.
        objective: the objective that is searched.
        dtype: the precision, float32 or float64.
        block: the number of rows read at a time.
        coarse: whether gains are computed on coarse items.
    """

    def __init__(
        self, reader: PoolReader, objective: Objective[Any, Any], dtype: torch.dtype, block: int, coarse: bool = False
    ):
        self._reader, self._objective, self.dtype, self._block, self._coarse = reader, objective, dtype, block, coarse
        like = self.items(torch.zeros(1, dtype=torch.int64))
        self.shape = like.shape[1:]
        self.state = objective.init_state(like)
        self.joined = 0
        self.seen_n = torch.full((len(reader),), -1, dtype=torch.int32, device=like.device)
        self._chosen: list[Tensor] = []
        self.updates_notes = objective.updates_notes
        # Notes that include only some of the chosen items give a bound only if the gain does not depend on a state,
        # which includes all of them.
        self.stops = self.updates_notes and not objective.uses_state
        self._make_notes: Any = None
        self._columns: list[Tensor] = []
        self._kept: Tensor | None = None

    def keep(self) -> None:
        """From now on keeps prepared items in memory; rows that are never prepared occupy no pages."""
        like = self.items(torch.zeros(1, dtype=torch.int64))
        self._kept = like.new_empty((len(self._reader), *like.shape[1:]))

    def items(self, rows: Tensor) -> Tensor:
        return self.prepared(self._reader.stored(rows))

    def kept(self, row: int) -> Tensor | None:
        """The prepared item at a row that is up to date, [1, …]; None if items are not kept."""
        return None if self._kept is None else self._kept[row : row + 1]

    def prepared(self, stored_n_K_C: Tensor) -> Tensor:
        log_probs_n_K_C = as_log_probs(stored_n_K_C, self.dtype)
        return self._objective.prepare(self._objective.coarse(log_probs_n_K_C) if self._coarse else log_probs_n_K_C)

    def join(self, chosen_1: Tensor) -> None:
        """Adds a prepared item, of this shard or another, to the chosen set."""
        if self._objective.structure in (Structure.MODULAR, Structure.CONSTANT):
            return
        self.state = self._objective.update_state(self.state, chosen_1)
        self.joined += 1
        if self.updates_notes:
            self._chosen.append(chosen_1)

    def start(self, rows: Rows | slice, items: Tensor) -> Float64[Tensor, " n"]:
        """Creates the notes of rows that have none, for the empty set; returns the gains of the rows."""
        notes = self._objective.init_notes(items)
        if self._make_notes is None:
            self._make_notes = type(notes)
            self._columns = [column.new_zeros((len(self._reader), *column.shape[1:])) for column in notes]
        if self._kept is not None:
            self._kept[rows] = items
        self._write(rows, notes)
        self.seen_n[rows] = 0
        return self._objective.gain(self.state, notes, items).double()

    def behind(self, rows: Rows) -> Bool[Tensor, " n"]:
        """Which rows have missed enough chosen items for another update of their bounds."""
        missed_n = self.joined - self.seen_n[rows]
        return (missed_n > 0) & (LAG * missed_n >= self.seen_n[rows]) if self.stops else missed_n > 0

    def update(self, rows: Rows, all_the_way: bool = True) -> Float64[Tensor, " n"]:
        """Updates rows with all chosen items, or with the next few of them; returns their gains."""
        gain_n = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
        # Rows that include the same number of chosen items are adjacent, so that a block has few, large groups.
        order = self.seen_n[rows].sort(stable=True).indices
        for block in order.split(self._block):
            at = block.sort().values  # items are read in ascending order
            gain_n[at] = self._update(rows[at], all_the_way or not self.stops)
        return gain_n

    def update_all(self) -> Float64[Tensor, " n"]:
        """Updates all rows at once; returns their gains. Requires kept items and notes that do not change."""
        assert self._kept is not None
        self.seen_n.fill_(self.joined)
        return self._objective.gain(self.state, self._make_notes(*self._columns), self._kept).double()

    def _update(self, rows: Rows, all_the_way: bool) -> Float64[Tensor, " n"]:
        seen_n = self.seen_n[rows]
        new = (seen_n < 0).nonzero()[:, 0]
        items = self.items(rows) if self._kept is None or len(new) else self._kept[rows]
        if len(new):
            self.start(rows[new], items[new])
        if self.updates_notes:
            seen_n = seen_n.clamp_min(0)
            for seen in seen_n.unique().tolist():
                upto = self.joined if all_the_way else self._next_stop(seen)
                at = (seen_n == seen).nonzero()[:, 0]
                if upto > seen:
                    chosen_m = torch.cat(self._chosen[seen:upto])
                    self._write(rows[at], self._objective.update_notes(self._notes(rows[at]), items[at], chosen_m))
                    self.seen_n[rows[at]] = upto
        else:
            self.seen_n[rows] = self.joined
        gain_n = self._objective.gain(self.state, self._notes(rows), items)
        return gain_n.double()

    def _next_stop(self, seen: int) -> int:
        """The end of a partial update: 8, 12, 16, 24, 32, … chosen items, so that many rows stop at the same number."""
        power = 1 << (max(AHEAD, seen).bit_length() - 1)
        stop = AHEAD if seen < AHEAD else power * 3 // 2 if seen < power * 3 // 2 else 2 * power
        return min(self.joined, stop)

    def _notes(self, rows: Rows) -> Any:
        return self._make_notes(*(column[rows] for column in self._columns))

    def _write(self, rows: Rows | slice, notes: Any) -> None:
        for column, new in zip(self._columns, notes, strict=True):
            column[rows] = new
