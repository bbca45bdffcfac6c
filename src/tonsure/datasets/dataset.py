"""What a loader returns."""

from collections.abc import Sequence
from dataclasses import dataclass

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
