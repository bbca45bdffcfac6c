"""Archives: all runs of an experiment in one small file.

An archive ``NAME.jsonl.xz`` contains JSON lines, compressed with xz: the runs in the order of their file names, each
starting with its header, of kind "experiment". The same runs give the same bytes. Gains are rounded to five significant
digits and seconds to four; everything else is unchanged. A run is resumed from its rows and labels, so an unpacked run
continues as the original would.
"""

import lzma
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tonsure.durable_files import write_file
from tonsure.errors import InputError, RecordError
from tonsure.experiments.records import Record, as_line, names_a_file, parse_line, read_records

ENDING = ".jsonl.xz"
RUNS = "*-seed*.jsonl"
"""The pattern of the files of runs in their folder."""
GAIN_DIGITS = 5
SECONDS_DIGITS = 4


def pack(folder: Path, path: Path, *, thin: bool = False) -> None:
    """Writes all runs recorded in ``folder``, finished or not, to the archive ``path``.

    Args:
        thin: replaces the rows of finished runs by their number and leaves out labels and gains, which makes the
            archive about ten times smaller. All curves and tables can still be made.

    Raises:
        InputError: the folder has no runs, or ``path`` does not end in ``.jsonl.xz``.
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
        RecordError: the file is missing, damaged or cut short; a line is not a JSON object; the first line is not a
            header; a header has no valid method and seed; or a run occurs twice.
    """
    runs: dict[str, list[Record]] = {}
    records: list[Record] = []
    for number, line in enumerate(_decompress(path).splitlines(), start=1):
        where, record = f"{path}, line {number}", parse_line(path, number, line)
        if record.get("kind") == "experiment":
            name = _file_name(record, where)
            if name in runs:
                raise RecordError(f"{where}: a second run {name}")
            records = runs[name] = []
        elif not runs:
            raise RecordError(f"{where}: expected a header, of kind 'experiment', found kind {record.get('kind')!r}")
        records.append(record)
    if not runs:
        raise RecordError(f"{path} holds no run")
    return runs


def _run(file: Path) -> list[Record]:
    """The records of one file; none if its first line is incomplete."""
    records = read_records(file)
    headers = [number for number, record in enumerate(records, start=1) if record.get("kind") == "experiment"]
    if records and headers != [1]:
        raise RecordError(f"{file}: expected one header, of kind 'experiment', in line 1, found {headers or 'none'}")
    if records and (name := _file_name(records[0], f"{file}, line 1")) != file.name:
        raise RecordError(f"{file} holds the run {name}: expected a file of that name")
    return records


def _file_name(header: Record, where: str) -> str:
    method, seed = header.get("method"), header.get("seed")
    name = f"{method}-seed{seed}.jsonl"
    # An archive may come from anywhere: what it holds must not be written outside the folder.
    if not isinstance(method, str) or not isinstance(seed, int) or not names_a_file(name):
        raise RecordError(f"{where}: the method {method!r} and the seed {seed!r} name no file of a run")
    return name


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


def _decompress(path: Path) -> bytes:
    if not path.is_file():
        raise RecordError(f"{path} is no file: expected an archive of runs, {ENDING}")
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        content = reader.decompress(path.read_bytes())
    except (lzma.LZMAError, EOFError) as error:
        raise RecordError(f"{path} is no archive of runs, or is damaged: {error}") from error
    if not reader.eof:
        raise RecordError(f"{path} is cut short: its end is missing")
    if reader.unused_data:
        raise RecordError(f"{path} goes on after its end, with {len(reader.unused_data):,} more bytes")
    return content
