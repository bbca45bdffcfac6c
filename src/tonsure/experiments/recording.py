"""The file of one run: locked while it is written, and continued only by the same experiment."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tonsure.durable_files import file_errors, remove_partial, write_file
from tonsure.errors import InputError, MissingExtraError, RecordError
from tonsure.experiments.records import Record

SHOWN = 500
"""The number of characters of a line that differs, in a message."""


def locked(path: Path) -> Any:
    """A context in which no other process can write ``path``.

    Raises:
        InputError: another process is writing it.
        FileError: the folder cannot be made, or is read-only.
        MissingExtraError: filelock is not installed.
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise MissingExtraError("An experiment", "experiments") from error
    with file_errors(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            return lock.acquire(timeout=0)  # a context that releases it
        except Timeout as error:
            raise InputError(f"{path} is being written by another process") from error


def check_same(path: Path, found: Record, expected: Record) -> None:
    """Raises RecordError if the header of ``path`` belongs to another run; warns if only the versions differ."""
    for key in ("kind", "experiment", "method", "seed", "data", "text"):
        if found.get(key) != expected[key]:
            raise RecordError(
                f"{path} holds the records of another experiment: its {key} is "
                f"{_first_difference(found.get(key), expected[key])}. Move the folder away, or choose another one."
            )
    if found.get("versions") != expected["versions"]:
        warnings.warn(
            f"{path} was started with {found.get('versions')!s:.{SHOWN}} and continues with {expected['versions']}",
            UserWarning,
            stacklevel=2,
        )


def keep_pictures(folder: Path, stem: str, images_b: Tensor) -> None:
    pictures = folder / "pictures"
    with file_errors(pictures, "written"):
        pictures.mkdir(exist_ok=True)
        remove_partial(pictures, f"{stem}.npy")  # of a process that was killed: this one has the lock of the run
    write_file(pictures / f"{stem}.npy", lambda path: np.save(path, images_b.numpy()))


def _first_difference(found: Any, expected: Any) -> str:
    if not isinstance(found, str) or not isinstance(expected, str):
        return f"{found!r:.{SHOWN}}, not {expected!r:.{SHOWN}}"
    lines = zip([*found.splitlines(), ""], [*expected.splitlines(), ""], strict=False)
    old, new = next(((old, new) for old, new in lines if old != new), (found, expected))
    return f"{old!r:.{SHOWN}} where this one's is {new!r:.{SHOWN}}"
