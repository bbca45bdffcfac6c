"""The table of items in a store: one row per item, in a Parquet file. The column ``id`` names the items."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tonsure.arguments import LARGEST, refusal, shown
from tonsure.errors import InputError, MissingExtraError, StoreError

if TYPE_CHECKING:
    import pyarrow

ID = "id"

TABLE_BYTES, ROW_BYTES = 2**30, 2**8
"""The largest table in memory: so many bytes, and so many more for each row. A small file may unpack to any size."""

NO_CHARACTER = "[\0\ufeff\ud800-\udfff]"
"""NUL, a mark of byte order in the middle of a text, and halves of characters, which JSON allows."""


def make_table(ids: Iterable[object] | None, items: Any, rows: int) -> "pyarrow.Table | None":
    """The table to store: ``ids``, as text, before the columns of ``items``; None if there are neither.

    Args:
        ids: one for each row; None takes the column ``id`` of ``items``, if it has one.
        items: a pyarrow table, or anything that pyarrow makes a table of: columns by name, or a data frame.
        rows: N

    Raises:
        InputError: ``items`` is not a table, or has a column ``id`` and ``ids`` are given too; or an id is
            neither a text nor a whole number, is empty, or has blanks or characters that nobody sees around it.
        StoreError: there is not one id, or one row of ``items``, for each row; an id is repeated; or the table would
            be larger than what is read again.
        MissingExtraError: pyarrow is not installed.
    """
    table = _table(ids, items, rows)
    if table is not None:
        _check_size("the table of ids and items", table.nbytes, rows)
    return table


def _table(ids: Iterable[object] | None, items: Any, rows: int) -> "pyarrow.Table | None":
    if ids is None and items is None:
        return None
    pyarrow = _library()
    table = pyarrow.table({}) if items is None else _as_table(items)
    if ID in table.column_names:
        if ids is not None:
            raise InputError(f"items have a column {ID!r}, and ids are given too: expected only one of them")
        ids = table.column(ID).to_pylist()
        table = table.drop_columns([ID])
    if items is not None and len(table) != rows and table.num_columns:
        raise StoreError(f"items have {len(table)} rows, but the predictions have {rows}")
    if ids is None:
        return table
    names = checked_ids(_texts(ids), rows)
    column = pyarrow.array(names, pyarrow.string())
    return pyarrow.table({ID: column, **{name: table.column(name) for name in table.column_names}})


def checked_ids(ids: Sequence[str], rows: int) -> list[str]:
    """The ids, after checking them.

    Raises:
        StoreError: there is not one for each row, or one is repeated.
    """
    if len(ids) != rows:
        raise StoreError(f"there are {len(ids)} ids, but the predictions have {rows} rows")
    first_row: dict[str, int] = {}
    for row, name in enumerate(ids):
        if first_row.setdefault(name, row) != row:
            raise StoreError(f"the id {name!r} is repeated, at rows {first_row[name]} and {row}")
    return list(ids)


def write_table(table: "pyarrow.Table", path: Path) -> None:
    _library()
    from pyarrow import parquet

    with path.open("wb") as file:
        parquet.write_table(table, file)


def read_table(path: Path, rows: int, columns: list[str] | None = None) -> "pyarrow.Table":
    """The table, which has so many rows, or some of its columns.

    Raises:
        StoreError: the file cannot be read, or has another number of rows.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = _library()
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            found = file.metadata.num_rows
            if found != rows:  # before they are read: a small file may hold any number of rows that are the same
                raise StoreError(f"{path} has {found:,} rows, but the predictions have {rows:,}")
            names = [name for name in file.schema_arrow.names if columns is None or name in columns]
            _check_size(str(path), _unpacked(file.metadata, names), rows)
            types = {name: file.schema_arrow.field(name).type for name in names}
        # Equal values are read once, and counted before each has a place of its own.
        texts = [name for name, type_ in types.items() if type_ in _types_of_text(pyarrow)]
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read(columns=names)
        _check_size(str(path), sum(_size(column) for column in table.columns), rows)
        for place, name in enumerate(table.column_names):
            if name in texts:
                table = table.set_column(place, name, table.column(place).cast(types[name]))
        table.validate(full=True)  # that texts are UTF-8, too
        return table
    except (OSError, MemoryError, ValueError, pyarrow.ArrowException) as error:
        raise StoreError(f"{path} cannot be read, it may be damaged: {error}") from error


def _types_of_text(pyarrow: Any) -> list[Any]:
    return [pyarrow.string(), pyarrow.large_string(), pyarrow.binary(), pyarrow.large_binary()]


def _check_size(what: str, size: int, rows: int) -> None:
    most = TABLE_BYTES + ROW_BYTES * rows
    if not 0 <= size <= most:
        raise StoreError(f"{what} would take {size:,} bytes of memory for {rows:,} rows, expected at most {most:,}")


def _unpacked(metadata: Any, names: Sequence[str]) -> int:
    """The bytes of some columns, as the file states them."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in names)


def _size(column: Any) -> int:
    """The bytes of a column, with a place for every value."""
    from pyarrow import compute

    size = 0
    for chunk in column.chunks:
        size += chunk.nbytes
        if hasattr(chunk, "dictionary"):
            size += compute.sum(compute.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
    return size


def read_ids(path: Path, rows: int) -> list[str]:
    """The names of the rows; raises as ``read_table`` and ``checked_ids``."""
    columns = read_table(path, rows, [ID]).columns
    types = [column.type for column in columns]
    if types not in ([_library().string()], [_library().large_string()]) or columns[0].null_count:
        found = f"of type {types[0]}" if types else "missing"
        raise StoreError(f"{path}: the column {ID!r} is {found}, expected a text in every row")
    return checked_ids(columns[0].to_pylist(), rows)


def fault_of_id(text: str) -> str | None:
    """What is wrong with an id; None if nothing is. People pay annotators by ids, so none may look like another."""
    if not text:
        return "is empty"
    if text != text.strip() or any(unicodedata.category(end) in ("Cc", "Cf") for end in (text[0], text[-1])):
        return "has blanks, or characters that nobody sees, around it"
    if re.search(NO_CHARACTER, text):
        return "is no text"
    return None


def _texts(ids: object) -> list[str]:
    expected = "one name for each row, a text or a whole number, in the order of the rows"
    if isinstance(ids, str | bytes | Mapping | set | frozenset) or not isinstance(ids, Iterable):
        raise refusal("ids", ids, expected)
    try:
        listed = list(ids)
    except Exception as error:  # whatever an object raises that is asked for its items
        raise InputError(f"ids are {shown(ids)}, which cannot be read ({error!r}), expected {expected}") from error
    return [_text(row, name) for row, name in enumerate(listed)]


def _text(row: int, name: object) -> str:
    given = fspath(name) if isinstance(name, PathLike) else name
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        given = f"{int(given)}" if abs(int(given)) <= LARGEST else None
    if not isinstance(given, str):
        raise InputError(f"the id of row {row} is {shown(name)}, expected a text or a whole number")
    if fault := fault_of_id(given):
        raise InputError(f"the id of row {row}, {shown(given)}, {fault}; expected a text")
    return str(given)


def _as_table(items: Any) -> Any:
    pyarrow = _library()
    try:
        return items if isinstance(items, pyarrow.Table) else pyarrow.table(items)
    except Exception as error:  # those of pyarrow, and whatever an object raises that is asked for its columns
        raise InputError(f"items are {shown(items)}, expected a table or columns by name: {error}") from error


def _library() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("A store with ids or items", "store") from error
    return pyarrow
