"""The folder that becomes a store once it is whole: beside the store, locked for as long as its process lives."""

import logging
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tonsure.durable_files import NAME_KEPT

logger = logging.getLogger("tonsure")

UNFINISHED = ".unfinished-"

LOCK = ".lock"


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A name for such a folder, which is removed at the end if it is still there.

    Raises:
        OSError: the folder of ``path`` cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_name(f"{_prefix(path)}{secrets.token_hex(4)}")
    # Of a place where no file can be made, the lock says nothing but that it waits.
    folder.with_name(f"{folder.name}{LOCK}").touch()
    # Locked before there is a folder, so that no other process ever finds it without a lock.
    with _lock(folder):
        try:
            yield folder
        finally:
            _remove(folder)


def remove_killed(path: Path) -> None:
    """Removes the folders that killed processes left when they were writing ``path``, and says so.

    Nothing of such a folder can be used.
    """
    if not path.parent.is_dir():
        return
    left = [place for place in path.parent.iterdir() if place.name.startswith(_prefix(path))]
    # Also of a lock alone: of a process that was killed before it made the folder, or after it had removed it.
    for folder in sorted({place.with_name(place.name.removesuffix(LOCK)) for place in left}):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            continue
        with suppress(Timeout), _lock(folder):  # another process is writing it
            size = sum(file.stat().st_size for file in folder.iterdir()) if folder.exists() else 0
            _remove(folder)
            if size:
                logger.warning(
                    "%s: a process that was killed had left %s bytes, which are removed", folder, f"{size:,}"
                )


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.with_name(f"{folder.name}{LOCK}"), timeout=0)


def _remove(folder: Path) -> None:
    """Removes a folder, and then its lock, which this process holds."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # some systems do not remove a locked file
        folder.with_name(f"{folder.name}{LOCK}").unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    return f".{path.name[-NAME_KEPT:]}{UNFINISHED}"
