"""Sends rows of the pool to an actor: as the path of their store, or once through Ray's object store."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tonsure.backends.ray_cluster import get, ray_library
from tonsure.errors import StoreError
from tonsure.predictions.arrays import as_tensor
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store import Store
from tonsure.predictions.store.layout import MANIFEST

PIECE_BYTES = 2**26
"""The bytes that are copied at a time of arrays in memory."""


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Rows of a store, which an actor opens itself: those from ``start`` up to ``stop``, or those of a list.

    Attributes:
        crc32: of the manifest, to detect that an actor sees another store at this path.
        of: what is read of the store: "predictions" or "features".
    """

    path: Path
    crc32: int
    start: int
    stop: int
    rows: Tensor | None
    samples: Tensor | None
    device: torch.device | None
    of: str = "predictions"

    def open(self) -> PoolReader:
        store = Store.open(self.path, verify=False)
        if manifest_crc32(self.path) != self.crc32:
            raise StoreError(f"{self.path} is not the same store on all machines: expected a folder that they share")
        if self.of == "features":
            whole = store.feature_reader(self.device)
            assert whole is not None  # the manifest is the one that had features
        else:
            whole = PoolReader(store.parts, self.device, None, self.samples, store.release, str(self.path))
        return whole.slice(self.start, self.stop) if self.rows is None else replace(whole, rows=self.rows)


@dataclass(frozen=True, eq=False)
class SentRows:
    """Rows in Ray's object store, in pieces."""

    references: Sequence[Any]
    dtype: torch.dtype
    device: torch.device | None

    def open(self) -> PoolReader:
        return PoolReader([as_tensor(piece).view(self.dtype) for piece in get(self.references)], self.device)


def source(reader: PoolReader, start: int, stop: int, device: torch.device | None) -> StoredRows | SentRows:
    """The rows from ``start`` up to ``stop``, in a form that can be sent to an actor."""
    if reader.path is not None:
        rows = None if reader.rows is None else own(reader.rows[start:stop])
        path = Path(reader.path).absolute()
        return StoredRows(path, manifest_crc32(path), start, stop, rows, own(reader.samples), device, reader.of)
    here = replace(reader, device=None)
    at_once = max(1, PIECE_BYTES // reader.stored(torch.tensor([start])).nbytes)
    references = [put_rows(here.stored(rows)) for rows in torch.arange(start, stop).split(at_once)]
    if reader.release is not None:
        reader.release()
    return SentRows(references, reader.dtype, device)


def put_rows(stored: Tensor) -> Any:
    """Puts rows into Ray's object store, as an array, which the actors of a machine share.

    NumPy has no bfloat16, so its bits are sent as float16.
    """
    bits = stored.view(torch.float16) if stored.dtype == torch.bfloat16 else stored
    return ray_library().put(bits.cpu().numpy())


def manifest_crc32(folder: Path) -> int:
    return zlib.crc32((folder / MANIFEST).read_bytes())


def own(value: Any) -> Any:
    """A copy of a tensor on the CPU; a view would be sent with all of the tensor that it views."""
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
