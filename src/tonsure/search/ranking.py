"""Keys, by which rows win, and when two of them are a tie."""

import heapq
from collections.abc import Callable

from jaxtyping import Float64
from torch import Tensor

TIE = 1e-6
"""Keys that differ by less, in their unit or relative to the largest where that is above one, are a tie: so much
may rounding do to equal items that stand in different blocks. Ties go to the lowest row."""

Key = Callable[[Tensor, Tensor], Tensor]
"""(gain_n, noise_n) -> key_n, by which rows win; it never falls as the gain rises."""


def by_gain(gain_n: Float64[Tensor, " n"], noise_n: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    return gain_n


def lowest_tie(key: float) -> float:
    """The least key that ties with this one."""
    return key - TIE * max(1.0, abs(key))


def largest(key_N: Float64[Tensor, " N"], k: int) -> list[int]:
    """The rows of the k largest keys, from the largest down, ties to the lowest."""
    least = float(key_N.topk(k).values[-1])
    rows = (key_N >= lowest_tie(least)).nonzero()[:, 0]
    order = rows[key_N[rows].sort(descending=True, stable=True).indices]
    keys, rows_by_key = key_N[order].tolist(), order.tolist()
    first = reached = 0
    tied: list[int] = []  # a heap of the rows that tie with the largest key that is left
    chosen: dict[int, None] = {}  # in order, and quick to look up
    while len(chosen) < k:
        while rows_by_key[first] in chosen:
            first += 1
        while reached < len(keys) and keys[reached] >= lowest_tie(keys[first]):
            heapq.heappush(tied, rows_by_key[reached])
            reached += 1
        chosen[heapq.heappop(tied)] = None
    return list(chosen)
