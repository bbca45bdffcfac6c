"""A small subset of EMNIST."""

from dataclasses import dataclass
from pathlib import Path

import torch

from tonsure.datasets.dataset import Dataset
from tonsure.datasets.emnist import CLASSES, DEVIATION, MEAN
from tonsure.datasets.files import RemoteFile, find
from tonsure.datasets.images import LabeledImages, check_labels, image_dataset
from tonsure.datasets.npz import read_npz


@dataclass(frozen=True)
class EMNIST47:
    """400 images of each of 47 characters, 28 × 28, from EMNIST ByMerge (Cohen, Afshar, Tapson & van Schaik 2017).

    A class-balanced sample of the ByMerge *test* split, divided into 15,040 for training and 3,760 for testing. It is
    not the official balanced split, which is ``EMNIST``. It must be in $TONSURE_DATA/emnist47.
    """

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_emnist47(_FILE)


def load_emnist47(file: RemoteFile) -> Dataset:
    """Finds the archive, reads and checks it, and scales the pixels."""
    path = find(file)
    return image_dataset(
        "emnist47",
        "EMNIST-47, a class-balanced subset of the ByMerge test split, cut by us and not the official balanced split:",
        _read(path, "train"),
        _read(path, "test"),
        CLASSES,
        (MEAN,),
        (DEVIATION,),
    )


def _read(path: Path, split: str) -> LabeledImages:
    arrays = read_npz(path, {f"x_{split}": 3, f"y_{split}": 1})
    images, labels = torch.from_numpy(arrays[f"x_{split}"]), torch.from_numpy(arrays[f"y_{split}"])
    check_labels(images, labels, len(CLASSES), path, path)
    return images, labels


_FILE = RemoteFile("emnist47", "emnist_bymerge_balanced_15040_3760.npz", "226e6f5ebbd9741099c484adeeb9c742")
