"""The predictions or features of a pool, or a part of it, where they lie: in memory, in mapped files, on a GPU."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.shapes import Rows

HELD = 2**26
"""Bytes of mapped files that a process may hold."""

AROUND = 2**16
"""Bytes that come with every page that is read from a mapped file."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of the pool, in order; read some at a time, never changed.

    Args:
        pieces: of these rows, in order, each [n, K, C], or [n, D] of features, as stored; all of one type and on one
            device.
        device: where the work is done; None is where they are stored.
        rows: which of the rows are used, ascending; None is all of them.
        samples: which of the posterior samples are used; None is all of them.
        release: tells the operating system that mapped pages need not be held any longer.
        path: of the store that the pieces are all of, if they are one, so that another process can open it.
    """

    pieces: Sequence[Tensor]
    device: torch.device | None = None
    rows: Rows | None = None
    samples: Tensor | None = None
    release: Callable[[], None] | None = None
    path: str | None = None
    _ends: list[int] = field(init=False, repr=False)
    _held: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", list(accumulate(map(len, self.pieces))))
        object.__setattr__(self, "_held", [0])

    def __len__(self) -> int:
        return self._ends[-1] if self.rows is None else len(self.rows)

    @property
    def dtype(self) -> torch.dtype:
        return self.pieces[0].dtype

    @property
    def works_on(self) -> torch.device:
        return self.device or self.pieces[0].device

    def stored(self, rows: Rows) -> Float[Tensor, "n ..."]:
        """Items at ascending rows, as they are stored, where the work is done."""
        rows = rows.to(self.pieces[0].device)
        if self.rows is not None:
            rows = self.rows[rows]
        found: list[Tensor] = []
        while len(rows):
            place = bisect_right(self._ends, int(rows[0]))
            here = len(rows)
            if rows[-1] >= self._ends[place]:
                here = int(torch.searchsorted(rows, self._ends[place]))
            found.append(self._read(self.pieces[place], rows[:here] - (self._ends[place] - len(self.pieces[place]))))
            rows = rows[here:]
        return torch.cat(found) if len(found) > 1 else found[0]

    def slice(self, start: int, stop: int) -> "Part":
        """The rows from ``start`` up to ``stop``, where they lie."""
        if self.rows is not None:
            return replace(self, rows=self.rows[start:stop])
        firsts = [end - len(piece) for end, piece in zip(self._ends, self.pieces, strict=True)]
        pieces = [
            piece[max(start - first, 0) : max(stop - first, 0)]
            for first, piece in zip(firsts, self.pieces, strict=True)
        ]
        return replace(self, pieces=[piece for piece in pieces if len(piece)], path=None)

    def _read(self, piece: Tensor, rows: Rows) -> Tensor:
        first, last = int(rows[0]), int(rows[-1])
        self._hold(piece, len(rows), last - first + 1)
        neighbors = last - first + 1 == len(rows)  # what stands together needs no copy
        items = piece[first : last + 1] if neighbors else piece[rows]
        if self.samples is not None:
            items = items[:, self.samples]
        return items.to(self.works_on)

    def _hold(self, piece: Tensor, rows: int, span: int) -> None:
        """Lets the pages of mapped files go, before those that are read now come to too many."""
        if self.release is None:
            return
        row_bytes = piece[0].nbytes
        self._held[0] += min(span * row_bytes, rows * (row_bytes + AROUND))
        if self._held[0] > HELD:
            self.release()
            self._held[0] = 0


def as_log_probs(stored_n_K_C: Float[Tensor, "n K C"], dtype: torch.dtype) -> Float[Tensor, "n K C"]:
    """Stored items as objectives want them: in float32 or float64, and distributions again where storage rounded."""
    if stored_n_K_C.dtype in (torch.float32, torch.float64):
        return stored_n_K_C.to(dtype)
    log_probs_n_K_C = stored_n_K_C.to(dtype)
    # A fifth of the time of log_softmax over so short an axis; log-probabilities need no guard against overflow.
    return log_probs_n_K_C.sub_(log_probs_n_K_C.exp().sum(-1, keepdim=True).log_())
