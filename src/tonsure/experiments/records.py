"""Records: one file per run, with one JSON object per line. The first line describes the run, the others its rounds.

A line is on the disk before the next one is written, so a run that is killed loses at most the line that it was
writing. Such a torn last line is ignored on reading. Any other line that cannot be read is an error. So is a line that
holds something else than ``run`` writes: records may come from anywhere, and what is read of them is compared, drawn
and continued. A line that somebody has changed to others that could have been recorded is not detected.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from tonsure.arguments import shown
from tonsure.durable_files import append_json_line, json_line, parse_json_object, read_json_lines
from tonsure.errors import RecordError

Record = dict[str, Any]

LONGEST_NAME = 200
"""Bytes of a name: a file system takes 255, and the names of files have a seed and endings besides."""

LABEL = f"a printable text of at most {LONGEST_NAME} bytes"
NAME = f"a name for files: printable, without slashes, of at most {LONGEST_NAME} bytes, and neither '.' nor '..'"

LARGEST = 2**63 - 1
"""Of a whole number."""


def read_records(path: Path) -> list[Record]:
    """The records in ``path``, in order: a header, and the rounds. A file that does not exist has none.

    Raises:
        RecordError: a line is not a JSON object, or no such record; the message names the file and the line.
    """
    lines = read_json_lines(path)
    if lines.damaged:
        raise _damaged(path, *lines.damaged)
    for number, record in enumerate(lines.objects):
        check_record(f"{path}, line {number + 1}", record, lines.objects[max(0, number - 1) : number])
    return lines.objects


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Appends one record, after removing a torn last line, and waits until it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    append_json_line(path, record)


def as_line(record: Mapping[str, Any]) -> bytes:
    """The record as it is written."""
    return json_line(record)


def is_name(name: object) -> TypeGuard[str]:
    """Whether it may name an experiment or a method: files of this name can be made, and stay inside their folder."""
    return is_label(name) and name not in ("", ".", "..") and "\\" not in name and Path(name).name == name


def is_label(text: object) -> TypeGuard[str]:
    """Whether it may name a class: it has a place in a figure."""
    return isinstance(text, str) and text.isprintable() and len(text.encode()) <= LONGEST_NAME


def parse_line(path: Path, number: int, line: bytes) -> Record:
    """The record on a line of ``path``, numbered from 1.

    Raises:
        RecordError: the line is not a JSON object; the message names the file and the line.
    """
    try:
        return parse_json_object(line)
    except ValueError as error:
        raise _damaged(path, number, str(error)) from error


def check_record(where: str, record: Record, before: Sequence[Record]) -> None:
    """Checks that this is what ``run`` writes.

    Args:
        where: the file and the line.
        before: the record before it in its run; none for a header.

    Raises:
        RecordError: it is a record of another kind, lacks a field, or a field holds something else.
    """
    kind, what = ("round", "a round") if before else ("experiment", "the header")
    if record.get("kind") != kind:
        raise RecordError(f"{where}: expected {what}, of kind {kind!r}, found kind {shown(record.get('kind'))}")
    fields = FIELDS[kind]
    if absent := sorted(name for name, field in fields.items() if field.required and name not in record):
        raise RecordError(f"{where}: the {kind} lacks {', '.join(absent)}")
    for name, field in fields.items():
        if name in record and not field.holds(record[name]):
            raise RecordError(f"{where}: expected {field.expected} as {name}, found {shown(record[name])}")
    if not before:
        return
    last = before[0]
    if record["round"] != (number := last.get("round", -1) + 1):
        raise RecordError(f"{where}: expected round {number}, found round {record['round']}")
    if record["labeled"] <= last.get("labeled", -1):
        raise RecordError(f"{where}: there are {record['labeled']} labels, after {last['labeled']} before")
    if record["labeled"] and "accuracy" not in record["metrics"]:
        raise RecordError(f"{where}: expected {METRICS} as metrics, found {shown(record['metrics'])}")
    rows, labels = record["rows"], record.get("labels")
    if labels is not None and (isinstance(rows, int) or len(rows) != len(labels)):
        raise RecordError(f"{where}: there are {len(labels)} labels for the rows {shown(rows)}")


class Field(NamedTuple):
    """What a field of a record may hold."""

    expected: str
    holds: Callable[[Any], bool]
    required: bool = False


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def _number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= LARGEST)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _or_none(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _dict_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(holds, value.values()))


def _metrics(value: Any) -> bool:
    if not _dict_of(_or_none(_number))(value):
        return False
    accuracy = value.get("accuracy", 0)
    return _number(accuracy) and 0 <= accuracy <= 1


WHOLE, TEXT = "a whole number of at least 0", "a text"
TEXTS, NUMBERS = "a list of texts", "numbers by name"
METRICS = f"{NUMBERS}, with an accuracy from 0 to 1,"

FIELDS = {
    "experiment": {
        "experiment": Field(NAME, is_name, required=True),
        "method": Field(NAME, is_name, required=True),
        "methods": Field("a list of such names as method", _list_of(is_name), required=True),
        "seed": Field(WHOLE, _whole, required=True),
        "text": Field(TEXT, _text, required=True),
        "data": Field(TEXT, _text),
        "classes": Field(f"a list with {LABEL} for each class", _list_of(is_label)),
        "k": Field(WHOLE, _whole),
        "batch": Field(WHOLE, _whole),  # its name in older records
        "versions": Field("texts by name", _dict_of(_text)),
        "commit": Field("a text or null", _or_none(_text)),
        "machine": Field(TEXT, _text),
    },
    "round": {
        "round": Field(WHOLE, _whole, required=True),
        "labeled": Field(WHOLE, _whole, required=True),
        "metrics": Field(METRICS, _metrics, required=True),
        "rows": Field(
            "row numbers, or how many there were,", lambda v: _whole(v) or _list_of(_whole)(v), required=True
        ),
        "labels": Field("a list of classes", _list_of(_whole)),
        "gains": Field("a list of numbers", _list_of(_number)),
        "positive": Field(WHOLE, _whole),
        "seconds": Field(NUMBERS, _dict_of(_or_none(_number))),
        "peak_memory": Field("a whole number of at least 0, or null,", _or_none(_whole)),
        "warnings": Field(TEXTS, _list_of(_text)),
    },
}
"""What ``run`` writes, by the kind of the record. Other fields are kept, and not looked at."""


def _damaged(path: Path, number: int, reason: str) -> RecordError:
    return RecordError(f"{path}, line {number} is damaged: {reason}")
