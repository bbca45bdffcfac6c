"""Records: one file per run, with one JSON object per line. The first line describes the run.

A line is on the disk before the next one is written, so a run that is killed loses at most the line that it was
writing. Such a torn last line is ignored on reading. Any other line that cannot be read is an error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tonsure.durable_files import append_json_line, json_line, parse_json_object, read_json_lines
from tonsure.errors import RecordError

Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """The records in ``path``, in order. A file that does not exist has none.

    Raises:
        RecordError: a line is not a JSON object; the message names the file and the line.
    """
    lines = read_json_lines(path)
    if lines.damaged:
        raise _damaged(path, *lines.damaged)
    return lines.objects


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Appends one record, after removing a torn last line, and waits until it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    append_json_line(path, record)


def as_line(record: Mapping[str, Any]) -> bytes:
    """The record as it is written."""
    return json_line(record)


def names_a_file(name: str) -> bool:
    """Whether the name is a single part of a path, so that a file of this name stays inside its folder."""
    return name not in ("", ".", "..") and "\\" not in name and Path(name).name == name


def parse_line(path: Path, number: int, line: bytes) -> Record:
    """The record on a line of ``path``, numbered from 1.

    Raises:
        RecordError: the line is not a JSON object; the message names the file and the line.
    """
    try:
        return parse_json_object(line)
    except ValueError as error:
        raise _damaged(path, number, str(error)) from error


def _damaged(path: Path, number: int, reason: str) -> RecordError:
    return RecordError(f"{path}, line {number} is damaged: {reason}")
