"""Keys: the values that rows are ranked by, and the rule for ties."""

import heapq
from collections.abc import Callable

from jaxtyping import Float64
from torch import Tensor

TIE = 1e-6
"""Keys that differ by less are a tie; the difference is relative to the larger key if that is above one. Rounding may
change the keys of equal items in different blocks by as much. Ties go to the lowest row."""

Key = Callable[[Tensor, Tensor], Tensor]
"""A function (gain_n, noise_n) -> key_n, which never decreases when the gain increases. The largest key wins."""


def by_gain(gain_n: Float64[Tensor, " n"], noise_n: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    return gain_n


def lowest_tie(key: float) -> float:
    """The smallest key that ties with this one."""
    return key - TIE * max(1.0, abs(key))


def largest(key_N: Float64[Tensor, " N"], k: int) -> list[int]:
    """The rows of the k largest keys, in descending order of the key; ties go to the lowest row."""
    least = float(key_N.topk(k).values[-1])
    rows = (key_N >= lowest_tie(least)).nonzero()[:, 0]
    order = rows[key_N[rows].sort(descending=True, stable=True).indices]
    keys, rows_by_key = key_N[order].tolist(), order.tolist()
    first = reached = 0
    tied: list[int] = []  # a heap of the rows that tie with the largest remaining key
    chosen: dict[int, None] = {}  # an ordered set
    while len(chosen) < k:
        while rows_by_key[first] in chosen:
            first += 1
        while reached < len(keys) and keys[reached] >= lowest_tie(keys[first]):
            heapq.heappush(tied, rows_by_key[reached])
            reached += 1
        chosen[heapq.heappop(tied)] = None
    return list(chosen)
