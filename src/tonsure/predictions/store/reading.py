"""A pool's predictions and features on disk: written once, read as memory maps, selected from many times."""

import mmap
import warnings
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.arguments import as_path, flag
from tonsure.errors import StoreError
from tonsure.predictions.checks import check_features, check_log_probs
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store.items import ID, read_ids, read_table
from tonsure.predictions.store.layout import DATA_OFFSET, ArrayLayout
from tonsure.predictions.store.manifest import Manifest, crc32s, read_manifest

if TYPE_CHECKING:
    import pyarrow


class Store:
    """The predictions log p(y = c | x_i, θ_k) of a pool, in nats, and optionally its features, in a folder.

    ``Store.open`` opens a store, ``tonsure.predict(…, out=…)`` and ``tonsure.write_store`` make one. A store is
    never changed after that. It is pickled as its path.

    Attributes:
        path: the folder.
        manifest: the description of the store.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._check_sizes()

    @classmethod
    def open(cls, path: str | PathLike[str], *, verify: bool = True) -> "Store":
        """Opens the store in a folder.

        Args:
            verify: read all of it once to compare the checksums. Sizes and headers are always checked. Checksums
                detect accidents, not intent; the numbers themselves are checked by ``check``.

        Raises:
            InputError: the path is none, or ``verify`` is neither True nor False.
            StoreError: there is no store, it was not finished, or it is damaged; the message names the file, and the
                rows if they are known.
        """
        folder, verify = as_path("path", path), flag("verify", verify)
        try:
            store = cls(folder, read_manifest(folder))
            if verify:
                store.verify()
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        return store

    def __repr__(self) -> str:
        features = self.manifest.features
        shown = f", features={(features.layout.N, features.layout.D)}" if features else ""
        return f"Store({str(self.path)!r}, shape={self.shape}, dtype={self.dtype}{shown})"

    def __len__(self) -> int:
        return self.manifest.layout.N

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self).open, verify=False), (self.path,)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (N, K, C) of the predictions."""
        layout = self.manifest.layout
        return layout.N, layout.K, layout.C

    @property
    def dtype(self) -> torch.dtype:
        """The type of the predictions."""
        return self.manifest.layout.dtype

    @property
    def parts(self) -> list[Tensor]:
        """The predictions in order, as read-only tensors [n, K, C] on memory maps of the files."""
        layout = self.manifest.layout
        return [_on_map(map_, layout, shard.rows) for map_, shard in zip(self._maps, self.manifest.shards, strict=True)]

    @property
    def features(self) -> Float[Tensor, "N D"] | None:
        """The features of the items, as a read-only tensor on a memory map of their file; None if there are none."""
        if self.manifest.features is None or self._feature_map is None:
            return None
        return _on_map(self._feature_map, self.manifest.features.layout, len(self))

    def feature_reader(self, device: torch.device | None = None) -> PoolReader | None:
        """A reader of the features, which stay on the disk; None if there are none.

        Args:
            device: where rows are moved when they are read.
        """
        features_N_D = self.features
        if features_N_D is None:
            return None
        return PoolReader(
            [features_N_D], device=device, release=self._release_features, path=str(self.path), of="features"
        )

    @cached_property
    def ids(self) -> list[str] | None:
        """The name of each row, if the store has names.

        Raises:
            StoreError: they cannot be read, their number is not N, or one is repeated.
            MissingExtraError: pyarrow is not installed.
        """
        items = self.manifest.items
        if items is None or ID not in items.columns:
            return None
        self._check_items()
        return read_ids(self.path / items.file, len(self))

    def items(self) -> "pyarrow.Table | None":
        """The table of items, with one row each, if the store has one; raises as ``ids``."""
        self._check_items()
        items = self.manifest.items
        return read_table(self.path / items.file, len(self)) if items else None

    def verify(self) -> None:
        """Reads every file once and compares its checksums, in an amount of memory that does not depend on the store.

        Raises:
            StoreError: a file is damaged; the message names the rows of its first damaged block.
        """
        self._check_sizes()
        for layout, shards in self.manifest.arrays():
            for span, shard in zip(layout.spans(), shards, strict=True):
                path = self.path / shard.file
                found = crc32s(path, DATA_OFFSET, shard.bytes - DATA_OFFSET, layout.block_rows * layout.row_bytes)
                for block, (crc, expected) in enumerate(zip(found, shard.crc32, strict=True)):
                    if crc != expected:
                        start = span.first_row + block * layout.block_rows
                        end = min(start + layout.block_rows, span.first_row + span.rows) - 1
                        raise StoreError(
                            f"{path} is damaged in rows {start} to {end}: their checksum is {crc}, expected {expected}"
                        )
        self._check_items()

    def _check_items(self) -> None:
        """Raises StoreError if the table of items is damaged, before a library reads it that may end the process."""
        items = self.manifest.items
        if items:
            (crc,) = crc32s(self.path / items.file, 0, items.bytes, items.bytes)
            if crc != items.crc32:
                raise StoreError(f"{self.path / items.file} is damaged: its checksum is {crc}, expected {items.crc32}")

    def check(self) -> None:
        """Checks all numbers as ``write_store`` does, for a store of somebody else: nothing repeats that on opening.

        Checksums tell whether the files are those that were written, and anybody can compute them. They do not tell
        whether the numbers are distributions; ``predict`` and ``write_store`` write nothing else.

        Raises:
            InputError: predictions are no log-probabilities, or features are not finite; the message names the row.
        """
        check_log_probs(self.parts)
        self.release()
        if self.features is not None:
            check_features(self.features, self._release_features)

    def release(self) -> None:
        """Tells the operating system that the pages of the predictions that were read may be dropped from memory.

        They are read again from the disk, or from the system's cache, when they are needed. A process that reads a
        large store and releases it from time to time stays small. Without effect on systems that cannot be told.
        """
        _release(self._maps)

    def _release_features(self) -> None:
        if self._feature_map is not None:
            _release([self._feature_map])

    @cached_property
    def _maps(self) -> list[mmap.mmap]:
        return [_map(self.path / shard.file) for shard in self.manifest.shards]

    @cached_property
    def _feature_map(self) -> mmap.mmap | None:
        return _map(self.path / self.manifest.features.shard.file) if self.manifest.features else None

    def _check_sizes(self) -> None:
        for layout, _ in self.manifest.arrays():
            for span in layout.spans():
                path = self.path / span.file
                _check_size(path, span.bytes)
                with path.open("rb") as file:
                    header = file.read(DATA_OFFSET)
                if header != layout.header(span.rows):
                    raise StoreError(
                        f"{path} is damaged: its header is not that of {layout.name} "
                        f"{[span.rows, *layout.row_shape]} in {layout.dtype}"
                    )
        if self.manifest.items:
            _check_size(self.path / self.manifest.items.file, self.manifest.items.bytes)


def _on_map(map_: mmap.mmap, layout: ArrayLayout, rows: int) -> Float[Tensor, "n ..."]:
    """The numbers of a shard."""
    with warnings.catch_warnings():
        # The map is read-only on purpose; the tensor is never written to.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        numbers = torch.from_numpy(np.frombuffer(map_, np.uint8, offset=DATA_OFFSET))
    return numbers.view(layout.dtype).view(rows, *layout.row_shape)


def _release(maps: list[mmap.mmap]) -> None:
    if hasattr(mmap, "MADV_DONTNEED"):
        for map_ in maps:
            map_.madvise(mmap.MADV_DONTNEED)


def _check_size(path: Path, expected: int) -> None:
    if not path.is_file():
        raise StoreError(f"{path} is missing, a file of {expected} bytes")
    found = path.stat().st_size
    if found != expected:
        raise StoreError(f"{path} has {found} bytes, expected {expected}: it was cut short or changed")


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
