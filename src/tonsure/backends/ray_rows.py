"""Rows of the pool on their way to an actor: told by the path of their store, or sent once."""

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
"""What is copied at a time of predictions in memory."""


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Rows of a store, from ``start`` up to ``stop`` or those of a list, which an actor opens itself."""

    path: Path
    crc32: int
    start: int
    stop: int
    rows: Tensor | None
    samples: Tensor | None
    device: torch.device | None

    def open(self) -> PoolReader:
        store = Store.open(self.path, verify=False)
        if manifest_crc32(self.path) != self.crc32:
            raise StoreError(f"{self.path} is not the same store on all machines: expected a folder that all see")
        part = PoolReader(store.parts, self.device, self.rows, self.samples, store.release, str(self.path))
        return part if self.rows is not None else part.slice(self.start, self.stop)


@dataclass(frozen=True, eq=False)
class SentRows:
    """Rows in Ray's object store, in pieces."""

    references: Sequence[Any]
    dtype: torch.dtype
    device: torch.device | None

    def open(self) -> PoolReader:
        return PoolReader([as_tensor(piece).view(self.dtype) for piece in get(self.references)], self.device)


def source(part: PoolReader, start: int, stop: int, device: torch.device | None) -> StoredRows | SentRows:
    """Where an actor finds these rows."""
    if part.path is not None:
        rows = None if part.rows is None else own(part.rows[start:stop])
        path = Path(part.path).absolute()
        return StoredRows(path, manifest_crc32(path), start, stop, rows, own(part.samples), device)
    here = replace(part, device=None)
    at_once = max(1, PIECE_BYTES // part.stored(torch.tensor([start])).nbytes)
    references = [put_rows(here.stored(rows)) for rows in torch.arange(start, stop).split(at_once)]
    if part.release is not None:
        part.release()
    return SentRows(references, part.dtype, device)


def put_rows(stored_n_K_C: Tensor) -> Any:
    """As an array, which actors on one machine share; NumPy has no bfloat16, but its bits may pass for float16."""
    bits = stored_n_K_C.view(torch.float16) if stored_n_K_C.dtype == torch.bfloat16 else stored_n_K_C
    return ray_library().put(bits.cpu().numpy())


def manifest_crc32(folder: Path) -> int:
    return zlib.crc32((folder / MANIFEST).read_bytes())


def own(value: Any) -> Any:
    """A tensor on the CPU without the rest of what it is a view of, which would travel along."""
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
