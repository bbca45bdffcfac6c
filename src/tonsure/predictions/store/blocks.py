"""Blocks of a store: some samples of some rows, written and read where they lie in the shards.

Several processes may write different blocks of the same rows, for each touches only the bytes of its own.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.errors import InputError
from tonsure.predictions.store.layout import DATA_OFFSET, Layout
from tonsure.predictions.store.sealing import writing_to


class Place(NamedTuple):
    """Some samples of some rows."""

    first_row: int
    rows: int
    first_sample: int
    samples: int


class Entry(NamedTuple):
    """A block that was written, with the checksum of its bytes."""

    place: Place
    crc32: int


def write_block(
    folder: Path, layout: Layout, first_row: int, first_sample: int, log_probs_n_K_C: Float[Tensor, "n K C"]
) -> Entry:
    """Writes some samples of some rows where they belong. Several processes may, each its own blocks.

    Raises:
        InputError: the block does not fit there.
        StoreError: the disk is full.
    """
    rows, samples, classes = log_probs_n_K_C.shape
    place = Place(first_row, rows, first_sample, samples)
    if first_row + rows > layout.N or first_sample + samples > layout.K or classes != layout.C:
        raise InputError(f"a block of shape {list(log_probs_n_K_C.shape)} at {place} does not fit into {layout}")
    block = log_probs_n_K_C.detach().to("cpu", layout.dtype).contiguous()
    with writing_to(folder, layout.total_bytes):
        for rows_here, shard_n_K_C in _mapped(folder, layout, first_row, rows):
            shard_n_K_C[:, first_sample : first_sample + samples] = block[rows_here]
    return Entry(place, crc32_of(block))


def read_block(folder: Path, layout: Layout, place: Place) -> Float[Tensor, "n K C"]:
    """A copy of some samples of some rows."""
    samples = slice(place.first_sample, place.first_sample + place.samples)
    return torch.cat(
        [shard_n_K_C[:, samples] for _, shard_n_K_C in _mapped(folder, layout, place.first_row, place.rows)]
    )


def _mapped(folder: Path, layout: Layout, first_row: int, rows: int) -> Iterator[tuple[slice, Tensor]]:
    """The rows as they lie in the shards: which of them, and a map of their bytes, and of theirs alone."""
    for span in layout.spans(first_row, rows):
        start = max(first_row, span.first_row)
        end = min(first_row + rows, span.first_row + span.rows)
        mapped = np.memmap(
            folder / span.file,
            np.uint8,
            mode="r+",
            offset=DATA_OFFSET + (start - span.first_row) * layout.row_bytes,
            shape=(end - start) * layout.row_bytes,
        )
        shard_n_K_C = torch.from_numpy(mapped).view(layout.dtype).view(end - start, layout.K, layout.C)
        yield slice(start - first_row, end - first_row), shard_n_K_C


def crc32_of(block: Tensor) -> int:
    return zlib.crc32(bytes_of(block))


def bytes_of(block: Tensor) -> memoryview:
    """The bytes of a tensor, as they are stored."""
    return block.cpu().contiguous().flatten().view(torch.uint8).numpy().data
