"""SearchSpace: the pool as an optimizer sees it, with gains, keys and the row that has the largest key."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from tonsure.objectives.base import Objective, Structure
from tonsure.search.backend import Shards
from tonsure.search.ranking import TIE, Key, largest
from tonsure.search.shard import Bid, Shard
from tonsure.shapes import Rows


class SearchSpace:
    """All rows of the pool, numbered consecutively over its shards: what an optimizer searches.

    A row can win if it has not been chosen and no restriction excludes it.

    Args:
        shards: the shards of the pool, in order.
        objective: the objective that defines the gains.
    """

    def __init__(self, shards: Shards, objective: Objective[Any, Any]) -> None:
        self.objective = objective
        self._shards = shards
        self._sizes = shards.sizes
        self._ends: list[int] = torch.tensor(self._sizes).cumsum(0).tolist()

    def __len__(self) -> int:
        return self._ends[-1]

    def rank_by(self, key: Key, noise_N: Float64[Tensor, " N"]) -> None:
        """From now on ranks rows by ``key(gain_n, noise_n)`` instead of the gain."""
        for index, noise_n in enumerate(noise_N.split(self._sizes)):
            self._shards.one(index, Shard.rank_by, key, noise_n)

    def restrict(self, rows: Rows | None) -> None:
        """From now on only these rows can win; None removes the restriction."""
        for index, (size, end) in enumerate(zip(self._sizes, self._ends, strict=True)):
            within = None if rows is None else rows[(rows >= end - size) & (rows < end)] - (end - size)
            self._shards.one(index, Shard.restrict, within)

    def refresh(self) -> None:
        """Brings the gain of every row that can win up to date."""
        self._shards.all(Shard.refresh)

    def gains(self) -> Float64[Tensor, " N"]:
        """The gain of every row, up to date, on the CPU; −inf for rows that cannot win."""
        return torch.cat(self._shards.all(Shard.gains))

    def largest(self, k: int) -> list[tuple[int, float]]:
        """The k rows with the largest present keys, with the keys, in descending order; ties go to the lowest row."""
        tops = self._shards.all(Shard.top, k)
        rows = torch.cat([top[0] + end - size for top, size, end in zip(tops, self._sizes, self._ends, strict=True)])
        key_n = torch.cat([key_n for _, key_n in tops])
        order = largest(key_n, k)
        return list(zip(rows[order].tolist(), key_n[order].tolist(), strict=True))

    def best(self) -> int:
        """The row with the largest key; ties go to the lowest row. Rows that cannot win are not updated."""
        # If many rows tie, the lowest of them can be determined long before the largest key is known exactly.
        for slack in (TIE / 2, 0.0):
            bids = self._shards.bids(slack)
            row, certain = self._lowest(Bid(max(bid.known for bid in bids), max(bid.bound for bid in bids)))
            if certain:
                return row
        raise AssertionError("every row has been chosen")

    def choose(self, row: int) -> float:
        """Adds the row to the batch; returns its gain."""
        index = next(index for index, end in enumerate(self._ends) if row < end)
        within = row - self._ends[index] + self._sizes[index]
        chosen_1 = self._shards.one(index, Shard.item, within)
        gain: float = self._shards.one(index, Shard.close, within)
        self._shards.all(Shard.join, chosen_1)
        return gain

    def picks(self, k: int) -> Iterator[tuple[int, float]]:
        """The best row, k times, each with its gain when it was chosen."""
        if self.objective.structure in (Structure.MODULAR, Structure.CONSTANT):  # all keys are final
            for row, _ in self.largest(k):
                yield row, self.choose(row)
            return
        for _ in range(k):
            row = self.best()
            yield row, self.choose(row)

    def standard_error(self) -> float:
        """The sampling error of the value of the chosen set."""
        return float(self._shards.one(0, Shard.standard_error))

    def _lowest(self, bid: Bid) -> tuple[int, bool]:
        for size, end, (row, certain) in zip(self._sizes, self._ends, self._shards.lowest(bid), strict=True):
            if row is not None:
                return end - size + row, certain
        raise AssertionError("every row has been chosen")
