"""The files of a store: their names, and where a row lies in them.

| file | content |
| --- | --- |
| ``manifest.json`` | sizes, types, checksums and origin; written last, so a folder that has one is complete |
| ``log_probs-00000.safetensors``, … | the pool in shards, in order, each one tensor ``log_probs`` [n, K, C] |
| ``features.safetensors`` | optional: one tensor ``features`` [N, D], of the same rows |
| ``items.parquet`` | optional: a table with one row per item, with its ``id`` or other columns |

The numbers of a file follow a header of fixed length, so the position of every number is known in advance: blocks are
written in any order, each at its position, and files are read as memory maps. A folder with ``journal.jsonl`` and
without a manifest is a draft (``draft``): the journal describes the planned store and lists the written blocks.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import torch

from tonsure.errors import InputError

MANIFEST = "manifest.json"
ITEMS = "items.parquet"
JOURNAL = "journal.jsonl"
DATA_OFFSET = 256
"""The position of the first number in a file. The header is padded with spaces, as the safetensors format allows."""
SHARD_BYTES = 2**30
BLOCK_BYTES = 2**22
"""The approximate number of bytes that one checksum covers."""

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
_CODES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}


class Span(NamedTuple):
    """The rows of one shard."""

    file: str
    first_row: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class ArrayLayout(ABC):
    """The positions of the rows of one array in its files.

    Args:
        rows_per_shard: of every shard except the last, which may have fewer.
        block_rows: the number of rows that one checksum covers.
    """

    name: ClassVar[str]
    """Of the tensor in the files."""

    N: int
    dtype: torch.dtype
    rows_per_shard: int
    block_rows: int

    @property
    @abstractmethod
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a row."""

    @abstractmethod
    def file(self, shard: int) -> str:
        """The name of a shard's file."""

    @property
    def row_bytes(self) -> int:
        return bytes_per_row(self.row_shape, self.dtype)

    @property
    def total_bytes(self) -> int:
        """The size of all shards."""
        return sum(span.bytes for span in self.spans())

    def spans(self, first_row: int = 0, rows: int | None = None) -> Iterator[Span]:
        """The shards that hold these rows, each with all of its rows."""
        end = self.N if rows is None else first_row + rows
        for shard in range(first_row // self.rows_per_shard, -(-end // self.rows_per_shard)):
            start = shard * self.rows_per_shard
            count = min(self.rows_per_shard, self.N - start)
            yield Span(self.file(shard), start, count, DATA_OFFSET + count * self.row_bytes)

    def header(self, rows: int) -> bytes:
        """The bytes before the numbers of a shard: the length of a JSON text, and the text."""
        about = {
            "dtype": _CODES[self.dtype],
            "shape": [rows, *self.row_shape],
            "data_offsets": [0, rows * self.row_bytes],
        }
        text = json.dumps({self.name: about}, separators=(",", ":")).encode()
        return (DATA_OFFSET - 8).to_bytes(8, "little") + text.ljust(DATA_OFFSET - 8)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "dtype": str(self.dtype).removeprefix("torch.")}


@dataclass(frozen=True)
class Layout(ArrayLayout):
    """The positions of log-probabilities [N, K, C]."""

    name = "log_probs"

    K: int
    C: int

    @classmethod
    def of(cls, N: int, K: int, C: int, dtype: torch.dtype, rows_per_shard: int | None = None) -> "Layout":
        """A layout with shards of at most 1 GiB, or of ``rows_per_shard`` rows.

        Raises:
            InputError: a store cannot hold the type, or ``rows_per_shard`` is below 1.
        """
        row_bytes = bytes_per_row((K, C), dtype)
        if rows_per_shard is not None and rows_per_shard < 1:
            raise InputError(f"rows_per_shard is {rows_per_shard}, expected at least 1")
        return cls(N, dtype, rows_per_shard or max(1, SHARD_BYTES // row_bytes), _block_rows(row_bytes), K, C)

    @property
    def row_shape(self) -> tuple[int, int]:
        return self.K, self.C

    def file(self, shard: int) -> str:
        return f"log_probs-{shard:05}.safetensors"


@dataclass(frozen=True)
class FeatureLayout(ArrayLayout):
    """The positions of features [N, D], all in one file."""

    name = "features"

    D: int

    @classmethod
    def of(cls, N: int, D: int, dtype: torch.dtype) -> "FeatureLayout":
        """A layout of one shard, so that a single memory map holds all rows.

        Raises:
            InputError: a store cannot hold the type.
        """
        return cls(N, dtype, N, _block_rows(bytes_per_row((D,), dtype)), D)

    @property
    def row_shape(self) -> tuple[int]:
        return (self.D,)

    def file(self, shard: int) -> str:
        return "features.safetensors"


def bytes_per_row(row_shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """The size of a row.

    Raises:
        InputError: a store cannot hold the type.
    """
    if dtype not in _CODES:
        raise InputError(f"a store holds {', '.join(DTYPES)}, found {dtype}")
    return math.prod(row_shape) * dtype.itemsize


def _block_rows(row_bytes: int) -> int:
    return max(1, BLOCK_BYTES // row_bytes)
