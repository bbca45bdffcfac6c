"""What is printed: results on the standard output, messages on the standard error.

Ids, names of files and errors of other libraries may hold control characters, which could change what a terminal shows.
Only ``write`` prints text as it is.
"""

import os
import sys
import unicodedata
from contextlib import suppress

from tonsure.errors import FileError

STANDARD_OUTPUT = "the standard output"


def printable(text: str) -> str:
    """The text with control characters, apart from newlines, as escapes such as ``\\x1b`` and ``\\u202e``."""
    return "".join(character if _is_printable(character) else _escape(character) for character in text)


def write(text: str) -> None:
    """Writes data to the standard output: all of it, unchanged.

    Raises:
        FileError: it is closed, or full, or its encoding lacks a character; then nothing is written.
    """
    check_open()
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        raise FileError(
            f"{STANDARD_OUTPUT} cannot be written: its encoding, {encoding}, has no {text[error.start]!r}; expected "
            "utf-8 (PYTHONIOENCODING=utf-8), or a file"
        ) from error
    _write(text)


def show(text: str) -> None:
    """Prints a line, or lines, to people; characters that the encoding of the standard output lacks are escaped.

    Raises:
        FileError: the standard output is closed, or full.
    """
    show_formatted(f"{printable(text)}\n")


def show_formatted(text: str) -> None:
    """Prints text that holds control characters of ours, such as those for bold letters; otherwise as ``show``."""
    check_open()
    encoding = sys.stdout.encoding or "utf-8"
    _write(text.encode(encoding, "backslashreplace").decode(encoding))


def tell(message: str) -> None:
    """Prints a message on the standard error, if there is one."""
    with suppress(AttributeError, OSError, ValueError):  # closed before the start, on a full disk, or closed later
        sys.stderr.write(f"{printable(message)}\n")
        sys.stderr.flush()


def check_open() -> None:
    """Raises FileError if the standard output is closed."""
    if sys.stdout is None:
        raise FileError(f"{STANDARD_OUTPUT} cannot be written: it is closed")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Python would try again at its end to write what is in the buffer, and print that this failed.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Without its number: typer ends in its own way, without a word, where nobody reads on.
        raise FileError(f"{STANDARD_OUTPUT} cannot be written: {error.strerror or error}") from error


def _is_printable(character: str) -> bool:
    return character.isprintable() or character == "\n" or unicodedata.category(character) == "Zs"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
