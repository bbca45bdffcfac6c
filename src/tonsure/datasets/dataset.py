"""Dataset: training and test items with their labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Items for training and for testing, with all their labels.

    Args:
        name: of the dataset.
        train_inputs: inputs of a network, [N, ...]: images as float32 [N, channels, height, width], texts as int64
            [N, length], the numbers of their words, padded with 0.
        train_labels: int64 [N], classes from 0.
        test_inputs: [number of test items, ...], as the training inputs.
        test_labels: int64 [number of test items].
        classes: the name of each class.
        description: one sentence for the record: which data, how many, and how they were prepared.
        train_images: for display, uint8 [N, height, width] or [N, height, width, 3], from 0, black, to 255, white. None
            if the items are no images.
        train_texts: for display and for encoders, the texts; None if the items are no texts.
        test_texts: for encoders, the same of the test items.
    """

    name: str
    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    description: str
    train_images: Tensor | None = None
    train_texts: Sequence[str] | None = None
    test_texts: Sequence[str] | None = None

    def __repr__(self) -> str:
        return f"Dataset({self.description})"

    def with_train_rows(self, rows_n: Int64[Tensor, "n"]) -> "Dataset":
        """The dataset with only these training items, in this order; a row may be repeated."""
        return replace(
            self,
            train_inputs=self.train_inputs[rows_n],
            train_labels=self.train_labels[rows_n],
            train_images=None if self.train_images is None else self.train_images[rows_n],
            train_texts=_taken(self.train_texts, rows_n),
        )

    def with_test_rows(self, rows_n: Int64[Tensor, "n"]) -> "Dataset":
        """The dataset with only these test items, in this order."""
        return replace(
            self,
            test_inputs=self.test_inputs[rows_n],
            test_labels=self.test_labels[rows_n],
            test_texts=_taken(self.test_texts, rows_n),
        )


@runtime_checkable
class Loader(Protocol):
    """Anything that loads a dataset, for example ``MNIST()``. Its repr is part of the record."""

    def load(self) -> Dataset: ...


def _taken(texts: Sequence[str] | None, rows_n: Int64[Tensor, "n"]) -> Sequence[str] | None:
    return None if texts is None else [texts[row] for row in rows_n.tolist()]
