"""CIFAR-10 and CIFAR-100: photographs of 32 × 32."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tonsure.datasets.cifar_files import read_binary, read_delta, read_python
from tonsure.datasets.dataset import Dataset
from tonsure.datasets.files import RemoteFile, find_first
from tonsure.datasets.images import image_dataset

Members = tuple[Sequence[str], Sequence[str]]
"""The names of the files with training images in an archive, and of those with test images."""


@dataclass(frozen=True)
class CifarSource:
    """The settings of one of the two datasets.

    Args:
        name: of the dataset and of its folder.
        binary: the official archive of binary files, without pickles; this one is downloaded.
        binary_members: the files in it.
        label_bytes: the number of bytes before the pixels of each image in these files; the last one is the label.
        python: the official archive of pickles, which other libraries download.
        python_members: the files in it.
        label_key: the key of the labels in these files.
        delta: a smaller archive with differences of pixels.
        delta_is: the beginning of the description if that archive is read.
        mean: of the training pixels of each channel, scaled to [0, 1].
        deviation: the standard deviation of the same.
        classes: the names of the classes.
    """

    name: str
    binary: RemoteFile
    binary_members: Members
    label_bytes: int
    python: RemoteFile
    python_members: Members
    label_key: bytes
    delta: RemoteFile
    delta_is: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class CIFAR10:
    """Photographs of 10 classes, 50,000 for training and 10,000 for testing (Krizhevsky 2009).

    If $TONSURE_DATA/cifar10 has a class-balanced subset of 10,000 and 3,000, the subset is read, and the description
    says so.
    """

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_cifar(_CIFAR10)


@dataclass(frozen=True)
class CIFAR100:
    """Photographs of 100 classes (fine labels), 50,000 for training and 10,000 for testing (Krizhevsky 2009)."""

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_cifar(_CIFAR100)


def load_cifar(source: CifarSource, cache: Path | None = None) -> Dataset:
    """Finds the first available form of the data, reads and checks it, and scales the pixels."""
    file, path = find_first([source.delta, source.binary, source.python], cache)
    classes = len(source.classes)
    if file == source.delta:
        what = source.delta_is
        train, test = (read_delta(path, split, classes) for split in ("train", "test"))
    elif file == source.binary:
        what = f"{source.name}, the official files: all"
        train, test = (read_binary(path, names, source.label_bytes, classes) for names in source.binary_members)
    else:
        what = f"{source.name}, the official files: all"
        train, test = (read_python(path, names, source.label_key, classes) for names in source.python_members)
    return image_dataset(source.name, what, train, test, source.classes, source.mean, source.deviation)


_MIRRORS = ("https://www.cs.toronto.edu/~kriz",)

_CIFAR10 = CifarSource(
    name="cifar10",
    binary=RemoteFile("cifar10", "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", _MIRRORS),
    binary_members=(
        [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)],
        ["cifar-10-batches-bin/test_batch.bin"],
    ),
    label_bytes=1,
    python=RemoteFile("cifar10", "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
    python_members=(
        [f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)],
        ["cifar-10-batches-py/test_batch"],
    ),
    label_key=b"labels",
    delta=RemoteFile("cifar10", "cifar10_subset_10000_3000_delta.npz", "4cf17f761a145c2e655ad59d87b0c5f7"),
    delta_is="cifar10, a class-balanced subset of each official split, not all of it:",
    mean=(0.4914, 0.4822, 0.4465),
    deviation=(0.2470, 0.2435, 0.2616),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)

_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""

_CIFAR100 = CifarSource(
    name="cifar100",
    binary=RemoteFile("cifar100", "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", _MIRRORS),
    binary_members=(["cifar-100-binary/train.bin"], ["cifar-100-binary/test.bin"]),
    label_bytes=2,  # the coarse one, then the fine one
    python=RemoteFile("cifar100", "cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
    python_members=(["cifar-100-python/train"], ["cifar-100-python/test"]),
    label_key=b"fine_labels",
    delta=RemoteFile("cifar100", "cifar100_full_delta.npz", "56ae854955c8de6eaa85185766831955"),
    delta_is="cifar100, the official splits in another order: all",
    mean=(0.5071, 0.4865, 0.4409),
    deviation=(0.2673, 0.2564, 0.2762),
    classes=tuple(_CIFAR100_CLASSES.split()),
)
