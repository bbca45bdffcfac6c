"""What a loader returns."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images for training and for testing, with all their labels.

    Args:
        train_inputs: float32 [N, 1, height, width], as a network wants them.
        train_labels: int64 [N], classes numbered from 0.
        test_inputs: float32 [number of test items, 1, height, width].
        test_labels: int64 [number of test items].
        train_images: uint8 [N, height, width], as a person wants them: 0 is black, 255 is white.
        classes: the name of each class.
        description: one sentence for the record: which data, how many, prepared how.
    """

    name: str
    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    train_images: Tensor
    classes: tuple[str, ...]
    description: str

    def __repr__(self) -> str:
        return f"Dataset({self.description})"
