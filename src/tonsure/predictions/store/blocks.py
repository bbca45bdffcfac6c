"""Blocks of a store: some rows of the predictions or features, written and read at their positions in the files.

Several processes may write different blocks at the same time, because each writes only the bytes of its own.
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
from tonsure.predictions.store.layout import DATA_OFFSET, ArrayLayout, FeatureLayout, Layout


class Place(NamedTuple):
    """A block of predictions: some samples of some rows."""

    first_row: int
    rows: int
    first_sample: int
    samples: int


class FeaturePlace(NamedTuple):
    """A block of features: those of some rows."""

    first_row: int
    rows: int


AnyPlace = Place | FeaturePlace


class Entry(NamedTuple):
    """A block that was written, with the checksum of its bytes."""

    place: AnyPlace
    crc32: int


def write_block(
    folder: Path, layout: Layout, first_row: int, first_sample: int, log_probs_n_K_C: Float[Tensor, "n K C"]
) -> Entry:
    """Writes the predictions of some rows by some samples.

    Raises:
        InputError: the block does not fit there.
        OSError: the file cannot be written.
    """
    rows, samples, _ = log_probs_n_K_C.shape
    place = Place(first_row, rows, first_sample, samples)
    _check_fit(layout, place, log_probs_n_K_C, (samples, layout.C), first_sample + samples <= layout.K)
    return _write(folder, layout, place, log_probs_n_K_C)


def write_feature_block(
    folder: Path, layout: FeatureLayout, first_row: int, features_n_D: Float[Tensor, "n D"]
) -> Entry:
    """Writes the features of some rows; raises as ``write_block``."""
    place = FeaturePlace(first_row, len(features_n_D))
    _check_fit(layout, place, features_n_D, layout.row_shape)
    return _write(folder, layout, place, features_n_D)


def read_block(folder: Path, layout: ArrayLayout, place: AnyPlace) -> Float[Tensor, "n ..."]:
    """A copy of a block."""
    rows = _mapped(folder, layout, place.first_row, place.rows)
    return torch.cat([stored[_samples(place)] for _, stored in rows])


def _check_fit(
    layout: ArrayLayout, place: AnyPlace, block: Tensor, row_shape: tuple[int, ...], samples_fit: bool = True
) -> None:
    if place.first_row + place.rows > layout.N or block.shape[1:] != row_shape or not samples_fit:
        raise InputError(f"a block of shape {list(block.shape)} at {place} does not fit into {layout}")


def _write(folder: Path, layout: ArrayLayout, place: AnyPlace, block: Tensor) -> Entry:
    block = block.detach().to("cpu", layout.dtype).contiguous()
    for rows_here, stored in _mapped(folder, layout, place.first_row, place.rows):
        stored[_samples(place)] = block[rows_here]
    return Entry(place, crc32_of(block))


def _samples(place: AnyPlace) -> tuple[slice, ...]:
    """Selects the samples of a block, from all numbers of its rows."""
    if isinstance(place, FeaturePlace):
        return (slice(None),)
    return slice(None), slice(place.first_sample, place.first_sample + place.samples)


def _mapped(folder: Path, layout: ArrayLayout, first_row: int, rows: int) -> Iterator[tuple[slice, Tensor]]:
    """The rows in each shard: which of them they are, and a tensor on a memory map of their bytes alone."""
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
        stored = torch.from_numpy(mapped).view(layout.dtype).view(end - start, *layout.row_shape)
        yield slice(start - first_row, end - first_row), stored


def crc32_of(block: Tensor) -> int:
    return zlib.crc32(bytes_of(block))


def bytes_of(block: Tensor) -> memoryview:
    """The bytes of a tensor, as they are stored."""
    return block.cpu().contiguous().flatten().view(torch.uint8).numpy().data
