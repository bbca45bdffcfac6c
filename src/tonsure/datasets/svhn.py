"""SVHN: house numbers, photographed from the street."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tonsure.datasets.dataset import Dataset
from tonsure.datasets.files import RemoteFile, find
from tonsure.datasets.images import LabeledImages, check_labels, image_dataset
from tonsure.errors import InputError, MissingExtraError

CLASSES = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class SVHN:
    """House numbers, 32 × 32, 73,257 and 26,032 for testing, without the extra images (Netzer et al. 2011)."""

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_svhn(_TRAIN, _TEST)


def load_svhn(train: RemoteFile, test: RemoteFile, cache: Path | None = None) -> Dataset:
    """Finds the two files, reads and checks them, and scales the pixels."""
    return image_dataset(
        "svhn",
        "svhn, the official files without the extra training images: all",
        _read(find(train, cache)),
        _read(find(test, cache)),
        CLASSES,
        mean=(0.4377, 0.4438, 0.4728),
        deviation=(0.1980, 0.2010, 0.1970),
    )


def _read(path: Path) -> LabeledImages:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingExtraError("SVHN", "datasets") from error
    try:
        arrays = loadmat(path, variable_names=["X", "y"])
    # Of a damaged file it raises whatever its parser runs into.
    except Exception as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    for key in ("X", "y"):
        if key not in arrays:
            raise InputError(f"{path} has no array {key}")
    X, y = arrays["X"], arrays["y"].reshape(-1)
    if X.dtype != np.uint8 or X.ndim != 4 or X.shape[2] != 3:
        raise InputError(f"{path}: X is {X.dtype} of shape {list(X.shape)}, expected uint8 [height, width, 3, N]")
    # The digit 0 is the class 10; a 0 is no class, and must not become the digit 0 unseen.
    if not ((y >= 1) & (y <= 10)).all():
        raise InputError(f"{path} has the class {y[~((y >= 1) & (y <= 10))][0]}; expected 1 to 10")
    images = torch.from_numpy(np.ascontiguousarray(X.transpose(3, 0, 1, 2)))
    labels = torch.from_numpy((y % 10).astype(np.uint8))
    check_labels(images, labels, len(CLASSES), path, path)
    return images, labels


_MIRRORS = ("http://ufldl.stanford.edu/housenumbers",)
_TRAIN = RemoteFile("svhn", "train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", _MIRRORS)
_TEST = RemoteFile("svhn", "test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", _MIRRORS)
