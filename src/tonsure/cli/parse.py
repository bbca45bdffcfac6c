"""From text on the command line to the objects it names."""

import re
from typing import Any

import numpy as np
from torch import Tensor

from tonsure.arguments import shown
from tonsure.errors import InputError
from tonsure.methods import errors_of, imported
from tonsure.models import BayesianModel
from tonsure.predictions.arrays import as_inputs


def model(text: str) -> BayesianModel:
    """``my_module:model``, a fitted model, or a function without arguments that gives one.

    Raises:
        InputError: it cannot be imported, or is no model.
    """
    found = _given(
        text, BayesianModel, "my_module:model, a BayesianModel or a function without arguments that gives one"
    )
    assert isinstance(found, BayesianModel)
    return found


def inputs(text: str) -> Tensor:
    """``my_module:inputs``, a tensor or an array [N, ...], or a function without arguments that gives one.

    Raises:
        InputError: it cannot be imported, or is neither.
    """
    expected = "my_module:inputs, a tensor or an array or a function without arguments that gives one"
    return as_inputs(_given(text, (Tensor, np.ndarray), expected))


def _given(text: str, kind: type | tuple[type, ...], expected: str) -> Any:
    found = imported(text)
    if callable(found) and not isinstance(found, kind):
        with errors_of(text, "called"):
            found = found()
    if not isinstance(found, kind):
        raise InputError(f"{text} is {found!r}, expected {expected}")
    return found


def samples(text: str) -> list[int]:
    """``0-9,12``: numbers and ranges of them, both ends included.

    Raises:
        InputError: it cannot be read.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r" *([0-9]{1,6})(?: *- *([0-9]{1,6}))? *", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise InputError(
                f"the samples {shown(text)} cannot be read at {shown(part)}; expected numbers below a million and "
                "ranges: 0-9,12"
            )
        found.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found
