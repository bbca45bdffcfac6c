"""EMNIST, the balanced split: handwritten digits and letters."""

from dataclasses import dataclass
from pathlib import Path

from tonsure.datasets.archives import read_zip
from tonsure.datasets.dataset import Dataset
from tonsure.datasets.files import RemoteFile, find, ungzipped
from tonsure.datasets.idx import parse_idx
from tonsure.datasets.images import LabeledImages, check_labels, image_dataset

CLASSES = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")
"""Letters with similar upper and lower case are one class."""

MEAN, DEVIATION = 0.1751, 0.3332
"""Of the training pixels, scaled to [0, 1]."""


@dataclass(frozen=True)
class EMNIST:
    """Digits and letters of 47 classes, 28 × 28, 112,800 for training and 18,800 for testing.

    The official balanced split, which is in one archive with all others, of 560 MB.
    Source: Cohen, Afshar, Tapson & van Schaik 2017.
    """

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_emnist(_FILE)


def load_emnist(file: RemoteFile, cache: Path | None = None) -> Dataset:
    """Finds the archive, reads and checks the balanced split, and scales the pixels."""
    path = find(file, cache)
    return image_dataset(
        "emnist",
        "emnist, the official balanced split: all",
        _read(path, "train"),
        _read(path, "test"),
        CLASSES,
        (MEAN,),
        (DEVIATION,),
    )


def _read(path: Path, split: str) -> LabeledImages:
    names = [f"gzip/emnist-balanced-{split}-{part}-ubyte.gz" for part in ("images-idx3", "labels-idx1")]
    image_path, label_path = (path / name for name in names)
    packed = read_zip(path, names)
    # Their rows and columns are exchanged: a file holds a character lying on its side, in a mirror.
    images = parse_idx(ungzipped(packed[names[0]], image_path), image_path, ndim=3).transpose(1, 2).contiguous()
    labels = parse_idx(ungzipped(packed[names[1]], label_path), label_path, ndim=1)
    check_labels(images, labels, len(CLASSES), image_path, label_path)
    return images, labels


_FILE = RemoteFile(
    "emnist", "gzip.zip", "58c8d27c78d21e728a6bc7b3cc06412e", ("https://biometrics.nist.gov/cs_links/EMNIST",)
)
