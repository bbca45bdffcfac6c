"""A part of a dataset."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from tonsure.datasets.dataset import Dataset, Loader
from tonsure.errors import InputError


@dataclass(frozen=True)
class Subset:
    """A random part of each split, with the same number of items of every class, if there are enough.

    Args:
        dataset: the whole dataset.
        train: the number of training items.
        test: the number of test items.
        seed: of the draw.
    """

    dataset: Loader
    train: int = 2000
    test: int = 1000
    seed: int = 0

    def load(self) -> Dataset:
        """Raises as the dataset, and InputError if a split has fewer items."""
        whole = self.dataset.load()
        generator = torch.Generator().manual_seed(self.seed)
        train_rows = _drawn("train", self.train, whole.train_labels, generator)
        test_rows = _drawn("test", self.test, whole.test_labels, generator)
        return replace(
            whole.with_train_rows(train_rows).with_test_rows(test_rows),
            description=(
                f"{whole.description}; of these, {self.train:,} for training and {self.test:,} for testing, drawn "
                f"class by class with seed {self.seed}"
            ),
        )


def _drawn(split: str, count: int, labels_N: Int64[Tensor, "N"], generator: torch.Generator) -> Int64[Tensor, "count"]:
    """Rows of the split, ascending: one of every class, then a second one of every class that has two, and so on."""
    if not 0 < count <= len(labels_N):
        raise InputError(f"{split} must be 1 to {len(labels_N)}, the items that there are, found {count}")
    order_N = torch.randperm(len(labels_N), generator=generator)
    by_class_N = labels_N[order_N].argsort(stable=True)
    counts_C = labels_N.bincount()
    first_C = counts_C.cumsum(0) - counts_C
    turn_N = torch.empty_like(order_N)
    turn_N[by_class_N] = torch.arange(len(labels_N)) - first_C.repeat_interleave(counts_C)
    return order_N[turn_N.argsort(stable=True)[:count]].sort().values
