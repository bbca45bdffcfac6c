"""Progress bars on the standard error, where it is a terminal."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(items: Iterable[Any] | None = None, what: str = "", **options: Any) -> Any:
    """A progress bar, which is also an iterator over the items; options as of tqdm.

    It disappears at its end, and is not shown where the standard error is closed or no terminal.
    """
    return tqdm(items, **{"desc": what, "leave": False, "disable": not is_terminal(), **options})


def is_terminal() -> bool:
    """Whether the standard error is a terminal."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, OSError, ValueError):  # closed before the start, broken, or closed later
        return False
