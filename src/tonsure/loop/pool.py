"""The pool: all items, and the labels of those that are labeled."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from tonsure.errors import InputError
from tonsure.predictions.arrays import as_inputs
from tonsure.shapes import Rows


class Pool:
    """N items, of which some are labeled. The number of a row never changes.

    Args:
        inputs: [N, ...], one item per row.
        labels: the initial labels, from a row to its class.

    Raises:
        InputError: there is no item, or a label is invalid (see ``label``).
    """

    def __init__(self, inputs: Tensor | NDArray[Any], labels: Mapping[int, int] | None = None) -> None:
        self.inputs = as_inputs(inputs)
        if self.inputs.ndim == 0 or len(self.inputs) == 0:
            raise InputError(f"the pool is empty: its inputs have the shape {list(self.inputs.shape)}")
        self._label_of: dict[int, int] = {}  # a dict remembers the order in which labels came
        if labels:
            self.label(list(labels), list(labels.values()))

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        return f"Pool({len(self)} items of shape {list(self.inputs.shape[1:])}, {len(self._label_of)} labeled)"

    @property
    def labeled_rows(self) -> Rows:
        """In the order in which the labels were given."""
        return torch.tensor(list(self._label_of), dtype=torch.int64)

    @property
    def unlabeled_rows(self) -> Rows:
        """Ascending."""
        unlabeled = torch.ones(len(self), dtype=torch.bool)
        unlabeled[self.labeled_rows] = False
        return unlabeled.nonzero().flatten()

    @property
    def labels(self) -> Int[Tensor, " n"]:
        """The classes of ``labeled_rows``, in the same order."""
        return torch.tensor(list(self._label_of.values()), dtype=torch.int64)

    def labeled(self) -> tuple[Tensor, Int[Tensor, " n"]]:
        """The training set of a model: the inputs at ``labeled_rows``, and ``labels``."""
        return self.inputs[self.labeled_rows], self.labels

    def label(self, rows: Sequence[int] | Tensor, labels: Sequence[int] | Tensor) -> None:
        """Labels all ``rows``, or none of them if one is invalid.

        Raises:
            InputError: a row is labeled already, named twice or not in the pool, or a label is negative; the
                message names the first such row. Or there is not one label for each row.
        """
        rows, labels = _integers("rows", rows), _integers("labels", labels)
        if len(rows) != len(labels):
            raise InputError(f"{len(rows)} rows were given {len(labels)} labels")
        added: dict[int, int] = {}
        for row, label in zip(rows, labels, strict=True):
            if not 0 <= row < len(self):
                raise InputError(f"row {row} is not in the pool, whose rows are 0 to {len(self) - 1}")
            if row in self._label_of:
                raise InputError(f"row {row} is labeled already, as class {self._label_of[row]}")
            if row in added:
                raise InputError(f"row {row} is named twice, as class {added[row]} and as class {label}")
            if label < 0:
                raise InputError(f"row {row} was given the label {label}; classes are numbered from 0")
            added[row] = label
        self._label_of.update(added)


def _integers(name: str, values: Sequence[int] | Tensor) -> list[int]:
    tensor = torch.as_tensor(values)
    integral = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if tensor.ndim != 1 or not (integral or len(tensor) == 0):  # torch makes an empty list a float tensor
        raise InputError(f"{name} must be a list of integers, found {tensor.dtype} of shape {list(tensor.shape)}")
    return [int(value) for value in tensor.tolist()]
