"""Reads the predictions, features or scores of a pool where they are: in memory, in mapped files, on a GPU."""

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

ROWS = 4096
"""The largest number of rows that are worked on at a time."""

BLOCK_BYTES = 2**22
"""The most bytes that working copies of these rows take, unless those of a single row are larger."""


def rows_at_once(row_bytes: int, block_bytes: int | None = None) -> int:
    """The number of rows that are checked, scored or summed at a time.

    Args:
        row_bytes: what the working copies of one row take.
        block_bytes: what those of all of them may take; None is ``BLOCK_BYTES``.
    """
    return max(1, min(ROWS, (block_bytes or BLOCK_BYTES) // row_bytes))


@dataclass(frozen=True, eq=False)
class PoolReader:
    """Some rows of a pool; read in blocks, never modified.

    Args:
        pieces: consecutive rows of the pool, each [n, K, C], [n, D] or [n, 1], as stored; of one type and device.
        device: where rows are moved when they are read; None is where they are stored.
        rows: which of the rows are used, each once; None is all of them, in order.
        samples: which of the posterior samples are used; None is all of them.
        release: tells the operating system that mapped pages may be dropped from memory.
        path: of the store that holds the pieces, if there is one, so that another process can open it.
        of: what of the store the pieces are: "predictions" or "features".
    """

    pieces: Sequence[Tensor]
    device: torch.device | None = None
    rows: Rows | None = None
    samples: Tensor | None = None
    release: Callable[[], None] | None = None
    path: str | None = None
    of: str = "predictions"
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
    def width(self) -> int:
        """The number D of features, or of scores."""
        return int(self.pieces[0].shape[1])

    @property
    def works_on(self) -> torch.device:
        return self.device or self.pieces[0].device

    @property
    def whole(self) -> Tensor | None:
        """The one tensor that all rows are, where nothing has to be read."""
        alone = len(self.pieces) == 1 and self.rows is None and self.samples is None
        return self.pieces[0] if alone and self.works_on == self.pieces[0].device else None

    def in_memory(self) -> Tensor:
        """All rows as one tensor."""
        return self.stored(torch.arange(len(self))) if self.whole is None else self.whole

    def row_numbers(self) -> Rows:
        """The rows of the pool that these are, on the CPU."""
        return torch.arange(len(self)) if self.rows is None else self.rows.cpu()

    def at(self, rows: Rows) -> "PoolReader":
        """A reader of some of these rows; its rows keep the numbers of the pool."""
        rows = rows.to(self.pieces[0].device)
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def stored(self, rows: Rows) -> Float[Tensor, "n ..."]:
        """Items at some rows, as they are stored, on ``works_on``."""
        rows = rows.to(self.pieces[0].device)
        if self.rows is not None:
            rows = self.rows[rows]
        if (rows[1:] >= rows[:-1]).all():
            return self._ascending(rows)
        order = rows.argsort()
        ascending = self._ascending(rows[order])
        items = torch.empty_like(ascending)
        items[order.to(items.device)] = ascending
        return items

    def _ascending(self, rows: Rows) -> Tensor:
        if len(rows) == 0:
            return self._read(self.pieces[0], rows)
        found: list[Tensor] = []
        while len(rows):
            place = bisect_right(self._ends, int(rows[0]))
            here = len(rows)
            if rows[-1] >= self._ends[place]:
                here = int(torch.searchsorted(rows, self._ends[place]))
            found.append(self._read(self.pieces[place], rows[:here] - (self._ends[place] - len(self.pieces[place]))))
            rows = rows[here:]
        return torch.cat(found) if len(found) > 1 else found[0]

    def slice(self, start: int, stop: int) -> "PoolReader":
        """The rows from ``start`` up to ``stop``, where they are."""
        if self.rows is not None:
            return replace(self, rows=self.rows[start:stop])
        firsts = [end - len(piece) for end, piece in zip(self._ends, self.pieces, strict=True)]
        pieces = [
            piece[max(start - first, 0) : max(stop - first, 0)]
            for first, piece in zip(firsts, self.pieces, strict=True)
        ]
        return replace(self, pieces=[piece for piece in pieces if len(piece)], path=None)

    def _read(self, piece: Tensor, rows: Rows) -> Tensor:
        first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, -1)
        self._hold(piece, len(rows), last - first + 1)
        neighbors = last - first + 1 == len(rows)  # consecutive rows need no copy
        items = piece[first : last + 1] if neighbors else piece[rows]
        if self.samples is not None:
            items = items[:, self.samples]
        return items.to(self.works_on)

    def _hold(self, piece: Tensor, rows: int, span: int) -> None:
        """Drops the pages of mapped files before too many of them are held."""
        if self.release is None:
            return
        row_bytes = piece[0].nbytes
        self._held[0] += min(span * row_bytes, rows * (row_bytes + AROUND))
        if self._held[0] > HELD:
            self.release()
            self._held[0] = 0


def as_log_probs(stored_n_K_C: Float[Tensor, "n ..."], dtype: torch.dtype) -> Float[Tensor, "n ..."]:
    """Stored items as objectives take them: in float32 or float64, renormalized where storage rounded them.

    Scores [n, 1] are float64, and pass through.
    """
    if stored_n_K_C.dtype in (torch.float32, torch.float64):
        return stored_n_K_C.to(dtype)
    log_probs_n_K_C = stored_n_K_C.to(dtype)
    # A fifth of the time of log_softmax over so short an axis; log-probabilities need no guard against overflow.
    return log_probs_n_K_C.sub_(log_probs_n_K_C.exp().sum(-1, keepdim=True).log_())
