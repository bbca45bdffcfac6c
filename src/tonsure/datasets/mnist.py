"""MNIST, and datasets in the same format: four gzipped IDX files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tonsure.datasets.dataset import Dataset
from tonsure.datasets.files import RemoteFile, find
from tonsure.datasets.idx import read_idx
from tonsure.datasets.images import LabeledImages, check_labels, image_dataset


@dataclass(frozen=True)
class IdxSource:
    """The settings of one such dataset.

    Args:
        name: of the dataset and of its folder.
        mirrors: addresses of folders with the files, the preferred one first.
        md5s: of the training images, training labels, test images and test labels.
        mean: of the training pixels, scaled to [0, 1].
        deviation: the standard deviation of the same.
        classes: the names of the classes.
    """

    name: str
    mirrors: Sequence[str]
    md5s: tuple[str, str, str, str]
    mean: float
    deviation: float
    classes: tuple[str, ...]


@dataclass(frozen=True)
class MNIST:
    """Handwritten digits, 28 × 28, 60,000 and 10,000 for testing (LeCun, Bottou, Bengio & Haffner 1998)."""

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_idx(_MNIST)


@dataclass(frozen=True)
class FashionMNIST:
    """Articles of clothing, 28 × 28, 60,000 and 10,000 for testing (Xiao, Rasul & Vollgraf 2017)."""

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_idx(_FASHION_MNIST)


@dataclass(frozen=True)
class KMNIST:
    """Characters of old Japanese books, 28 × 28, 60,000 and 10,000 for testing (Clanuwat et al. 2018)."""

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_idx(_KMNIST)


def load_idx(source: IdxSource, cache: Path | None = None) -> Dataset:
    """Finds the four files of a dataset, reads and checks them, and scales the pixels."""
    names = (
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    )
    paths = [
        find(RemoteFile(source.name, name, md5, source.mirrors), cache)
        for name, md5 in zip(names, source.md5s, strict=True)
    ]
    return image_dataset(
        source.name,
        f"{source.name}, the official files: all",
        _read(paths[0], paths[1], len(source.classes)),
        _read(paths[2], paths[3], len(source.classes)),
        source.classes,
        (source.mean,),
        (source.deviation,),
    )


def _read(image_path: Path, label_path: Path, classes: int) -> LabeledImages:
    images, labels = read_idx(image_path, ndim=3), read_idx(label_path, ndim=1)
    check_labels(images, labels, classes, image_path, label_path)
    return images, labels


_MNIST = IdxSource(
    name="mnist",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
    md5s=(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    mean=0.1307,
    deviation=0.3081,
    classes=tuple(str(digit) for digit in range(10)),
)

_FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
    md5s=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    mean=0.2860,
    deviation=0.3530,
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)

_KMNIST = IdxSource(
    name="kmnist",
    mirrors=("http://codh.rois.ac.jp/kmnist/dataset/kmnist",),
    md5s=(
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
    mean=0.1918,
    deviation=0.3483,
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)
