"""A pool's predictions on disk: made once, read as memory maps, selected from many times."""

import mmap
import warnings
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tonsure.errors import StoreError
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store.items import ID, checked_ids, read_table
from tonsure.predictions.store.layout import DATA_OFFSET
from tonsure.predictions.store.manifest import Manifest, crc32s, read_manifest

if TYPE_CHECKING:
    import pyarrow


class Store:
    """The predictions of a pool, log p(y = c | x_i, θ_k) in nats, in the files of one folder.

    ``Store.open`` reads one, ``tonsure.predict(…, out=…)`` and ``tonsure.write_store`` make one. It is never changed
    after. Passed to another process, it travels as its path.

    Attributes:
        path: the folder.
        manifest: what is known of it.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._check_sizes()

    @classmethod
    def open(cls, path: str | PathLike[str], *, verify: bool = True) -> "Store":
        """The store in a folder.

        Args:
            verify: reads all of it once to compare checksums. Sizes and headers are checked in any case.

        Raises:
            StoreError: there is none, it was not finished, or it is damaged; the message names the file, and the
                rows where they are known.
        """
        try:
            store = cls(Path(path), read_manifest(Path(path)))
            if verify:
                store.verify()
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        return store

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, shape={self.shape}, dtype={self.dtype})"

    def __len__(self) -> int:
        return self.manifest.layout.N

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self).open, verify=False), (self.path,)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, K, C)"""
        layout = self.manifest.layout
        return layout.N, layout.K, layout.C

    @property
    def dtype(self) -> torch.dtype:
        return self.manifest.layout.dtype

    @property
    def parts(self) -> list[Tensor]:
        """The pool in order, as tensors [n, K, C] on memory maps of the files. They are to be read only."""
        return [self._part(map_, shard.rows) for map_, shard in zip(self._maps, self.manifest.shards, strict=True)]

    @cached_property
    def ids(self) -> list[str] | None:
        """The name of each row, if the store keeps names.

        Raises:
            StoreError: they cannot be read, there is not one for each row, or one stands twice.
            MissingExtraError: they need pyarrow, which is not installed.
        """
        items = self.manifest.items
        if items is None or ID not in items.columns:
            return None
        return checked_ids(read_table(self.path / items.file, [ID]).column(ID).to_pylist(), len(self))

    def feature_reader(self, device: torch.device | None = None) -> "PoolReader | None":
        """The features of the items [N, D], read where they are; None if the store has none."""
        return None

    def items(self) -> "pyarrow.Table | None":
        """What is kept per item, one row each, if anything is; raises as ``ids`` does."""
        items = self.manifest.items
        return read_table(self.path / items.file) if items else None

    def verify(self) -> None:
        """Reads every file once and compares its checksums, in a memory that does not grow with the store.

        Raises:
            StoreError: a file is damaged; the message names the rows of its first bad block.
        """
        self._check_sizes()
        layout = self.manifest.layout
        for span, shard in zip(layout.spans(), self.manifest.shards, strict=True):
            path = self.path / shard.file
            found = crc32s(path, DATA_OFFSET, shard.bytes - DATA_OFFSET, layout.block_rows * layout.row_bytes)
            for block, (crc, expected) in enumerate(zip(found, shard.crc32, strict=True)):
                if crc != expected:
                    start = span.first_row + block * layout.block_rows
                    end = min(start + layout.block_rows, span.first_row + span.rows) - 1
                    raise StoreError(
                        f"{path} is damaged in rows {start} to {end}: their checksum is {crc}, expected {expected}"
                    )
        items = self.manifest.items
        if items:
            (crc,) = crc32s(self.path / items.file, 0, items.bytes, items.bytes)
            if crc != items.crc32:
                raise StoreError(f"{self.path / items.file} is damaged: its checksum is {crc}, expected {items.crc32}")

    def release(self) -> None:
        """Tells the system that the pages read so far need not be held by this process, where it can be told.

        What is read again comes from the disk, or from the system's cache. A process that goes through a large
        store and releases now and then stays small.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            for map_ in self._maps:
                map_.madvise(mmap.MADV_DONTNEED)

    @cached_property
    def _maps(self) -> list[mmap.mmap]:
        return [_map(self.path / shard.file) for shard in self.manifest.shards]

    def _part(self, map_: mmap.mmap, rows: int) -> Tensor:
        with warnings.catch_warnings():
            # A read-only memory map is what is wanted: nothing is written to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            numbers = torch.from_numpy(np.frombuffer(map_, np.uint8, offset=DATA_OFFSET))
        return numbers.view(self.dtype).view(rows, *self.shape[1:])

    def _check_sizes(self) -> None:
        layout = self.manifest.layout
        spans = list(layout.spans())
        if [(span.file, span.rows, span.bytes) for span in spans] != [
            (shard.file, shard.rows, shard.bytes) for shard in self.manifest.shards
        ]:
            raise StoreError(f"{self.path}: the shards that its manifest names are not those of {layout}")
        for span in spans:
            path = self.path / span.file
            _check_size(path, span.bytes)
            with path.open("rb") as file:
                header = file.read(DATA_OFFSET)
            if header != layout.header(span.rows):
                raise StoreError(
                    f"{path} is damaged: its header is not that of log_probs [{span.rows}, {layout.K}, {layout.C}] in "
                    f"{layout.dtype}"
                )
        if self.manifest.items:
            _check_size(self.path / self.manifest.items.file, self.manifest.items.bytes)


def _check_size(path: Path, expected: int) -> None:
    if not path.is_file():
        raise StoreError(f"{path} is missing, a file of {expected} bytes")
    found = path.stat().st_size
    if found != expected:
        raise StoreError(f"{path} has {found} bytes, expected {expected}: it was cut short or changed")


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
