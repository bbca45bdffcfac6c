"""The manifest of a store: its files with sizes and checksums, and their origin.

The checksums, CRC-32, detect what happens by accident: damaged disks, cut copies, files that were exchanged. They are
no protection against intent, because anybody can compute them. What a manifest says is therefore checked before it is
used, so that a forged one cannot do more than give other numbers.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from tonsure.arguments import shown
from tonsure.durable_files import DIGITS, JSON_BYTES, check_text, file_errors, parse_json_object
from tonsure.errors import InputError, StoreError
from tonsure.predictions.store.layout import DTYPES, ITEMS, JOURNAL, MANIFEST, ArrayLayout, FeatureLayout, Layout, Span

VERSION = 2
READABLE = (1, 2)
"""Format versions. Version 1 has no features."""
READ_BYTES = 2**20
"""The bytes that are read at a time for a checksum, whatever the size of the store."""
LARGEST = 2**53
"""Of a number in a manifest."""


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
        with file_errors(path, "read"), path.open("rb") as file:
            fields = parse_json_object(file.read(JSON_BYTES + 1))
        version, found = fields.pop("version"), fields.pop("crc32")
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} cannot be read, it may be damaged: {error!r}") from error
    if type(version) is not int or version not in READABLE:
        raise StoreError(f"{path} is of format version {version!r:.40}, this tonsure reads versions 1 and {VERSION}")
    expected = _checksum({"version": version, **fields})
    if found != expected:
        raise StoreError(
            f"{path} is damaged or was edited: its checksum is {found!r:.40}, that of its content is {expected}"
        )
    try:
        return _manifest(fields)
    except ValueError as error:
        raise StoreError(f"{path} was not written by this library: {error}") from error


def plain(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are after they have been written as JSON and read again.

    Raises:
        InputError: they hold something other than text, finite numbers, lists and dicts, or too much of it.
    """
    try:
        plain = dict(fields)
        check_text(plain)
        return parse_json_object(json.dumps(plain, allow_nan=False).encode())
    except RecursionError as error:
        raise InputError(f"{name} cannot be stored as JSON: it is nested without end") from error
    except Exception as error:  # of many kinds: objects that are shown, or keys that are compared
        # Python's own words advise to change a setting of the process.
        why = f"a number has more than {DIGITS:,} digits" if "set_int_max_str_digits" in str(error) else str(error)
        raise InputError(f"{name} cannot be stored as JSON: {why:.200}; found {shown(fields)}") from error


def _manifest(fields: dict[str, Any]) -> Manifest:
    """The manifest, once it is known that it says what ``seal`` writes; raises ValueError if it does not."""
    if unknown := sorted(set(fields) - {field.name for field in fields_of(Manifest)}):
        raise ValueError(f"it has the unknown field {unknown[0]!r:.40}")
    layout = Layout(**_layout(_part(fields, "layout", dict), ("K", "C")))
    features, items = fields.get("features"), _part(fields, "items", dict | None)
    if features is not None:
        of = FeatureLayout(**_layout(_part(features, "layout", dict), ("D",)))
        features = Features(of, *_shards(of, [_part(features, "shard", dict)]))
        if of.N != layout.N:
            raise ValueError(f"it has features of {of.N:,} rows, and predictions of {layout.N:,}")
    return Manifest(
        layout=layout,
        shards=_shards(layout, _part(fields, "shards", list)),
        items=None if items is None else _items(items),
        made_by=_part(fields, "made_by", dict),
        about=_part(fields, "about", dict),
        created=_part(fields, "created", str),
        features=features,
    )


def _layout(fields: dict[str, Any], axes: tuple[str, ...]) -> dict[str, Any]:
    dtype = _part(fields, "dtype", str)
    if dtype not in DTYPES:
        raise ValueError(f"its dtype is {dtype!r:.40}, expected one of {', '.join(DTYPES)}")
    numbers = {name: _whole(fields, name, 1) for name in ("N", "rows_per_shard", "block_rows", *axes)}
    return {"dtype": DTYPES[dtype], **numbers}


def _shards(layout: ArrayLayout, found: list[Any]) -> tuple[ShardFile, ...]:
    """The files of an array, which are those that its layout tells: no others are ever opened."""
    expected = -(-layout.N // layout.rows_per_shard)  # before any of them is listed
    if len(found) != expected:
        raise ValueError(f"it has {len(found):,} files of {layout.name}, expected {expected:,}")
    return tuple(_shard(layout, *pair) for pair in zip(layout.spans(), found, strict=True))


def _shard(layout: ArrayLayout, span: Span, fields: Any) -> ShardFile:
    crc32 = _part(fields, "crc32", list)
    found, expected = [fields.get(name) for name in ("file", "rows", "bytes")], [span.file, span.rows, span.bytes]
    blocks = -(-span.rows // layout.block_rows)
    if found != expected or len(crc32) != blocks:
        raise ValueError(
            f"it has {found!r:.200} with {len(crc32):,} checksums, where {layout} has {expected} with {blocks:,}"
        )
    return ShardFile(span.file, span.rows, span.bytes, tuple(map(_crc32, crc32)))


def _items(fields: dict[str, Any]) -> Items:
    columns = _part(fields, "columns", list)
    if _part(fields, "file", str) != ITEMS or not all(isinstance(column, str) for column in columns):
        raise ValueError(f"its table of items is {fields!r:.200}, expected {ITEMS} with names of columns")
    return Items(ITEMS, _whole(fields, "bytes", 1), _crc32(fields.get("crc32")), tuple(columns))


def _part(fields: Any, name: str, kind: Any) -> Any:
    if not isinstance(fields, dict) or name not in fields or not isinstance(fields[name], kind):
        raise ValueError(f"its {name} is missing, or of another type")
    return fields[name]


def _whole(fields: dict[str, Any], name: str, least: int, largest: int = LARGEST) -> int:
    found = fields.get(name)
    if type(found) is not int or not least <= found <= largest:
        raise ValueError(f"its {name} is {found!r:.40}, expected a whole number from {least} to {largest:,}")
    return found


def _crc32(found: Any) -> int:
    return _whole({"checksum": found}, "checksum", 0, 2**32 - 1)


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
