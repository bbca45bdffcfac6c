"""What a loader returns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Items for training and for testing, with all their labels.

    Args:
        train_inputs: [N, ...], as a network wants them: images as float32 [N, channels, height, width], texts as int64
            [N, length], the numbers of their words, 0 where there are no more.
        train_labels: int64 [N], classes numbered from 0.
        test_inputs: [number of test items, ...], as the training inputs.
        test_labels: int64 [number of test items].
        classes: the name of each class.
        description: one sentence for the record: which data, how many, prepared how.
        train_images: uint8 [N, height, width] or [N, height, width, 3], as a person wants them: 0 is black, 255 is
            white. None where the items are no images.
        train_texts: the items as a person wants them where they are texts, else None.
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

    def __repr__(self) -> str:
        return f"Dataset({self.description})"

    def with_train_rows(self, rows_n: Int64[Tensor, "n"]) -> "Dataset":
        """The same, with only these training items, in this order; a row may stand there more than once."""
        return replace(
            self,
            train_inputs=self.train_inputs[rows_n],
            train_labels=self.train_labels[rows_n],
            train_images=None if self.train_images is None else self.train_images[rows_n],
            train_texts=None if self.train_texts is None else [self.train_texts[row] for row in rows_n.tolist()],
        )


@runtime_checkable
class Loader(Protocol):
    """What gives a dataset, and prints itself into the record, such as ``MNIST()``."""

    def load(self) -> Dataset: ...
