"""Files of which there is never half: they are written beside their place, and renamed."""

import os
from collections.abc import Callable
from pathlib import Path


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` with a path beside ``path``, of the same ending, and puts in its place what was written.

    A reader finds the old file or the new one. Where ``write`` fails, the old one stays, and nothing is left beside it.
    """
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
