"""The manifest of a store: what its files are, byte by byte, and what made them."""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tonsure.errors import InputError, StoreError
from tonsure.predictions.store.layout import DTYPES, JOURNAL, MANIFEST, Layout

VERSION = 1
READ_BYTES = 2**20
"""What is read at once for a checksum, whatever the size of the store."""


@dataclass(frozen=True)
class Shard:
    """A file of the store: its rows and bytes, and the checksum of each block of rows."""

    file: str
    rows: int
    bytes: int
    crc32: tuple[int, ...]


@dataclass(frozen=True)
class Items:
    """The file of what is kept per item."""

    file: str
    bytes: int
    crc32: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """What is known of a complete store.

    Attributes:
        made_by: the versions that made it, and for ``predict`` the model and a fingerprint of the inputs.
        about: what the user wanted to keep.
        created: in UTC.
    """

    layout: Layout
    shards: tuple[Shard, ...]
    items: Items | None
    made_by: dict[str, Any]
    about: dict[str, Any]
    created: str

    def to_json(self) -> dict[str, Any]:
        """Plain data, with a checksum over all of it."""
        fields = {"version": VERSION, **asdict(self), "layout": self.layout.to_json()}
        fields = plain("the manifest", fields)
        return {**fields, "crc32": _checksum(fields)}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the store in a folder.

    Raises:
        StoreError: there is no folder, no finished store in it, or its manifest is damaged or of another version.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise StoreError(f"{folder}: there is no such folder")
    if not path.is_file():
        raise StoreError(
            f"{folder} was not finished: call predict again with the same arguments to go on"
            if (folder / JOURNAL).is_file()
            else f"{folder} is no store of predictions: it has no {MANIFEST}"
        )
    try:
        fields = json.loads(path.read_bytes())
        version, found = fields.pop("version"), fields.pop("crc32")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(f"{path} cannot be read, it may be damaged: {error!r}") from error
    if version != VERSION:
        raise StoreError(f"{path} is of format version {version!r}, this tonsure reads version {VERSION}")
    expected = _checksum({"version": version, **fields})
    if found != expected:
        raise StoreError(f"{path} is damaged or was edited: its checksum is {found}, of its text {expected}")
    try:
        return _manifest(**fields)
    except (KeyError, TypeError) as error:
        raise StoreError(f"{path} lacks something or has too much: {error!r}") from error


def plain(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they will be read again.

    Raises:
        InputError: they hold more than text, numbers, lists and dicts.
    """
    try:
        return json.loads(json.dumps(dict(fields), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be kept as JSON: {error}; found {fields!r}") from error


def _manifest(
    layout: dict[str, Any], shards: list[dict[str, Any]], items: dict[str, Any] | None, **others: Any
) -> Manifest:
    return Manifest(
        Layout(**{**layout, "dtype": DTYPES[layout["dtype"]]}),
        tuple(Shard(**{**shard, "crc32": tuple(shard["crc32"])}) for shard in shards),
        Items(**{**items, "columns": tuple(items["columns"])}) if items else None,
        **others,
    )


def _checksum(fields: dict[str, Any]) -> int:
    # Of the values, not of the spaces between them.
    return zlib.crc32(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())


def crc32s(path: Path, offset: int, size: int, block: int) -> Iterator[int]:
    """The checksums of ``size`` bytes from ``offset`` on, ``block`` by ``block``, through a small buffer.

    Raises:
        StoreError: the file ends before.
    """
    buffer = memoryview(bytearray(READ_BYTES))
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        for start in range(0, size, block):
            left, crc = min(block, size - start), 0
            while left:
                count = file.readinto(buffer[:left])
                if not count:
                    raise StoreError(f"{path} ends at byte {file.tell()}, expected {offset + size} bytes")
                crc = zlib.crc32(buffer[:count], crc)
                left -= count
            yield crc
