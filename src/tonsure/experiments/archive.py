"""Archives: all runs of an experiment in one small file.

An archive ``NAME.jsonl.xz`` contains JSON lines, compressed with xz: the runs in the order of their file names, each
starting with its header, of kind "experiment". The same runs give the same bytes. Gains are rounded to five significant
digits and seconds to four; everything else is unchanged. A run is resumed from its rows and labels, so an unpacked run
continues as the original would.
"""

import lzma
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tonsure.durable_files import JSON_BYTES, file_errors, write_file
from tonsure.errors import InputError, RecordError
from tonsure.experiments.records import Record, as_line, check_record, parse_line, read_records

ENDING = ".jsonl.xz"
RUNS = "*-seed*.jsonl"
"""The pattern of the files of runs in their folder."""
GAIN_DIGITS = 5
SECONDS_DIGITS = 4
UNPACKED_BYTES = 2**30
"""The largest size of the records in an archive."""
UNPACKING_BYTES = 2**28
"""What unpacking may need beyond that; an archive says itself how much."""
READ_BYTES = 2**22
"""What is unpacked at a time."""


def pack(folder: Path, path: Path, *, thin: bool = False) -> None:
    """Writes all runs recorded in ``folder``, finished or not, to the archive ``path``.

    Args:
        thin: replaces the rows of finished runs by their number and leaves out labels and gains, which makes the
            archive about ten times smaller. All curves and tables can still be made.

    Raises:
        InputError: the folder has no runs or too many, or ``path`` does not end in ``.jsonl.xz``.
        RecordError: a file is damaged, does not have exactly one header as its first line, or has the wrong name.
    """
    if not path.name.endswith(ENDING):
        raise InputError(f"{path} is not the name of an archive: expected a name that ends in {ENDING}")
    runs = [records for file in sorted(folder.glob(RUNS)) if (records := _run(file))]
    if not runs:
        raise InputError(f"{folder} holds no run to pack: expected files <method>-seed<seed>.jsonl")
    if thin:
        runs = [list(map(_thinned, records)) if not records[-1].get("rows", True) else records for records in runs]
    content = b"".join(_lines(map(_rounded, records)) for records in runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(content) > UNPACKED_BYTES:
        raise InputError(f"{folder} holds records of {len(content):,} bytes, an archive at most {UNPACKED_BYTES:,}")
    packed = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
    write_file(path, partial(Path.write_bytes, data=packed))


def unpack(path: Path, folder: Path) -> None:
    """Writes the files of the runs to ``folder``, where ``tonsure run`` can continue them.

    Raises:
        InputError: a file of a run exists and differs; then nothing is written.
        RecordError: as ``read_archive``.
    """
    files = {folder / name: _lines(records) for name, records in read_archive(path).items()}
    for file, content in files.items():
        if file.exists() and file.read_bytes() != content:
            raise InputError(f"{file} exists and differs from that in {path}: move it away, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        write_file(file, partial(Path.write_bytes, data=content))


def read_archive(path: Path) -> dict[str, list[Record]]:
    """The records of each run by file name, header first, in the order of the archive.

    Raises:
        RecordError: the file is missing, damaged or cut short, or unpacks to more than ``UNPACKED_BYTES``; a line is
            no record; the first line is not a header; the method of a header names no file; or a run occurs twice.
    """
    runs: dict[str, list[Record]] = {}
    records: list[Record] = []
    for number, line in enumerate(_decompressed_lines(path), start=1):
        where, record = f"{path}, line {number}", parse_line(path, number, line)
        begins = record.get("kind") == "experiment"
        check_record(where, record, [] if begins else records[-1:])
        if begins:
            name = _file_name(record)
            if name in runs:
                raise RecordError(f"{where}: a second run {name}")
            records = runs[name] = []
        records.append(record)
    if not runs:
        raise RecordError(f"{path} holds no run")
    return runs


def _run(file: Path) -> list[Record]:
    """The records of one file; none if its first line is incomplete."""
    records = read_records(file)
    if records and (name := _file_name(records[0])) != file.name:
        raise RecordError(f"{file} holds the run {name}: expected a file of that name")
    return records


def _file_name(header: Record) -> str:
    return f"{header['method']}-seed{header['seed']}.jsonl"


def _rounded(record: Record) -> Record:
    changed: Record = {}
    if "gains" in record:
        changed["gains"] = [_to_digits(gain, GAIN_DIGITS) for gain in record["gains"]]
    if "seconds" in record:
        changed["seconds"] = {step: _to_digits(taken, SECONDS_DIGITS) for step, taken in record["seconds"].items()}
    return record | changed


def _thinned(record: Record) -> Record:
    if record["kind"] != "round" or isinstance(record["rows"], int):  # it comes out of a thin archive
        return record
    kept = {key: value for key, value in record.items() if key not in ("labels", "gains")}
    return kept | {"rows": len(record["rows"])}


def _to_digits(value: Any, digits: int) -> Any:
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def _lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(map(as_line, records))


def _decompressed_lines(path: Path) -> Iterator[bytes]:
    """The lines of an archive, one after the other: a small file may unpack to any size.

    Raises:
        RecordError: as ``read_archive``, where the archive itself is damaged or too large.
    """
    if not path.is_file():
        raise RecordError(f"{path} is no file: expected an archive of runs, {ENDING}")
    with file_errors(path, "read"):
        packed = path.read_bytes()
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=UNPACKING_BYTES)
    total, begun = 0, b""
    while not reader.eof:
        try:
            piece = reader.decompress(packed, max_length=READ_BYTES)
        except (lzma.LZMAError, EOFError) as error:
            raise RecordError(f"{path} is no archive of runs, or is damaged: {error}") from error
        if not piece and reader.needs_input and not reader.eof:
            raise RecordError(f"{path} is cut short: its end is missing")
        packed, total = b"", total + len(piece)
        if total > UNPACKED_BYTES:
            raise RecordError(f"{path} unpacks to more than {UNPACKED_BYTES:,} bytes: expected an archive of runs")
        *lines, begun = (begun + piece).split(b"\n")
        yield from lines
        if len(begun) > JSON_BYTES:
            raise RecordError(f"{path} has a line of more than {JSON_BYTES:,} bytes: expected an archive of runs")
    if reader.unused_data:
        raise RecordError(f"{path} goes on after its end, with {len(reader.unused_data):,} more bytes")
    if begun:
        yield begun
