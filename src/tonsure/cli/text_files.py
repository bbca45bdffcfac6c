"""Text files of ids and rows, read strictly: what is odd is refused with the number of its line.

People pay annotators by ids, so an id is never guessed: a line ends with ``\\n``, ``\\r\\n`` or ``\\r`` and with
nothing else, every line counts, and every line of a table has all columns.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tonsure.durable_files import file_errors, parse_json_object
from tonsure.errors import InputError

SEPARATORS = ",;\t|"
"""What other programs write between columns."""

SHOWN = 60
"""At most so many characters of a value are shown in a message."""


@dataclass(frozen=True)
class TextFile:
    """The content of a text file.

    Attributes:
        columns: the names of the columns; None if each line is one value.
        rows: the number of the line, from 1, and the values of each row by column (by "" without columns).
    """

    path: Path
    columns: list[str] | None
    rows: Sequence[tuple[int, Mapping[str, Any]]]

    def values(self, column: str = "") -> Iterator[tuple[str, str]]:
        """The place of each value, for messages, and the value.

        Raises:
            InputError: there is no such column, or a value of JSON is missing or neither a text nor a whole number.
        """
        if column not in (self.columns or [""]):
            near = [name for name in self.columns or () if name.strip().lower() == column.lower()]
            hint = f"expected {column!r}, found {near[0]!r}" if near else f"none is named {column!r}"
            raise InputError(f"{self.path} has the columns {', '.join(self.columns or ()) or '(none)'}; {hint}")
        for line, row in self.rows:
            place = f"{self.path}, line {line}"
            yield place, _checked(place, row.get(column), column)


def read_text_file(path: Path) -> TextFile:
    """Reads a file with one value per line (.txt, or no ending), or a table: .csv and .tsv with a header, or .jsonl.

    Raises:
        InputError: the ending is another one, or the file is not UTF-8, or a table is malformed; the message names
            the line.
        FileError: the file cannot be read.
    """
    # A name such as .csv has no ending.
    reader = None if path.name.lower() in READERS else READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path}: expected .txt with one id or row per line, or a table: .csv or .tsv with a header, or .jsonl"
        )
    return reader(path, _text(path))


def _text(path: Path) -> str:
    with file_errors(path, "read"):
        content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + len(re.findall(rb"\r\n|\r|\n", content[: error.start]))
        raise InputError(
            f"{path}, line {line}: expected UTF-8, found the byte 0x{content[error.start]:02x} ({error.reason})"
        ) from error


def _lines(text: str) -> list[str]:
    # Not splitlines, which also ends lines at form feeds, U+0085, U+2028 and others.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def _read_list(path: Path, text: str) -> TextFile:
    lines = _lines(text)
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("{"):
            try:
                parse_json_object(line.encode())
            except ValueError:
                continue
            raise InputError(
                f"{path}, line {number}: expected one id or row per line, found a JSON object; name the file .jsonl"
            )
    return TextFile(path, None, [(line, {"": value}) for line, value in enumerate(lines, start=1)])


def _read_json_lines(path: Path, text: str) -> TextFile:
    rows = []
    for number, line in enumerate(_lines(text), start=1):
        try:
            rows.append((number, parse_json_object(line.encode())))
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    return TextFile(path, list(dict.fromkeys(chain.from_iterable(row for _, row in rows))), rows)


def _read_table(path: Path, text: str, separator: str) -> TextFile:
    header: list[str] | None = None
    rows = []
    for line, values in _table_lines(path, text, separator):
        if header is None:
            header = values
            _check_header(path, header, separator)
        elif len(values) != len(header):
            found = f"{len(values)} values" if values else "an empty line"
            raise InputError(f"{path}, line {line}: expected {len(header)} values, as in the header, found {found}")
        else:
            rows.append((line, dict(zip(header, values, strict=True))))
    return TextFile(path, header or [], rows)


def _table_lines(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The values of each row with the number of its first line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    limit = csv.field_size_limit(len(text) + 1)  # another column may hold documents
    line = 1
    try:
        for values in reader:
            yield line, values
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _check_header(path: Path, header: list[str], separator: str) -> None:
    wrong = next((mark for mark in SEPARATORS if len(header) == 1 and mark in header[0]), None)
    if wrong is not None:
        raise InputError(f"{path}, line 1: the columns are separated by {wrong!r}, expected {separator!r}")
    for name in header:
        if name and header.count(name) > 1:
            raise InputError(f"{path}, line 1: the header names the column {name!r} twice")


def _checked(place: str, value: Any, column: str) -> str:
    what = f" in column {column!r}" if column else ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        found = "nothing" if value is None else f"{value!r:.{SHOWN}}"
        raise InputError(f"{place}: expected a text or a whole number{what}, found {found}")
    return value


READERS: Mapping[str, Callable[[Path, str], TextFile]] = {
    "": _read_list,
    ".txt": _read_list,
    ".csv": lambda path, text: _read_table(path, text, ","),
    ".tsv": lambda path, text: _read_table(path, text, "\t"),
    ".jsonl": _read_json_lines,
}
"""How a file is read, by its ending in small letters."""
