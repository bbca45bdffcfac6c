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


def less(key: float) -> float:
    """The least key that ties with this one."""
    return key - TIE * max(1.0, abs(key))


def largest(key_N: Float64[Tensor, " N"], k: int) -> list[int]:
    """The rows of the k largest keys, from the largest down, ties to the lowest."""
    least = float(key_N.topk(k).values[-1])
    rows = (key_N >= less(least)).nonzero()[:, 0]
    order = rows[key_N[rows].sort(descending=True, stable=True).indices]
    waiting = list(zip(key_N[order].tolist(), order.tolist(), strict=True))
    # The tied rows wait in a heap, lowest first; it is empty only when the next key is the largest that is left.
    tied: list[tuple[int, float]] = []
    taken = 0
    chosen: list[int] = []
    open_keys = _Largest(waiting)
    while len(chosen) < k:
        top = open_keys.top()
        while taken < len(waiting) and waiting[taken][0] >= less(top):
            heapq.heappush(tied, (waiting[taken][1], waiting[taken][0]))
            taken += 1
        row, key = heapq.heappop(tied)
        open_keys.remove(key, row)
        chosen.append(row)
    return chosen


class _Largest:
    """The largest key that is left, of keys in descending order of which any may be removed."""

    def __init__(self, keys_and_rows: list[tuple[float, int]]) -> None:
        self._keys_and_rows, self._removed, self._first = keys_and_rows, set[int](), 0

    def top(self) -> float:
        while self._keys_and_rows[self._first][1] in self._removed:
            self._first += 1
        return self._keys_and_rows[self._first][0]

    def remove(self, key: float, row: int) -> None:
        self._removed.add(row)
