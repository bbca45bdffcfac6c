"""Files that survive a crash: written atomically, or as lines of JSON that are appended one at a time."""

import errno
import glob
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tonsure.errors import FileError

PARTIAL = ".partial-"
"""How the names of files begin that are not written completely yet."""

NAME_KEPT = 40
"""The number of last characters of a name that the name of its temporary file keeps; a whole name may be too long."""

JSON_BYTES = 2**25
"""The largest text of JSON, or line of it, that is read: what it becomes in memory may be thirty times as large."""

JSON_DEPTH = 64
"""The largest number of lists and objects within each other."""

DIGITS = 4300
"""The largest number of digits of a whole number; Python reads and writes no more."""

_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file atomically: a reader finds the old file or the new one, also after a crash or a power failure.

    The content is written to a temporary file in the same folder, flushed to the disk, and renamed to ``path``. If
    ``write`` fails, the old file stays and the temporary file is removed. A symbolic link stays: the file that it
    names is written. A new file has the permissions of the old one.

    Args:
        write: called with the path of the temporary file, which has the same suffix as ``path``.

    Raises:
        FileError: the file cannot be written, as ``file_to_write`` says, or because the disk is full or read-only.
    """
    target = file_to_write(path)
    partial = target.with_name(f"{PARTIAL}{secrets.token_hex(4)}-{target.name[-NAME_KEPT:]}")
    with file_errors(path, "written"):
        try:
            write(partial)
            if target.exists():
                shutil.copymode(target, partial)
            sync(partial)
            move(partial, target)
        except BaseException:
            with suppress(OSError):  # on a broken disk this fails too, and the first error says more
                partial.unlink(missing_ok=True)
            raise


def file_to_write(path: Path) -> Path:
    """The file that ``path`` names, behind symbolic links; it need not exist.

    Raises:
        FileError: it cannot be written: links form a loop, it is a folder or a device, its folder does not exist, or
            the permissions or a read-only disk forbid it.
    """
    with file_errors(path, "written"):
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not target.parent.is_dir():
            raise FileError(f"{path} cannot be written: there is no folder {target.parent}")
        if target.exists() and not target.is_file():
            what = "a folder" if target.is_dir() else "a device or a pipe"
            raise FileError(f"{path} cannot be written: it is {what}, expected a file")
        for place in (target.parent, *([target] if target.exists() else [])):
            if not os.access(place, os.W_OK):
                raise FileError(f"{path} cannot be written: {place} is read-only")
    return target


def folder_to_make(path: Path) -> None:
    """Checks, before a long computation, that a path is a folder that can be written to, or can become one.

    Raises:
        FileError: it cannot: it is a file, a link to nothing, or in a folder that is none, its name is too long, or the
            permissions or a read-only disk forbid it.
    """
    with file_errors(path, "written"):
        if path.is_symlink() and not os.path.exists(path):  # unlike Path.exists, it knows no loops
            raise FileError(f"{path} cannot be written: it is a link to {os.readlink(path)}, which is not there")
        for number, part in enumerate(path.parts):
            if part == ".." and number and not Path(*path.parts[:number]).is_dir():
                raise FileError(f"{path} cannot be written: there is no folder {Path(*path.parts[:number])}")
        with suppress(FileNotFoundError):
            os.stat(path)  # names that are too long, and folders that are files
        place = next(place for place in (path, *path.absolute().parents) if place.exists())
        if not place.is_dir():
            raise FileError(f"{path} cannot be written: {place} is a file, expected a folder or nothing")
        if not os.access(place, os.W_OK):
            raise FileError(f"{path} cannot be written: {place} is read-only")


@contextmanager
def file_errors(path: Path, done: str) -> Iterator[None]:
    """A context that turns errors of the operating system into ``FileError``, which names the file.

    Args:
        done: what cannot be done with the file: "read" or "written".
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path} cannot be {done}: {error.strerror or error}", error.errno) from error


def move(source: Path, target: Path) -> None:
    """Renames a file or folder within its file system, and waits until the new name is on the disk."""
    source.replace(target)
    if os.name == "posix":  # other systems cannot open a folder, and do not need it
        sync(target.parent)


def sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def remove_partial(folder: Path, name: str | None = None) -> None:
    """Removes the temporary files of ``write_file`` calls that were killed. No process may be writing them.

    Args:
        name: of the file that they were to become; None is any.
    """
    ending = "*" if name is None else f"{'?' * 8}-{glob.escape(name[-NAME_KEPT:])}"
    for path in folder.glob(f"{PARTIAL}{ending}"):
        path.unlink(missing_ok=True)


