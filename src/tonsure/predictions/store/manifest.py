"""The manifest of a store: its files with sizes and checksums, and their origin."""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tonsure.errors import InputError, StoreError
from tonsure.predictions.store.layout import DTYPES, JOURNAL, MANIFEST, ArrayLayout, FeatureLayout, Layout

VERSION = 2
READABLE = (1, 2)
"""Format versions. Version 1 has no features."""
READ_BYTES = 2**20
"""The bytes that are read at a time for a checksum, whatever the size of the store."""


@dataclass(frozen=True)
class ShardFile:
    """A file of numbers: its rows and bytes, and the checksum of each block of rows."""

    file: str
    rows: int
    bytes: int
    crc32: tuple[int, ...]


@dataclass(frozen=True)
class Features:
    """The file of the features."""

    layout: FeatureLayout
    shard: ShardFile


@dataclass(frozen=True)
class Items:
    """The file of the table of items."""

    file: str
    bytes: int
    crc32: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """The description of a complete store.

    Attributes:
        layout: of the predictions.
        shards: of the predictions.
        made_by: the versions of tonsure and torch, and after ``predict`` the model and a fingerprint of the inputs.
        about: the data of the user about the whole store.
        created: in UTC.
    """

    layout: Layout
    shards: tuple[ShardFile, ...]
    items: Items | None
    made_by: dict[str, Any]
    about: dict[str, Any]
    created: str
    features: Features | None = None

    def arrays(self) -> list[tuple[ArrayLayout, tuple[ShardFile, ...]]]:
        """The layout and the shards of the predictions, and of the features if there are any."""
        features = [(self.features.layout, (self.features.shard,))] if self.features else []
        return [(self.layout, self.shards), *features]

    def to_json(self) -> dict[str, Any]:
        """Plain data, with a checksum over all of it."""
        fields = {"version": VERSION, **asdict(self), "layout": self.layout.to_json()}
        if self.features:
            fields["features"]["layout"] = self.features.layout.to_json()
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
            f"{folder} was not finished: call predict again with the same arguments to continue"
            if (folder / JOURNAL).is_file()
            else f"{folder} is not a store: it has no {MANIFEST}"
        )
    try:
        fields = json.loads(path.read_bytes())
        version, found = fields.pop("version"), fields.pop("crc32")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(f"{path} cannot be read, it may be damaged: {error!r}") from error
    if version not in READABLE:
        raise StoreError(f"{path} is of format version {version!r}, this tonsure reads versions 1 and {VERSION}")
    expected = _checksum({"version": version, **fields})
    if found != expected:
        raise StoreError(f"{path} is damaged or was edited: its checksum is {found}, that of its content is {expected}")
    try:
        return _manifest(**fields)
    except (KeyError, TypeError) as error:
        raise StoreError(f"{path} has missing or unknown fields: {error!r}") from error


def plain(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are after they have been written as JSON and read again.

    Raises:
        InputError: they hold something other than text, numbers, lists and dicts.
    """
    try:
        return json.loads(json.dumps(dict(fields), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be stored as JSON: {error}; found {fields!r}") from error


def _manifest(
    layout: dict[str, Any],
    shards: list[dict[str, Any]],
    items: dict[str, Any] | None,
    features: dict[str, Any] | None = None,
    **others: Any,
) -> Manifest:
    return Manifest(
        layout=Layout(**_with_dtype(layout)),
        shards=tuple(_shard(**shard) for shard in shards),
        items=Items(**{**items, "columns": tuple(items["columns"])}) if items else None,
        features=_features(**features) if features else None,
        **others,
    )


def _features(layout: dict[str, Any], shard: dict[str, Any]) -> Features:
    return Features(FeatureLayout(**_with_dtype(layout)), _shard(**shard))


def _shard(crc32: list[int], **others: Any) -> ShardFile:
    return ShardFile(**others, crc32=tuple(crc32))


def _with_dtype(layout: dict[str, Any]) -> dict[str, Any]:
    return {**layout, "dtype": DTYPES[layout["dtype"]]}


def _checksum(fields: dict[str, Any]) -> int:
    # Of the values, not of the spaces between them.
    return zlib.crc32(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())


def crc32s(path: Path, offset: int, size: int, block: int) -> Iterator[int]:
    """The checksums of ``size`` bytes from ``offset`` on, one for each ``block`` bytes, read through a small buffer.

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
