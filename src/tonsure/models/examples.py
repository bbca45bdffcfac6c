"""Labeled examples, as the models of this library take them: arrays and lists besides tensors."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from tonsure.arguments import refusal
from tonsure.predictions.arrays import as_inputs
from tonsure.predictions.open import whole_numbers
from tonsure.training import Examples

Inputs = Tensor | NDArray[Any]
"""Items [n, ...]."""

Labels = Sequence[int] | Tensor | NDArray[Any]
"""Classes [n], numbered from 0."""


def classes(name: str, given: object, expected: str = "a list of classes, numbered from 0") -> Int[Tensor, " n"]:
    """As a tensor of int64 on the CPU; raises InputError if they are no whole numbers from 0 on."""
    return whole_numbers(name, given, expected)


def as_examples(inputs: Inputs, labels_n: Labels) -> Examples:
    """As tensors; raises InputError if the inputs are no array, or the labels no whole numbers from 0."""
    return as_inputs(inputs), classes("labels", labels_n)


def as_validation(validation: object) -> Examples | None:
    """As tensors, if there is one; raises InputError if it is no pair, or as ``as_examples``."""
    if validation is None:
        return None
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise refusal("validation", validation, "a pair (inputs, labels)")
    return as_inputs(validation[0]), classes("validation labels", validation[1])
