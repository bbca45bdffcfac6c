"""The journal of a draft: one JSON object per line; a line that was not written whole does not count."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tonsure.errors import StoreError


def append_line(journal: Path, line: Mapping[str, Any]) -> None:
    with journal.open("ab") as file:
        file.write(json.dumps(line).encode() + b"\n")


def whole_lines(journal: Path) -> list[dict[str, Any]]:
    """The lines up to the first that was not written whole; it, and what follows, is cut off.

    Raises:
        StoreError: that is the first line, and others follow: nobody knows what the draft was to be.
    """
    if not journal.exists():
        return []
    lines: list[dict[str, Any]] = []
    length = 0
    for line in journal.read_bytes().splitlines(keepends=True):
        try:
            fields = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            if not lines and line.endswith(b"\n"):
                raise StoreError(f"{journal} is damaged, its first line reads {line[:60]!r}; remove the folder")
            break
        lines.append(fields)
        length += len(line)
    os.truncate(journal, length)
    return lines
