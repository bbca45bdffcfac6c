"""The file formats of CIFAR-10 and CIFAR-100."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tonsure.datasets.archives import read_tar
from tonsure.datasets.images import LabeledImages, check_labels
from tonsure.datasets.npz import read_npz
from tonsure.datasets.pickled_arrays import load_arrays
from tonsure.errors import InputError

SIDE = 32
PIXELS = 3 * SIDE * SIDE


def read_binary(path: Path, members: Sequence[str], label_bytes: int, classes: int) -> LabeledImages:
    """The images in some files of the official binary archive.

    A file has for each image its labels, of which the last one is used, and its pixels.

    Raises:
        InputError: the archive is damaged or lacks a file, a file has another size, or a label is no class; the message
            names the file.
    """
    record = label_bytes + PIXELS
    contents = read_tar(path, members)
    for member, content in contents.items():
        if not content or len(content) % record:
            raise InputError(f"{path}: {member} has {len(content)} bytes, no multiple of the {record} of an image")
    records = torch.frombuffer(bytearray(b"".join(contents.values())), dtype=torch.uint8).view(-1, record)
    images, labels = _channels_last(records[:, label_bytes:]), records[:, label_bytes - 1].clone()
    check_labels(images, labels, classes, path, path)
    return images, labels


def read_python(path: Path, members: Sequence[str], label_key: bytes, classes: int) -> LabeledImages:
    """Images of some files in the official archive of pickles; raises as ``read_binary`` does."""
    images, labels = [], []
    for member, content in read_tar(path, members).items():
        batch = load_arrays(content, path / member)
        for key in (b"data", label_key):
            if not isinstance(batch, dict) or key not in batch:
                raise InputError(f"{path}: {member} has no {key.decode()!r}")
        pixels, classes_of = batch[b"data"], batch[label_key]
        if not isinstance(pixels, np.ndarray) or not isinstance(classes_of, list):
            raise InputError(f"{path}: expected an array and a list as data and {label_key.decode()} of {member}")
        if not all(type(label) is int and 0 <= label < 256 for label in classes_of):
            raise InputError(f"{path}: the {label_key.decode()} of {member} are not whole numbers below 256")
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != PIXELS:
            raise InputError(
                f"{path}: the data of {member} are {pixels.dtype} of shape {list(pixels.shape)}, expected uint8 "
                f"[N, {PIXELS}]"
            )
        images.append(_channels_last(torch.from_numpy(pixels)))
        labels.append(torch.tensor(classes_of, dtype=torch.uint8))
        check_labels(images[-1], labels[-1], classes, path / member, path / member)
    return torch.cat(images), torch.cat(labels)


def read_delta(path: Path, split: str, classes: int) -> LabeledImages:
    """Images of one split, "train" or "test", of an archive of differences; raises as ``read_binary`` does."""
    arrays = read_npz(path, {f"x_{split}_delta": 4, f"y_{split}": 1})
    delta = arrays[f"x_{split}_delta"]
    if len(delta) != 3 or delta.shape[2:] != (SIDE, SIDE):
        raise InputError(f"{path}: x_{split}_delta has the shape {list(delta.shape)}, expected [3, N, {SIDE}, {SIDE}]")
    images, labels = decoded(delta), torch.from_numpy(arrays[f"y_{split}"])
    check_labels(images, labels, classes, path, path)
    return images, labels


def decoded(delta: np.ndarray) -> Tensor:
    """RGB images from uint8 [3, N, height, width]: the planes R−G, G, B−G, as differences modulo 256 along both axes.

    Returns:
        uint8 [N, height, width, 3].
    """
    red, green, blue = (plane.cumsum(1, dtype=np.uint8).cumsum(2, dtype=np.uint8) for plane in delta)
    return torch.stack([torch.from_numpy(plane) for plane in (red + green, green, blue + green)], -1)


def _channels_last(pixels: Tensor) -> Tensor:
    """[N, 3 planes of SIDE rows, one after the other] as [N, SIDE, SIDE, 3]."""
    return pixels.reshape(-1, 3, SIDE, SIDE).permute(0, 2, 3, 1).contiguous()
