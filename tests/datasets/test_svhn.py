import io
import sys

import numpy as np
import pytest
import torch

from tonsure.datasets.svhn import load_svhn
from tonsure.errors import InputError, MissingExtraError

scipy_io = pytest.importorskip("scipy.io")

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
CLASSES = np.array([[10], [1], [9], [10]], np.uint8)


def mat(**arrays) -> bytes:
    written = io.BytesIO()
    scipy_io.savemat(written, arrays, do_compression=True)
    return written.getvalue()


GOOD = mat(X=IMAGES.transpose(1, 2, 3, 0), y=CLASSES)


def test_ten_is_the_digit_zero(put):
    data = load_svhn(put("svhn", "train.mat", GOOD), put("svhn", "test.mat", GOOD))
    assert data.train_labels.tolist() == data.test_labels.tolist() == [0, 1, 9, 0]
    assert (data.train_images.numpy() == IMAGES).all()
    expected = (IMAGES / 255 - [0.4377, 0.4438, 0.4728]) / [0.1980, 0.2010, 0.1970]
    torch.testing.assert_close(data.test_inputs, torch.tensor(expected.transpose(0, 3, 1, 2), dtype=torch.float32))
    assert "svhn, the official files without the extra training images: all 4 for training and 4" in data.description


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mat(X=IMAGES.transpose(1, 2, 3, 0), y=CLASSES % 10), "has the class 0; expected 1 to 10"),
        (mat(X=IMAGES.transpose(1, 2, 3, 0), y=CLASSES + 1), "has the class 11"),
        (mat(X=IMAGES.transpose(1, 2, 3, 0), y=CLASSES[:3]), r"has 4 images, .*test\.mat has 3 labels"),
        (mat(X=IMAGES.transpose(1, 2, 3, 0).astype(float), y=CLASSES), r"X is float64 of shape \[32, 32, 3, 4\]"),
        (mat(X=IMAGES, y=CLASSES), r"X is uint8 of shape \[4, 32, 32, 3\], expected uint8 \[height, width, 3, N\]"),
        (mat(X=IMAGES[0], y=CLASSES), r"X is uint8 of shape \[32, 32, 3\]"),
        (mat(y=CLASSES), "has no array X"),
        (mat(X=IMAGES.transpose(1, 2, 3, 0)), "has no array y"),
        (GOOD[:-500], "cannot be read"),
        (GOOD[:50], "cannot be read"),
        (b"", "cannot be read"),
        (b"text" * 100, "cannot be read"),
    ],
)
def test_other_files_are_refused(content, message, put):
    with pytest.raises(InputError, match=rf"test\.mat.*{message}|{message}"):
        load_svhn(put("svhn", "train.mat", GOOD), put("svhn", "test.mat", content))


def test_a_missing_library_is_named(put, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingExtraError, match=r"SVHN needs .*tonsure\[datasets\]"):
        load_svhn(put("svhn", "train.mat", GOOD), put("svhn", "test.mat", GOOD))
