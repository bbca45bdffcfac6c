"""The `tonsure` command until the library is imported, which takes seconds: Ctrl-C ends it with one line.

A module outside the package, because whatever imports a part of the package imports all of it first.
"""

import os
import signal
from types import FrameType


def main() -> None:
    """Imports the command line and runs it; see ``tonsure.cli.main``."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)
    from tonsure.cli.main import main as command

    command()


def _end(number: int, _: FrameType | None) -> None:
    # At once: an extension module that is being imported may turn an exception into another one.
    try:
        os.write(2, b"interrupted: nothing was written; the same command starts again\n")
    finally:
        os._exit(128 + number)
