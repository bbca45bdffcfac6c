import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
import torch

from tonsure.datasets import EMNIST47
from tonsure.datasets.emnist import CLASSES, load_emnist
from tonsure.datasets.emnist47 import load_emnist47
from tonsure.errors import InputError

IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5) * 4
LABELS = np.array([46, 0, 10], np.uint8)


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def files() -> dict[str, bytes]:
    lying = np.ascontiguousarray(IMAGES.transpose(0, 2, 1))
    return {
        "gzip/emnist-balanced-train-images-idx3-ubyte.gz": idx(lying),
        "gzip/emnist-balanced-train-labels-idx1-ubyte.gz": idx(LABELS),
        "gzip/emnist-balanced-test-images-idx3-ubyte.gz": idx(lying[1:]),
        "gzip/emnist-balanced-test-labels-idx1-ubyte.gz": idx(LABELS[1:]),
    }


def zipped(files) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


def npz(**arrays) -> bytes:
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return written.getvalue()


def test_images_are_put_upright(put):
    data = load_emnist(put("emnist", "gzip.zip", zipped(files())))
    assert data.train_images.tolist() == IMAGES.tolist()
    expected = torch.tensor((IMAGES[1:, None] / 255 - 0.1751) / 0.3332, dtype=torch.float32)
    torch.testing.assert_close(data.test_inputs, expected)
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([46, 0, 10], [0, 10])
    assert data.description == (
        "emnist, the official balanced split: all 3 for training and 2 for testing, 4 × 5, pixels scaled to [0, 1], "
        "minus 0.1751, over 0.3332"
    )


def test_the_classes_are_those_of_the_balanced_split():
    assert len(CLASSES) == len(set(CLASSES)) == 47
    assert (CLASSES[9], CLASSES[10], CLASSES[35], CLASSES[36], CLASSES[46]) == ("9", "A", "Z", "a", "t")


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("train-labels-idx1", None, "gzip.zip has no file gzip/emnist-balanced-train-labels"),
        ("train-labels-idx1", idx(LABELS + 1), "train-labels-idx1-ubyte.gz has the label 47; there are 47 classes"),
        ("test-labels-idx1", idx(LABELS), "test-images-idx3-ubyte.gz has 2 images, .*labels-idx1.*has 3 labels"),
        ("test-images-idx3", idx(IMAGES)[:-4], "test-images-idx3-ubyte.gz cannot be read"),
        ("test-images-idx3", idx(LABELS), "test-images-idx3-ubyte.gz is no IDX file of unsigned bytes with 3 axes"),
    ],
)
def test_other_files_in_the_archive_are_refused(part, content, message, put):
    changed = files() | {f"gzip/emnist-balanced-{part}-ubyte.gz": content}
    with pytest.raises(InputError, match=message):
        load_emnist(put("emnist", "gzip.zip", zipped({name: content for name, content in changed.items() if content})))


def test_the_subset_is_read_and_says_what_it_is(put):
    content = npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:1], y_test=LABELS[:1], class_names=np.array([b"0"]))
    data = load_emnist47(put("emnist47", "a.npz", content))
    assert data.train_images.tolist() == IMAGES.tolist()
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([46, 0, 10], [46])
    assert "a class-balanced subset of the ByMerge test split" in data.description
    assert "not the official balanced split: 3 for training and 1 for testing" in data.description


def test_another_subset_is_refused(put):
    content = npz(x_train=IMAGES, y_train=LABELS + 1, x_test=IMAGES, y_test=LABELS)
    with pytest.raises(InputError, match=r"a\.npz has the label 47; there are 47 classes"):
        load_emnist47(put("emnist47", "a.npz", content))
    with pytest.raises(InputError, match=r"a\.npz has no array y_train"):
        load_emnist47(put("emnist47", "a.npz", npz(x_train=IMAGES)))


@pytest.mark.data
def test_the_real_subset(data_folder):
    if not (data_folder / "emnist47").is_dir():
        pytest.skip("TONSURE_DATA has no emnist47")
    data = EMNIST47().load()
    assert data.train_images.shape == (15_040, 28, 28)
    assert data.train_labels.bincount().tolist() == [320] * 47
    assert data.test_labels.bincount().tolist() == [80] * 47
    assert float(data.train_inputs.mean()) == pytest.approx(0, abs=0.01)
    assert float(data.train_inputs.std()) == pytest.approx(1, abs=0.01)
    # Upright, the stroke of an I is taller than wide.
    ink = data.train_images[data.train_labels == CLASSES.index("I")].double().mean(0)
    assert ink.sum(1).gt(ink.sum(1).max() / 4).sum() > ink.sum(0).gt(ink.sum(0).max() / 4).sum()
