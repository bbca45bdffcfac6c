"""The pool as an optimizer sees it: gains, the best row, and the choice of one."""

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
    """All rows of the pool, numbered through its shards: what an optimizer searches.

    Args:
        shards: the parts of the pool, in order.
        objective: what a chosen row is worth.
    """

    def __init__(self, shards: Shards, objective: Objective[Any, Any]) -> None:
        self.objective = objective
        self._shards = shards
        self._sizes = shards.sizes
        self._ends: list[int] = torch.tensor(self._sizes).cumsum(0).tolist()

    def __len__(self) -> int:
        return self._ends[-1]

    def rank_by(self, key: Key, noise_N: Float64[Tensor, " N"]) -> None:
        """From now on rows win by ``key(gain_n, noise_n)`` and not by the gain alone."""
        for index, noise_n in enumerate(noise_N.split(self._sizes)):
            self._shards.one(index, Shard.rank_by, key, noise_n)

    def restrict(self, rows: Rows | None) -> None:
        """Only these rows can win until further notice; None is all of them again."""
        for index, (size, end) in enumerate(zip(self._sizes, self._ends, strict=True)):
            within = None if rows is None else rows[(rows >= end - size) & (rows < end)] - (end - size)
            self._shards.one(index, Shard.restrict, within)

    def refresh(self) -> None:
        """Brings the gain of every row up to date, also of those that cannot win."""
        self._shards.all(Shard.refresh)

    def gains(self) -> Float64[Tensor, " N"]:
        """The gain of every row, up to date, on the CPU; −inf where chosen."""
        return torch.cat(self._shards.all(Shard.gains))

    def largest(self, k: int) -> list[tuple[int, float]]:
        """The k rows with the largest keys as they stand, and the keys, from the largest down, ties to the lowest."""
        tops = self._shards.all(Shard.top, k)
        rows = torch.cat([top[0] + end - size for top, size, end in zip(tops, self._sizes, self._ends, strict=True)])
        key_n = torch.cat([key_n for _, key_n in tops])
        order = largest(key_n, k)
        return list(zip(rows[order].tolist(), key_n[order].tolist(), strict=True))

    def best(self) -> int:
        """The row with the largest key, ties to the lowest; rows that cannot win are left behind."""
        # Where many rows tie, the lowest of them can be told long before the largest key is known exactly.
        for slack in (TIE / 2, 0.0):
            bids = self._shards.bids(slack)
            row, certain = self._lowest(Bid(max(bid.known for bid in bids), max(bid.bound for bid in bids)))
            if certain:
                return row
        raise AssertionError("every row has been chosen")

    def choose(self, row: int) -> float:
        """The row joins the batch; gives the gain that it joins with."""
        index = next(index for index, end in enumerate(self._ends) if row < end)
        within = row - self._ends[index] + self._sizes[index]
        chosen_1 = self._shards.one(index, Shard.item, within)
        gain: float = self._shards.one(index, Shard.close, within)
        self._shards.all(Shard.join, chosen_1)
        return gain

    def picks(self, k: int) -> Iterator[tuple[int, float]]:
        """The best row, k times, each with the gain that it joined with."""
        if self.objective.structure in (Structure.MODULAR, Structure.CONSTANT):  # then no row need wait for another
            for row, _ in self.largest(k):
                yield row, self.choose(row)
            return
        for _ in range(k):
            row = self.best()
            yield row, self.choose(row)

    def standard_error(self) -> float:
        """The sampling error of the worth of the chosen set."""
        return float(self._shards.one(0, Shard.standard_error))

    def _lowest(self, bid: Bid) -> tuple[int, bool]:
        for size, end, (row, certain) in zip(self._sizes, self._ends, self._shards.lowest(bid), strict=True):
            if row is not None:
                return end - size + row, certain
        raise AssertionError("every row has been chosen")
