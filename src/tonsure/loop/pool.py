"""The pool: all items, and the labels of those that are labeled."""

from collections.abc import Mapping, Set

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tonsure.arguments import refusal
from tonsure.errors import InputError
from tonsure.models.examples import Inputs, Labels, classes
from tonsure.predictions.arrays import Array, as_inputs
from tonsure.predictions.open import Numbers, numbers, open_features
from tonsure.predictions.store import Store
from tonsure.shapes import Rows


class Pool:
    """N items, of which some are labeled. The number of a row never changes.

    Args:
        inputs: [N, ...], one item per row.
        labels: the initial labels, from a row to its class.
        features: [N, D], by which methods compare items, for example those of a pretrained encoder. Where a model is
            trained on top of such features, they are its inputs too. None leaves it to the model, whose features are
            computed anew in each round.

    Raises:
        InputError: the inputs are no array or hold no item, the features are not finite numbers [N, D], or a label is
            invalid (see ``label``).
    """

    def __init__(
        self, inputs: Inputs, labels: Mapping[int, int] | None = None, *, features: Array | Store | None = None
    ) -> None:
        self.inputs = as_inputs(inputs)
        if len(self.inputs) == 0:
            raise InputError(f"the pool is empty: its inputs have the shape {list(self.inputs.shape)}")
        self.features = None if features is None else _features(features, len(self.inputs))
        self._label_of: dict[int, int] = {}  # a dict remembers the order in which labels came
        if labels is not None:
            if not isinstance(labels, Mapping):
                raise refusal("labels", labels, "a dict from rows to classes, {row: class}")
            self.label(list(labels), list(labels.values()))

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        return f"Pool({len(self)} items of shape {list(self.inputs.shape[1:])}, {len(self._label_of)} labeled)"

    @property
    def labeled_rows(self) -> Rows:
        """In the order in which the labels were given."""
        return torch.tensor(list(self._label_of), dtype=torch.int64, device="cpu")

    @property
    def unlabeled_rows(self) -> Rows:
        """Ascending."""
        unlabeled = torch.ones(len(self), dtype=torch.bool, device="cpu")
        unlabeled[self.labeled_rows] = False
        return unlabeled.nonzero().flatten()

    @property
    def labels(self) -> Int[Tensor, " n"]:
        """The classes of ``labeled_rows``, in the same order."""
        return torch.tensor(list(self._label_of.values()), dtype=torch.int64, device="cpu")

    def labeled(self) -> tuple[Tensor, Int[Tensor, " n"]]:
        """The training set of a model: the inputs at ``labeled_rows``, and ``labels``."""
        return self.inputs[self.labeled_rows], self.labels

    def label(self, rows: Numbers, labels: Labels) -> None:
        """Labels all ``rows``, or none of them if one is invalid.

        Raises:
            InputError: a row is labeled already, named twice or not in the pool, or a label is no class; the message
                names the first such row or label. Or there is not one label for each row.
        """
        if isinstance(rows, Set):
            raise refusal("rows", rows, "a list of rows, in the order of the labels")
        rows = numbers("rows", rows, len(self), empty=True, repeated=True).tolist()
        labels = classes("labels", labels).tolist()
        if len(rows) != len(labels):
            raise InputError(f"{len(rows)} rows were given {len(labels)} labels")
        added: dict[int, int] = {}
        for row, label in zip(rows, labels, strict=True):
            if row in self._label_of:
                raise InputError(f"row {row} is labeled already, as class {self._label_of[row]}")
            if row in added:
                raise InputError(f"row {row} is named twice, as class {added[row]} and as class {label}")
            added[row] = label
        self._label_of.update(added)


def _features(given: object, N: int) -> Float[Tensor, "N D"]:
    features_N_D = open_features(given, None, None).in_memory()
    if len(features_N_D) != N:
        raise InputError(f"features have the shape {list(features_N_D.shape)}, expected {N} rows, as the inputs")
    return features_N_D
