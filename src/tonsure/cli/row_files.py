"""Text files: reads ids, rows and labels; writes selections and comparisons."""

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
    """Reads one id for each row: the lines of a text file, or a column of a CSV file with a header.

    Raises:
        InputError: the file cannot be read, the column does not exist, the number of ids is not ``rows``, or an id
            appears twice.
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
    """Reads row numbers, in the order of the file, without duplicates.

    A text file has one id per line if the pool has ids, or one row number per line. A CSV file, such as the output of
    ``write_selection``, has a column ``id``, which is used if the pool has ids, or a column ``row``.

    Raises:
        InputError: the file cannot be read, has neither column, or a line names no row of the pool.
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
    """Reads labeled rows, as ``read_rows``, and their classes if the file has a column ``label``, otherwise None.

    Raises:
        InputError: as ``read_rows``; or a row appears twice, or a label is not a whole number of at least 0.
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
        wanted = "choose one with --ids-column" if column is None else f"none is named {column!r}"
        raise InputError(f"{path} has the columns {', '.join(header) or '(none)'}; {wanted}")
    return [row[column] for row in rows]


def check_ending(path: Path) -> None:
    """Raises InputError if the name does not end in .csv or .jsonl, or its folder does not exist."""
    if path.suffix not in WRITABLE:
        raise InputError(f"{path}: rows are written to files that end in {' or '.join(WRITABLE)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")


def write_selection(selection: Selection, ids: list[str] | None, path: Path | None) -> None:
    """Writes rank (from 1), row, id (if the pool has ids) and gain, in the order chosen.

    The format is JSON lines if the file is named .jsonl, otherwise CSV. The file is complete or absent: it is written
    under a temporary name, then renamed.

    Args:
        path: the file; None is the standard output.
    """
    lines = _ranked(selection, ids)
    if path is None:
        sys.stdout.write(_csv(lines))
    else:
        _write(path, lines)


def write_comparison(comparison: Comparison, ids: list[str] | None, path: Path) -> None:
    """Writes the rows and measures of every method, in the units of ``Batch``, to a file, as ``write_selection`` does.

    CSV: one line per chosen row, with the name of the method first and the measures of the method last. JSON lines:
    one line per method, with its measures, its overlap with every method, and its rows.
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
        context = {"ceiling": comparison.ceiling, "overlap": overlap, "warnings": batch.warnings}
        columns = {f"{key}s": [line[key] for line in chosen] for key in chosen[0] if key != "rank"}
        lines.append({"method": name} | made_by | _numbers(batch) | context | columns)
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
