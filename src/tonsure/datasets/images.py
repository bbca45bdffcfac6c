"""Image datasets: checked labels and scaled pixels."""

from pathlib import Path

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from tonsure.datasets.dataset import Dataset
from tonsure.errors import InputError

LabeledImages = tuple[Tensor, Tensor]
"""Images, uint8 [N, height, width] or [N, height, width, 3], and their labels, uint8 [N]."""


def check_labels(images: Tensor, labels: Tensor, classes: int, image_path: Path, label_path: Path) -> None:
    """Checks that every image has a label, and that every label is a class.

    Raises:
        InputError: otherwise; the message names the files.
    """
    if len(images) != len(labels):
        raise InputError(f"{image_path} has {len(images)} images, {label_path} has {len(labels)} labels")
    if len(labels) and labels.max() >= classes:
        raise InputError(f"{label_path} has the label {int(labels.max())}; there are {classes} classes")


def image_dataset(
    name: str,
    what: str,
    train: LabeledImages,
    test: LabeledImages,
    classes: tuple[str, ...],
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
) -> Dataset:
    """A dataset from images that were read and checked.

    Args:
        what: the beginning of the description, up to the number of training items.
        mean: of the training pixels of each channel, scaled to [0, 1].
        deviation: the standard deviation of the same.
    """
    (train_images, train_labels), (test_images, test_labels) = train, test
    return Dataset(
        name=name,
        train_inputs=standardized(train_images, mean, deviation),
        train_labels=train_labels.long(),
        test_inputs=standardized(test_images, mean, deviation),
        test_labels=test_labels.long(),
        train_images=train_images,
        classes=classes,
        description=(
            f"{what} {len(train_labels):,} for training and {len(test_labels):,} for testing, "
            f"{' × '.join(map(str, train_images.shape[1:]))}, pixels scaled to [0, 1], "
            f"minus {' '.join(map(str, mean))}, over {' '.join(map(str, deviation))}"
        ),
    )


def standardized(
    images: UInt8[Tensor, "N height width *channels"], mean: tuple[float, ...], deviation: tuple[float, ...]
) -> Float32[Tensor, "N channel height width"]:
    """(x / 255 − mean) / deviation for each channel, with the channels before the height."""
    channels_last = images if images.ndim == 4 else images[..., None]
    inputs = channels_last.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    scale = lambda values: torch.tensor(values)[:, None, None]  # noqa: E731
    return inputs.div_(255).sub_(scale(mean)).div_(scale(deviation))
