"""Files of other people that hold lines: names and rows that come in, rows that go out."""

import csv
import io
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tonsure.comparison.compare import Batch, Comparison
from tonsure.durable_files import write_file
from tonsure.errors import InputError
from tonsure.selection import Selection

WRITABLE = (".csv", ".jsonl")


def read_ids(path: Path, column: str | None, rows: int) -> list[str]:
    """One name for each row: the lines of a text file, or a column of a CSV file with a header.

    Raises:
        InputError: the file cannot be read, there is no such column, their number differs from ``rows``, or a name
            stands twice.
    """
    text = _text(path)
    ids = _column(path, text, column) if path.suffix == ".csv" else text.splitlines()
    if len(ids) != rows:
        raise InputError(f"{path} names {len(ids)} items, but the predictions have {rows} rows")
    first_line: dict[str, int] = {}
    for line, name in enumerate(ids):
        if name in first_line:
            raise InputError(f"{path} names {name!r} twice, as items {first_line[name]} and {line}, counted from 0")
        first_line[name] = line
    return ids


def read_rows(path: Path, ids: list[str] | None, rows: int) -> list[int]:
    """The rows that a file names, in its order, each once.

    A text file has a name on each line, if the items have names, or else a row. A CSV file, as ``write_selection``
    writes it, has them in its column ``id``, if it has one and the items have names, or else in ``row``.

    Raises:
        InputError: the file cannot be read, has neither column, or a line names none of the items.
    """
    text = _text(path)
    lines, named = text.splitlines(), ids is not None
    if path.suffix == ".csv":
        header = csv.DictReader(io.StringIO(text, newline="")).fieldnames or []
        named = named and "id" in header
        lines = _column(path, text, "id" if named else "row")
    row_of = {name: row for row, name in enumerate(ids or ())} if named else {}
    found: dict[int, None] = {}
    for line, name in enumerate(lines):
        row = row_of.get(name) if named else _number(name)
        if row is None or not 0 <= row < rows:
            expected = "a name of an item" if named else f"a row from 0 to {rows - 1}"
            raise InputError(f"{path} names {name!r} as item {line}, counted from 0; expected {expected}")
        found[row] = None
    return list(found)


def read_labels(path: Path, ids: list[str] | None, rows: int) -> tuple[list[int], list[int] | None]:
    """The labeled rows that a file names, as ``read_rows``, and their classes, if it has a column ``label``.

    Raises:
        InputError: as ``read_rows``, or a label is no whole number of at least 0.
    """
    found = read_rows(path, ids, rows)
    text = _text(path)
    header = csv.DictReader(io.StringIO(text, newline="")).fieldnames or [] if path.suffix == ".csv" else []
    if "label" not in header:
        return found, None
    classes = []
    lines = _column(path, text, "label")
    if len(lines) != len(found):
        raise InputError(f"{path} names a row twice: {len(lines)} lines for {len(found)} rows")
    for line, name in enumerate(lines):
        label = _number(name or "")
        if label is None:
            raise InputError(f"{path} has the label {name!r} for item {line}, counted from 0; expected a class, from 0")
        classes.append(label)
    return found, classes


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _column(path: Path, text: str, column: str | None) -> list[str]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    header = rows.fieldnames or []
    if column is None and len(header) == 1:
        column = header[0]
    if column not in header:
        wanted = "--ids-column says which" if column is None else f"none is named {column!r}"
        raise InputError(f"{path} has the columns {', '.join(header) or '(none)'}; {wanted}")
    return [row[column] for row in rows]


def check_ending(path: Path) -> None:
    """Raises InputError if rows cannot be written to such a file."""
    if path.suffix not in WRITABLE:
        raise InputError(f"{path}: rows are written to files that end in {' or '.join(WRITABLE)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")


def write_selection(selection: Selection, ids: list[str] | None, path: Path | None) -> None:
    """Rank (from 1), row, id if there are any, and gain, in the order chosen: CSV, or JSON lines if so named.

    A file is written beside and renamed, so that there is never half of one. None is the standard output.
    """
    lines = _ranked(selection, ids)
    if path is None:
        sys.stdout.write(_csv(lines))
    else:
        _write(path, lines)


def write_comparison(comparison: Comparison, ids: list[str] | None, path: Path) -> None:
    """What every method chose, with its numbers, in the units of ``Batch``; written as ``write_selection`` does.

    CSV: a line for every row chosen, with the method's name before it and its numbers, the same on all its lines,
    after it. JSON lines: one for every method, with what it shares of its rows with each of them, and its rows.
    """
    lines: list[dict[str, Any]] = []
    for name, batch in comparison.batches.items():
        chosen = _ranked(batch.selection, ids)
        if path.suffix == ".csv":
            lines += [{"method": name} | line | _numbers(batch) for line in chosen]
            continue
        made_by = {
            "settings": repr(batch.method.method),
            "optimizer": repr(batch.method.optimizer) if batch.method.optimizer else None,
        }
        overlap = {other: comparison.overlap(name, other) for other in comparison.batches}
        told = {"ceiling": comparison.ceiling, "overlap": overlap, "warnings": batch.warnings}
        columns = {f"{key}s": [line[key] for line in chosen] for key in chosen[0] if key != "rank"}
        lines.append({"method": name} | made_by | _numbers(batch) | told | columns)
    _write(path, lines)


def _ranked(selection: Selection, ids: list[str] | None) -> list[dict[str, Any]]:
    return [
        {"rank": rank, "row": row, **({"id": ids[row]} if ids else {}), "gain": gain}
        for rank, (row, gain) in enumerate(zip(selection.rows.tolist(), selection.gains.tolist(), strict=True), start=1)
    ]


def _numbers(batch: Batch) -> dict[str, float | int]:
    return {
        "seed": batch.seed,
        "seconds": batch.seconds,
        "information": batch.information,
        "standard_error": batch.standard_error,
        "redundancy": batch.redundancy,
    } | asdict(batch.averages)


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    text = _json_lines(lines) if path.suffix == ".jsonl" else _csv(lines)
    try:
        write_file(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error


def _csv(lines: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _json_lines(lines: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
