"""The data of an experiment: loaded, checked, and divided into pool, validation set and test set."""

from collections import OrderedDict
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from tonsure.arguments import refusal
from tonsure.datasets import Dataset, Loader
from tonsure.errors import InputError
from tonsure.experiments.records import LABEL, is_label
from tonsure.loop.labels import balanced_rows
from tonsure.models.examples import classes
from tonsure.predictions.arrays import as_inputs
from tonsure.predictions.checks import check_features
from tonsure.training import Examples

KEPT = 2
"""The number of datasets kept in memory, for consecutive experiments on the same dataset."""


@dataclass(frozen=True, eq=False)
class Data:
    """The data of one run.

    Attributes:
        dataset: its training items are the pool.
        validation: inputs and labels that are not in the pool, or None.
        features: [N, D] of the pool, or None.
    """

    dataset: Dataset
    validation: tuple[Tensor, Tensor] | None = None
    features: Tensor | None = None


class Datasets:
    """Loads data and keeps the last ones. Loaders with the same repr are taken to load the same data."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[tuple[str, int], Data] = OrderedDict()

    def __call__(self, loader: Loader, validation: int = 0, features: Loader | None = None) -> Data:
        """Raises as ``load_data`` does, or if what ``features`` loads is no features of the same items."""
        data = self._load(loader, validation)
        if features is None:
            return data
        others = self._load(features, validation).dataset
        if not torch.equal(others.train_labels, data.dataset.train_labels):
            raise InputError(
                f"features are of {len(others.train_labels):,} items of {others.name} with other labels, expected "
                f"those of the {len(data.dataset.train_labels):,} items of {data.dataset.name}, in the same order"
            )
        try:
            check_features(others.train_inputs)
        except InputError as error:
            raise InputError(f"the inputs of {others.name} are to be features: {error}") from error
        return replace(data, features=others.train_inputs)

    def _load(self, loader: Loader, validation: int) -> Data:
        key = (f"{type(loader).__module__}.{loader!r}", validation)
        if key not in self._loaded:
            while len(self._loaded) >= KEPT:
                self._loaded.popitem(last=False)
            self._loaded[key] = load_data(loader, validation)
        self._loaded.move_to_end(key)
        return self._loaded[key]


def load_data(loader: Loader, validation: int = 0) -> Data:
    """The data of ``loader``, with ``validation`` of its training items set aside, balanced over classes.

    Raises:
        InputError: what is loaded is no dataset, its inputs are no arrays, there is not one label for each of them, a
            label is not a class, or the validation set leaves no pool.
    """
    dataset = _checked(loader.load())
    total = len(dataset.train_labels)
    if not 0 <= validation < total:
        raise InputError(
            f"{dataset.name}: a validation set of {validation:,} was asked for, but there are {total:,} training items"
        )
    if validation == 0:
        return Data(dataset)
    aside = balanced_rows(dataset.train_labels, validation, seed=0)
    in_pool = torch.ones(total, dtype=torch.bool)
    in_pool[aside] = False
    described = f"{dataset.description}; {validation:,} of the training items set aside for validation (seed 0)"
    pool = replace(dataset.with_train_rows(in_pool.nonzero()[:, 0]), description=described)
    return Data(pool, (dataset.train_inputs[aside], dataset.train_labels[aside]))


def _checked(dataset: object) -> Dataset:
    """A dataset with inputs and labels that are tensors, one label for each item."""
    if not isinstance(dataset, Dataset):
        raise refusal("what the loader loads", dataset, "a tonsure.datasets.Dataset(…)")
    for name, text in (("name", dataset.name), ("description", dataset.description)):
        if not isinstance(text, str):
            raise refusal(f"the {name} of the dataset", text, "a text")
    names = dataset.classes
    if not isinstance(names, tuple | list) or not names or not all(map(is_label, names)):
        raise refusal(f"{dataset.name}: classes", names, f"a tuple with {LABEL} for each class")
    train = _examples(dataset, "training", dataset.train_inputs, dataset.train_labels)
    test = _examples(dataset, "test", dataset.test_inputs, dataset.test_labels)
    return replace(dataset, train_inputs=train[0], train_labels=train[1], test_inputs=test[0], test_labels=test[1])


def _examples(dataset: Dataset, kind: str, inputs: object, labels: object) -> Examples:
    items, labels_n = as_inputs(inputs), classes(f"{dataset.name}: the {kind} labels", labels)
    if len(items) != len(labels_n) or len(items) == 0:
        raise InputError(
            f"{dataset.name}: there are {len(items):,} {kind} items and {len(labels_n):,} {kind} labels, expected one "
            "label for each item, and at least one item"
        )
    _check_labels(dataset, kind, labels_n)
    return items, labels_n


def _check_labels(dataset: Dataset, kind: str, labels_n: Int[Tensor, " n"]) -> None:
    bad = (labels_n >= len(dataset.classes)).nonzero()[:, 0]
    if len(bad):
        raise InputError(
            f"{dataset.name}: the {kind} labels must be 0 to {len(dataset.classes) - 1}, as there are "
            f"{len(dataset.classes)} classes; that of item {int(bad[0])} is {int(labels_n[bad[0]])}"
        )
