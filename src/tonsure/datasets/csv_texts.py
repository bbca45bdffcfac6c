"""Rows of CSV files with a fixed number of fields."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from tonsure.datasets.files import unpacked
from tonsure.errors import InputError


def read_csv(path: Path, fields: int) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file, gzipped or not, each with the number of its last line, from 1.

    Raises:
        InputError: the file is missing or damaged, is not UTF-8, or a row has more or fewer fields; the message names
            the file and the line.
    """
    rows = csv.reader(io.StringIO(as_text(path)), strict=True)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{path}, line {rows.line_num}: {error}") from error
        if len(row) != fields:
            raise InputError(f"{path}, line {rows.line_num}: {len(row)} fields, expected {fields}: {row}")
        yield rows.line_num, row


def as_text(path: Path) -> str:
    """The content of a UTF-8 file, gzipped or not.

    Raises:
        InputError: the file is missing, damaged, or not UTF-8; the message names it.
    """
    try:
        return unpacked(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8: {error}") from error
