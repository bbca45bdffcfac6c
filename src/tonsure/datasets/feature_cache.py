"""Features that take minutes to compute, kept on disk by all that they depend on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tonsure.durable_files import write_file
from tonsure.errors import InputError, MissingExtraError

Features = tuple[Tensor, Tensor]
"""Of the training items, and of the test items."""


def feature_folder(cache: Path | None) -> Path:
    """The folder of cached features; None is the user's. It is made first, so that an error comes before the work.

    Raises:
        InputError: the folder cannot be made.
        MissingExtraError: pooch, which knows the user's cache folder, is not installed.
    """
    if cache is None:
        try:
            import pooch
        except ImportError as error:
            raise MissingExtraError("the user's cache folder", "datasets") from error
        cache = Path(pooch.os_cache("tonsure")) / "features"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{cache}, where features are kept, cannot be made: {error}") from error
    return cache


def digest(settings: Any, items: Sequence[Tensor | Sequence[str]]) -> str:
    """A hash of the settings, by their repr, and of all training and test items: tensors or texts."""
    shapes = [some.shape for some in items if isinstance(some, Tensor)]
    found = hashlib.sha256(repr((*settings, shapes)).encode())
    for some in items:
        if isinstance(some, Tensor):
            found.update(some.contiguous().numpy().data)
        else:
            found.update(repr(list(some)).encode())
    return found.hexdigest()[:16]


def read_features(path: Path) -> Features | None:
    """The cached features; None if there are none, or if a checksum shows that they are damaged."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return torch.from_numpy(arrays["train"]), torch.from_numpy(arrays["test"])
    except Exception:  # NumPy, zipfile and the file system each have their own ways to say it
        return None


def write_features(path: Path, features: Features) -> None:
    """Raises InputError if the file cannot be written."""
    try:
        write_file(path, lambda beside: np.savez(beside, train=features[0].numpy(), test=features[1].numpy()))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error
