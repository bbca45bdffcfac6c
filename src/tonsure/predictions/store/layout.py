"""The files of a store of predictions: their names, and where a row lies in them.

| file | what it is |
| --- | --- |
| ``manifest.json`` | sizes, type, checksums, what made it; written last, so a folder that has one is complete |
| ``log_probs-00000.safetensors``, … | rows of the pool in order, each file one tensor ``log_probs`` [n, K, C] |
| ``items.parquet`` | one row per item, if anything is kept: its ``id`` and other columns |

In a shard the bytes follow a header of fixed length, so every number has a place that is known beforehand: blocks
are written where they belong, in any order, and read as a memory map. A folder with ``journal.jsonl`` and no manifest
is a draft: the journal says what it shall become, and which blocks are written (``draft``).
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch

from tonsure.errors import InputError

MANIFEST = "manifest.json"
ITEMS = "items.parquet"
JOURNAL = "journal.jsonl"
DATA_OFFSET = 256
"""Where the numbers of a shard begin; a header is padded to it with spaces, as its format allows."""
SHARD_BYTES = 2**30
BLOCK_BYTES = 2**22
"""About the bytes that one checksum covers."""

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
_CODES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}


class Span(NamedTuple):
    """The rows of one shard."""

    file: str
    first_row: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class Layout:
    """Where each of N · K · C numbers lies.

    Args:
        rows_per_shard: of every shard but the last, which may have fewer.
        block_rows: how many rows one checksum covers.
    """

    N: int
    K: int
    C: int
    dtype: torch.dtype
    rows_per_shard: int
    block_rows: int

    @classmethod
    def of(cls, N: int, K: int, C: int, dtype: torch.dtype, rows_per_shard: int | None = None) -> "Layout":
        """Shards of at most 1 GiB, unless told otherwise.

        Raises:
            InputError: the type is none that a store holds, or a shard would have no row.
        """
        if dtype not in _CODES:
            raise InputError(f"a store holds {', '.join(DTYPES)}, found {dtype}")
        if rows_per_shard is not None and rows_per_shard < 1:
            raise InputError(f"rows_per_shard is {rows_per_shard}, expected at least 1")
        row_bytes = K * C * dtype.itemsize
        return cls(N, K, C, dtype, rows_per_shard or max(1, SHARD_BYTES // row_bytes), max(1, BLOCK_BYTES // row_bytes))

    @property
    def row_bytes(self) -> int:
        return self.K * self.C * self.dtype.itemsize

    @property
    def total_bytes(self) -> int:
        """Of all shards."""
        return sum(span.bytes for span in self.spans())

    def spans(self, first_row: int = 0, rows: int | None = None) -> Iterator[Span]:
        """The shards that hold these rows, each one whole."""
        end = self.N if rows is None else first_row + rows
        for shard in range(first_row // self.rows_per_shard, -(-end // self.rows_per_shard)):
            start = shard * self.rows_per_shard
            count = min(self.rows_per_shard, self.N - start)
            name = f"log_probs-{shard:05}.safetensors"
            yield Span(name, start, count, DATA_OFFSET + count * self.row_bytes)

    def header(self, rows: int) -> bytes:
        """What stands before the numbers of a shard: the length of a JSON text, and the text."""
        about = {
            "dtype": _CODES[self.dtype],
            "shape": [rows, self.K, self.C],
            "data_offsets": [0, rows * self.row_bytes],
        }
        text = json.dumps({"log_probs": about}, separators=(",", ":")).encode()
        return (DATA_OFFSET - 8).to_bytes(8, "little") + text.ljust(DATA_OFFSET - 8)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "dtype": str(self.dtype).removeprefix("torch.")}
