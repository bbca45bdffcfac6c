"""The last step of writing a store: the table of items and the manifest, after all numbers are written."""

import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tonsure.durable_files import folder_to_make, sync, write_file
from tonsure.errors import FileError, StoreError
from tonsure.predictions.store.items import write_table
from tonsure.predictions.store.layout import DATA_OFFSET, ITEMS, MANIFEST, ArrayLayout, FeatureLayout, Layout
from tonsure.predictions.store.manifest import Features, Items, Manifest, ShardFile, crc32s, plain

if TYPE_CHECKING:
    import pyarrow


def seal(
    folder: Path,
    layout: Layout,
    features: FeatureLayout | None,
    items: "pyarrow.Table | None",
    fingerprint: Mapping[str, Any],
    about: Mapping[str, Any] | None,
) -> None:
    """Waits until the numbers are on the disk, then writes the items, and finally the manifest with all checksums.

    Both are written atomically, so a folder that has a manifest is complete, wherever the process is killed.
    """
    shards = _sealed(folder, layout)
    feature_shards = _sealed(folder, features) if features else ()
    if items is None:
        (folder / ITEMS).unlink(missing_ok=True)  # of an earlier call that was killed
    manifest = Manifest(
        layout=layout,
        shards=shards,
        features=Features(features, *feature_shards) if features else None,
        items=_write_items(folder / ITEMS, items) if items is not None else None,
        made_by={"tonsure": version("tonsure"), "torch": torch.__version__, **fingerprint},
        about=plain("about", about or {}),
        created=now(),
    )
    text = json.dumps(manifest.to_json(), indent=1)
    write_file(folder / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sealed(folder: Path, layout: ArrayLayout) -> tuple[ShardFile, ...]:
    """The shards of an array, on the disk, with their checksums."""
    shards = []
    for span in layout.spans():
        path = folder / span.file
        sync(path)
        crcs = crc32s(path, DATA_OFFSET, span.bytes - DATA_OFFSET, layout.block_rows * layout.row_bytes)
        shards.append(ShardFile(span.file, span.rows, span.bytes, tuple(crcs)))
    return tuple(shards)


def _write_items(path: Path, items: "pyarrow.Table") -> Items:
    write_file(path, lambda partial: write_table(items, partial))
    size = path.stat().st_size
    (crc,) = crc32s(path, 0, size, size)
    return Items(path.name, size, crc, tuple(items.column_names))


@contextmanager
def writing_to(folder: Path, needed: int | None, then: str = "the same call continues from here") -> Iterator[None]:
    """A context that turns errors of the operating system into errors that name the folder and the remedy.

    Args:
        needed: the bytes that the whole store needs; None if they are not known.
        then: what happens when the call is repeated.

    Raises:
        StoreError: the disk or the quota is full, or the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(_no_room(folder, needed, then)) from error
        raise StoreError(f"{folder}: it cannot be written: {error}") from error


def check_place(path: Path) -> None:
    """Checks, before anything is computed, that there may be a store; raises StoreError if not."""
    try:
        folder_to_make(path)
    except FileError as error:
        raise StoreError(str(error)) from error


def check_room(folder: Path, needed: int, then: str) -> None:
    """Raises StoreError if the disk has less room than the whole store needs; a quota is met only in writing."""
    free = _free(folder)
    if free is not None and free < needed:
        raise StoreError(_no_room(folder, needed, then))


def _no_room(folder: Path, needed: int | None, then: str) -> str:
    size = "an unknown number of" if needed is None else f"{needed:,}"
    free = _free(folder)
    shown = "" if free is None else f", and {free:,} are free"
    return f"{folder}: the disk is full; the store needs {size} bytes{shown}. Make room: {then}"


def _free(folder: Path) -> int | None:
    """The bytes that are free where the folder is, or would be; None if the system does not tell."""
    try:
        usage = shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists()))
        return usage.free if usage.total else None  # of a disk that is none, such as /proc
    except OSError:
        return None
