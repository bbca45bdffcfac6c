"""Reads ids, rows and labels from text files; writes selections and comparisons."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from os.path import exists, samefile
from pathlib import Path
from typing import Any

from tonsure.cli import output
from tonsure.cli.text_files import SHOWN, TextFile, read_text_file
from tonsure.comparison.compare import Batch, Comparison
from tonsure.durable_files import file_to_write, write_file
from tonsure.errors import InputError
from tonsure.predictions.checks import axes_of
from tonsure.predictions.store.items import fault_of_id
from tonsure.selection import Selection

WRITABLE = (".csv", ".jsonl")

DIGITS = 18
"""At most so many digits of a row or a label; more do not fit into 64 bits, and Python refuses thousands."""


def read_ids(path: Path, column: str | None, rows: int, shape: Sequence[int] = ()) -> list[str]:
    """Reads one id for each row: the lines of a text file, or a column of a table.

    Args:
        column: None is ``id``, or else the only column.
        shape: of the predictions, for the message where their axes are exchanged.

    Raises:
        InputError: as ``read_text_file``; or the column does not exist, the number of ids is not ``rows``, or an id
            appears twice, is empty, has blanks around it, or holds what is no character.
        FileError: the file cannot be read.
    """
    file = read_text_file(path)
    if file.columns is None:
        if column is not None:
            raise InputError(f"{path} has no columns: expected no --ids-column, or a .csv, .tsv or .jsonl file")
        column = ""
    elif column is None:
        if "id" not in file.columns and len(file.columns) != 1:
            found = ", ".join(file.columns) or "(none)"
            raise InputError(f"{path} has the columns {found}; choose one with --ids-column")
        column = "id" if "id" in file.columns else file.columns[0]
    places: dict[str, str] = {}
    for place, name in file.values(column):
        if fault := fault_of_id(name):
            raise InputError(f"{place}: the id {_shown(name)} {fault}")
        if name in places:
            raise InputError(f"{place}: the id {_shown(name)} is there already, in {places[name]}")
        places[name] = place
    if len(places) != rows:
        raise InputError(
            f"{path} names {len(places)} items, but the predictions have {rows} rows{axes_of(shape, len(places))}"
        )
    return list(places)


def read_rows(paths: Iterable[Path], ids: Sequence[str] | None, rows: int) -> list[int]:
    """Reads row numbers, in the order of the files, without duplicates.

    A text file has one id per line if the pool has ids, or one row number per line. A table, such as the output of
    ``write_selection``, has a column ``id``, which is used if the pool has ids, or a column ``row``.

    Raises:
        InputError: as ``read_text_file``; or a table has neither column, or a line names no row of the pool.
        FileError: a file cannot be read.
    """
    row_of = _rows_by_id(ids)
    return list(dict.fromkeys(row for path in paths for _, row in _rows(read_text_file(path), row_of, rows)))


def read_labels(paths: Iterable[Path], ids: Sequence[str] | None, rows: int) -> tuple[list[int], list[int] | None]:
    """Reads labeled rows, as ``read_rows``, and their classes if the files have a column ``label``, otherwise None.

    Raises:
        InputError: as ``read_rows``; or a row has two labels, a label is not a whole number of at least 0, or some
            files have labels and others have not.
        FileError: a file cannot be read.
    """
    row_of = _rows_by_id(ids)
    labels: dict[int, str | None] = {}
    places: dict[int, str] = {}
    for path in paths:
        file = read_text_file(path)
        has_labels = file.columns is not None and any(name.strip().lower() == "label" for name in file.columns)
        texts = [text for _, text in file.values("label")] if has_labels else [None] * len(file.rows)
        for (place, row), text in zip(_rows(file, row_of, rows), texts, strict=True):
            if text is not None and _number(text) is None:
                raise InputError(f"{place}: the label is {_shown(text)}, expected a class, from 0")
            if labels.setdefault(row, text) != text:
                raise InputError(f"{place}: row {row} has the label {text}, but in {places[row]} it has {labels[row]}")
            places.setdefault(row, place)
    unlabeled = [row for row, text in labels.items() if text is None]
    if unlabeled and len(unlabeled) < len(labels):
        raise InputError(
            f"{places[unlabeled[0]]}: row {unlabeled[0]} has no label, but other files have a column label"
        )
    return list(labels), None if unlabeled or not labels else [int(text or "") for text in labels.values()]


def _rows_by_id(ids: Sequence[str] | None) -> Mapping[str, int] | None:
    return None if ids is None else {name: row for row, name in enumerate(ids)}


def _rows(file: TextFile, row_of: Mapping[str, int] | None, rows: int) -> Iterable[tuple[str, int]]:
    """The place and the row of each line."""
    named = row_of is not None and (file.columns is None or "id" in file.columns)
    column = "" if file.columns is None else "id" if named else "row"
    for place, text in file.values(column):
        row = row_of.get(text) if named and row_of is not None else _number(text)
        if row is None or row >= rows:
            expected = "the id of an item" if named else f"a row from 0 to {rows - 1}"
            raise InputError(f"{place}: {_shown(text)} is not {expected}")
        yield place, row


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(rf"0|[1-9][0-9]{{0,{DIGITS - 1}}}", text) else None


def _shown(text: str) -> str:
    return f"{text!r:.{SHOWN}}"


def check_out(path: Path | None, *inputs: Path | None) -> None:
    """Checks, before a long computation, that its result can be written.

    Args:
        path: the file; None is the standard output.
        inputs: files that are read, which must not be overwritten.

    Raises:
        InputError: the name does not end in .csv or .jsonl, or it is that of one of the inputs.
        FileError: as ``file_to_write``; or the standard output is closed.
    """
    if path is None:
        output.check_open()
        return
    if path.suffix.lower() not in WRITABLE:
        raise InputError(f"{path}: rows are written to files that end in {' or '.join(WRITABLE)}")
    if file_to_write(path).exists():
        for other in inputs:
            if other is not None and exists(other) and samefile(other, path):
                raise InputError(f"{path} is read by this command: expected another file for --out")


def write_selection(selection: Selection, ids: list[str] | None, path: Path | None) -> None:
    """Writes rank (from 1), row, id (if the pool has ids) and gain, in the order chosen.

    The format is JSON lines if the file is named .jsonl, otherwise CSV. The file is complete or absent: it is written
    under a temporary name, then renamed. Ids are written unchanged, so that they can be read back: a spreadsheet may
    take one that begins with =, +, - or @ for a formula.

    Args:
        path: the file; None is the standard output.

    Raises:
        FileError: it cannot be written.
    """
    lines = _ranked(selection, ids)
    if path is None:
        output.write(_csv(lines))
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
        if not _is_json_lines(path):
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
    text = _json_lines(lines) if _is_json_lines(path) else _csv(lines)
    write_file(path, lambda beside: beside.write_bytes(text.encode()))


def _is_json_lines(path: Path) -> bool:
    return path.suffix.lower() == ".jsonl"


def _csv(lines: Sequence[Mapping[str, Any]]) -> str:
    rows: list[Iterable[object]] = [lines[0].keys(), *(line.values() for line in lines)]
    return "".join(",".join(map(_cell, row)) + "\n" for row in rows)


def _cell(value: object) -> str:
    # Not csv.writer, which leaves a carriage return without quotes.
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text


def _json_lines(lines: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
