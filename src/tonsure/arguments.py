"""Single arguments and settings: checked by the same rules and shown in the same way everywhere."""

import math
import operator
from collections.abc import Callable
from dataclasses import MISSING, field, fields
from numbers import Real
from os import PathLike, fsencode, fspath
from pathlib import Path
from typing import Any, TypeVar

from tonsure.errors import InputError

LARGEST = 2**63 - 1
"""The largest whole number that torch and NumPy can hold."""

EXACT = 2**53
"""Up to it every whole number is a floating-point number."""

SHOWN = 60
"""The number of characters of a value in a message."""

Bound = float | int | None

T = TypeVar("T")

Check = Callable[[str, object], Any]
"""From the name of an argument and its value to the value as it is used; raises InputError."""


def shown(value: object) -> str:
    """A value for a message, in one line: a class by name, an array by type and shape, others by their text."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    kind = type(value).__name__
    try:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if shape is not None and dtype is not None:
            return f"a {kind} of {dtype} and shape {tuple(shape)}"
        text = " ".join(repr(value).split())
    except Exception:  # what cannot even be shown
        return f"a {kind}"
    return text if len(text) <= SHOWN else f"a {kind} ({text[: SHOWN - 20]}…)"


def refusal(name: str, given: object, expected: str) -> InputError:
    """The error of an argument: what was found, and what is expected."""
    return InputError(f"{name} is {shown(given)}, expected {expected}")


def whole_number(name: str, given: Any, least: int, most: int = LARGEST, of: str = "") -> int:
    """A whole number within a range, of Python, NumPy or torch. Booleans are none.

    Raises:
        InputError: it is none.
    """
    try:
        # An array of one number is refused by NumPy, but not by torch.
        found = None if _is_boolean(given) or _has_axes(given) else operator.index(given)
    except Exception:  # torch raises several
        found = None
    if found is None or not least <= found <= most:
        upto = "2**63 − 1" if most == LARGEST else f"{most}"
        raise refusal(name, given, f"a whole number from {least} to {upto}{of}")
    return found


def whole(least: int, most: int = LARGEST) -> Check:
    """The check of a setting that is a whole number within a range."""
    return lambda name, given: whole_number(name, given, least, most)


def real(*, least: Bound = None, above: Bound = None, most: Bound = None, below: Bound = None) -> Check:
    """The check of a setting that is a finite number within a range, its ends included or not."""
    ends = {"of at least": least, "above": above, "at most": most, "below": below}
    range_ = " and ".join(f"{word} {end:g}" for word, end in ends.items() if end is not None)

    def check(name: str, given: object) -> float | int:
        try:
            found = float(given) if isinstance(given, Real) and not _is_boolean(given) else math.nan
        except (OverflowError, ValueError):
            found = math.inf
        inside = (
            (least is None or found >= least)
            and (above is None or found > above)
            and (most is None or found <= most)
            and (below is None or found < below)
        )
        if not math.isfinite(found) or not inside:
            raise refusal(name, given, f"a finite number {range_}".rstrip())
        # Python's own numbers stay what they are, as reprs show them; torch multiplies by no larger whole numbers.
        return int(given) if isinstance(given, int) and abs(given) < EXACT else found

    return check


def flag(name: str, given: object) -> bool:
    """The check of a setting that is True or False."""
    if not _is_boolean(given) or _has_axes(given):
        raise refusal(name, given, "True or False")
    return bool(given)


def function(name: str, given: object) -> Any:
    """The check of a setting that is a function, or another object that can be called."""
    if isinstance(given, type) or not callable(given):
        raise refusal(name, given, "a function")
    return given


def score_function(name: str, given: object) -> Any:
    """The check of a setting that is a score."""
    if isinstance(given, type) or not callable(given):
        raise refusal(name, given, "a function of log_probs_n_K_C that gives one number per item, such as margin")
    return given


def instance(kind: type, example: str) -> Check:
    """The check of a setting that is an object of a class."""

    def check(name: str, given: object) -> Any:
        if not isinstance(given, kind):
            raise refusal(name, given, f"an object such as {example}")
        return given

    return check


def optional(check: Check) -> Check:
    """The check of a setting that may be None."""
    return lambda name, given: None if given is None else check(name, given)


def as_path(name: str, given: object) -> Path:
    """A path of a file or a folder.

    Raises:
        InputError: it is none.
    """
    text = fspath(given) if isinstance(given, str | PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text or not _is_encodable(text):
        raise refusal(name, given, "a path")
    return Path(text)


def setting(check: Check, default: T = MISSING, **options: Any) -> T:  # type: ignore[assignment]  # of the dataclass
    """A field of ``Settings`` with its check."""
    return field(default=default, metadata={"check": check}, **options)


class Settings:
    """The base of frozen dataclasses whose fields are checked when an object is made.

    Raises:
        InputError: a setting is of another type or out of range.
    """

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            if "check" in each.metadata:
                given = getattr(self, each.name)
                found = each.metadata["check"](f"{type(self).__name__}: {each.name}", given)
                object.__setattr__(self, each.name, found)


def _is_encodable(path: str) -> bool:
    try:
        fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _is_boolean(given: object) -> bool:
    return isinstance(given, bool) or str(getattr(given, "dtype", "")) in ("bool", "torch.bool")


def _has_axes(given: object) -> bool:
    return bool(getattr(given, "ndim", 0))
