"""Records: one file per run, one JSON object per line, the first of which says what the run is.

A line is written whole and reaches the disk before the next one is begun, so a run that is killed loses at most
the line it was writing. Such a torn last line is dropped on reading; anything else that cannot be read is an error.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tonsure.errors import RecordError

Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """All whole lines of ``path``, in order; an absent file has none.

    Raises:
        RecordError: a line before the last is no JSON object; the message names the file and the line.
    """
    if not path.exists():
        return []
    return [parse_line(path, number, line) for number, line in enumerate(_whole_lines(path), start=1)]


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Adds one line, after cutting off a torn one, and waits until it is on the disk."""
    line = as_line(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(sum(map(len, _whole_lines(path))))
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def as_line(record: Mapping[str, Any]) -> bytes:
    """The record as it is written."""
    line = json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return f"{line}\n".encode()


def names_a_file(name: str) -> bool:
    """Whether it is one part of a path, so that a file or a folder called so lies where it is put."""
    return name not in ("", ".", "..") and "\\" not in name and Path(name).name == name


def _whole_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def parse_line(path: Path, number: int, line: bytes) -> Record:
    """The record on a line of ``path``, numbered from 1.

    Raises:
        RecordError: it is no JSON object; the message names the file and the line.
    """
    try:
        record = json.loads(line)
    except ValueError as error:
        raise RecordError(f"{path}, line {number} is damaged: {error}; it reads {line[:60]!r}") from error
    if not isinstance(record, dict):
        raise RecordError(f"{path}, line {number} is damaged: expected a JSON object, found {line[:60]!r}")
    return record