class DamagedLine(NamedTuple):
    """A line that is not a JSON object.

    Attributes:
        number: counted from 1.
        reason: why it cannot be read, with its first bytes.
    """

    number: int
    reason: str


class JsonLines(NamedTuple):
    """The content of a file of JSON lines.

    Attributes:
        objects: the objects on the lines before the first damaged line.
        length: the number of bytes of these lines.
        damaged: the first damaged line; None if there is none. A last line without a newline is torn, not damaged.
    """

    objects: list[dict[str, Any]]
    length: int
    damaged: DamagedLine | None


def read_json_lines(path: Path) -> JsonLines:
    """Reads a file of JSON lines. A file that does not exist has no lines.

    A process that is killed while it appends leaves a last line without a newline. Such a torn line is ignored.

    Raises:
        FileError: the file cannot be read.
    """
    objects: list[dict[str, Any]] = []
    length = 0
    with file_errors(path, "read"):
        if not path.exists():
            return JsonLines(objects, length, None)
        if not path.is_file():
            raise FileError(f"{path} cannot be read: it is a folder, a device or a pipe, expected a file")
        with path.open("rb") as file:
            while line := file.readline(JSON_BYTES + 1):
                if not line.endswith(b"\n") and len(line) <= JSON_BYTES:
                    break
                try:
                    objects.append(parse_json_object(line))
                except ValueError as error:
                    return JsonLines(objects, length, DamagedLine(len(objects) + 1, str(error)))
                length += len(line)
    return JsonLines(objects, length, None)


def append_json_line(path: Path, fields: Mapping[str, Any], *, wait: bool = True) -> None:
    """Appends one line, after removing a torn last line.

    Args:
        wait: until the line is on the disk.

    Raises:
        ValueError: the fields hold a number that JSON does not have, such as nan.
        FileError: the file cannot be written; what was written of the line is removed by the next call.
    """
    line = json_line(fields)
    # Not append mode: on some systems it cannot read.
    with file_errors(path, "written"), path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(_end_of_last_line(file))
        file.seek(0, os.SEEK_END)
        file.write(line)
        if wait:
            file.flush()
            os.fsync(file.fileno())


def json_line(fields: Mapping[str, Any]) -> bytes:
    """The fields as one line of JSON.

    Raises:
        ValueError: the fields hold a number that JSON does not have, such as nan.
    """
    line = json.dumps(fields, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return f"{line}\n".encode()


def parse_json_object(content: bytes) -> dict[str, Any]:
    """The JSON object that a line or a file holds, whoever wrote it: as ``parse_json``.

    Raises:
        ValueError: it is no JSON, or something else than an object; the message shows its first bytes.
    """
    why = ""
    try:
        found = parse_json(content)
    except ValueError as error:
        found, why = None, f" ({error})"
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object{why}, found {content[:60].rstrip()!r}")
    return found


def parse_json(content: bytes) -> Any:
    """What a text of JSON holds. Its numbers are finite, its names differ, and all of its text can be written.

    Raises:
        ValueError: it is no such text in UTF-8, has more than ``JSON_BYTES`` bytes, or is nested too deeply.
    """
    if len(content) > JSON_BYTES:
        raise ValueError(f"it has more than {JSON_BYTES:,} bytes")
    text = content.decode()
    few = content.count(b"[") + content.count(b"{") <= JSON_DEPTH
    brackets = b"" if few else _TEXTS.sub(b"", content).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(JSON_DEPTH):  # each time without the innermost of them
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise ValueError(f"brackets are not closed, or more than {JSON_DEPTH} are within each other")
    found = json.loads(text, object_pairs_hook=_as_dict, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    if "\\u" in text:
        check_text(found)
    return found


def check_text(value: object) -> None:
    """Raises ValueError if text in plain data cannot be written in UTF-8: if half of a pair of surrogates is alone."""
    json.dumps(value, ensure_ascii=False).encode()


def _as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = sorted(name for name, _ in pairs)
        twice = next(name for name, following in pairwise(names) if name == following)
        raise ValueError(f"the name {twice[:40]!r} is there twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is not finite")
    return number


def _whole(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"the number {text[:40]}… has {len(text):,} digits, expected at most {DIGITS:,}")
    return int(text)


def _end_of_last_line(file: Any) -> int:
    """The position after the last newline; most files end with it, so only their last byte is read."""
    end: int = file.seek(0, os.SEEK_END)
    block = 1
    while end:
        start = max(0, end - block)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end, block = start, 4096
    return 0
