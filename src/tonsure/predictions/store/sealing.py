"""From shards that are all written to a complete store."""

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tonsure.errors import StoreError
from tonsure.predictions.store.items import write_table
from tonsure.predictions.store.layout import DATA_OFFSET, ITEMS, MANIFEST, Layout
from tonsure.predictions.store.manifest import Items, Manifest, Shard, crc32s, plain

if TYPE_CHECKING:
    import pyarrow


def seal(
    folder: Path,
    layout: Layout,
    items: "pyarrow.Table | None",
    fingerprint: Mapping[str, Any],
    about: Mapping[str, Any] | None,
) -> None:
    """Brings the shards to the disk, then writes the items, and at last the manifest with all checksums.

    Both are written beside and renamed: whatever is killed, a folder that has a manifest is complete.
    """
    shards = []
    for span in layout.spans():
        path = folder / span.file
        sync(path)
        crcs = crc32s(path, DATA_OFFSET, span.bytes - DATA_OFFSET, layout.block_rows * layout.row_bytes)
        shards.append(Shard(span.file, span.rows, span.bytes, tuple(crcs)))
    if items is None:
        (folder / ITEMS).unlink(missing_ok=True)  # of an earlier call that was killed
    manifest = Manifest(
        layout=layout,
        shards=tuple(shards),
        items=_write_items(folder / ITEMS, items) if items is not None else None,
        made_by={"tonsure": version("tonsure"), "torch": torch.__version__, **fingerprint},
        about=plain("about", about or {}),
        created=now(),
    )
    text = json.dumps(manifest.to_json(), indent=1)
    write_file(folder / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_items(path: Path, items: "pyarrow.Table") -> Items:
    write_file(path, lambda beside: write_table(items, beside))
    size = path.stat().st_size
    (crc,) = crc32s(path, 0, size, size)
    return Items(path.name, size, crc, tuple(items.column_names))


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Has a file written beside its place, on the disk, and renamed: there is never half of one."""
    beside = path.with_name(f".{path.name}")
    write(beside)
    sync(beside)
    beside.replace(path)
    if os.name == "posix":  # elsewhere a folder cannot be opened, and a rename needs no more
        sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def writing_to(folder: Path, needed: int, then: str = "the same call goes on from here") -> Iterator[None]:
    """A context in which what the system has against writing is said with the folder, and what to do.

    Raises:
        StoreError: the disk, or one's share of it, is full, or the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = f"the disk is full; the store needs {needed:,} bytes. Make room: {then}"
        else:
            why = f"it cannot be written: {error}"
        raise StoreError(f"{folder}: {why}") from error
