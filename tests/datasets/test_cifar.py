import hashlib
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from tarred import tar

from tonsure.datasets import CIFAR10, CIFAR100
from tonsure.datasets.cifar import _CIFAR10, _CIFAR100, load_cifar
from tonsure.errors import InputError

SIZES = {"train": 10, "test": 3}
IMAGES = {
    split: np.random.default_rng(seed).integers(0, 256, (N, 32, 32, 3), dtype=np.uint8)
    for seed, (split, N) in enumerate(SIZES.items())
}
LABELS = {split: (np.arange(N) * 7 + 3).astype(np.uint8) % 10 for split, N in SIZES.items()}


def parts(source, members, split):
    """The images and labels of every file: training has five in CIFAR-10, one in CIFAR-100; testing one."""
    names = members[("train", "test").index(split)]
    return zip(names, np.split(IMAGES[split], len(names)), np.split(LABELS[split], len(names)), strict=True)


def binary_files(source) -> dict[str, bytes]:
    files = {}
    for split in SIZES:
        for name, images, labels in parts(source, source.binary_members, split):
            coarse = b"\x05" if source.name == "cifar100" else b""
            files[name] = b"".join(
                coarse + bytes([label]) + image.transpose(2, 0, 1).tobytes()
                for image, label in zip(images, labels, strict=True)
            )
    return files


def python_files(source) -> dict[str, bytes]:
    return {
        name: pickle.dumps(
            {
                b"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1),
                b"coarse_labels": [5] * len(images),
                source.label_key: labels.tolist(),
            }
        )
        for split in SIZES
        for name, images, labels in parts(source, source.python_members, split)
    }


def delta_arrays() -> dict[str, np.ndarray]:
    arrays = {}
    for split in SIZES:
        red, green, blue = IMAGES[split].transpose(3, 0, 1, 2)
        planes = np.stack([red - green, green, blue - green])
        rows = np.diff(planes, axis=2, prepend=np.uint8(0))
        arrays[f"x_{split}_delta"] = np.diff(rows, axis=3, prepend=np.uint8(0))
        arrays[f"y_{split}"] = LABELS[split]
    return arrays


def npz(arrays) -> bytes:
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return written.getvalue()


def with_binary(put, source, files):
    return replace(source, binary=put(source.name, source.binary.name, tar(files)))


def with_python(put, source, files):
    return replace(source, python=put(source.name, source.python.name, tar(files)))


def with_delta(put, source, arrays):
    return replace(source, delta=put(source.name, source.delta.name, npz(arrays)))


def check(data, source):
    assert (data.train_images.numpy() == IMAGES["train"]).all()
    assert data.train_labels.tolist() == LABELS["train"].tolist()
    assert data.test_labels.tolist() == LABELS["test"].tolist()
    for inputs, split in ((data.train_inputs, "train"), (data.test_inputs, "test")):
        expected = (IMAGES[split] / 255 - source.mean) / source.deviation
        torch.testing.assert_close(inputs, torch.tensor(expected.transpose(0, 3, 1, 2), dtype=torch.float32))


@pytest.mark.parametrize("source", [_CIFAR10, _CIFAR100])
def test_every_form_gives_the_same_and_the_last_one_put_is_read_before_the_others(source, put):
    form = with_python(put, source, python_files(source))
    check(load_cifar(form), source)
    form = with_binary(put, form, binary_files(source))
    data = load_cifar(form)
    check(data, source)
    assert data.classes == source.classes
    whole = f"{source.name}, the official files: all 10 for training and 3 for testing, 32 × 32 × 3, pixels"
    assert data.description.startswith(whole)
    data = load_cifar(with_delta(put, form, delta_arrays()))
    check(data, source)
    assert data.description.startswith(f"{source.delta_is} 10 for training")


def test_a_subset_says_so():
    assert "subset" in _CIFAR10.delta_is
    assert "all" not in _CIFAR10.delta_is.split(",")[1]


def test_labels_beyond_the_classes_are_refused(put):
    form = replace(_CIFAR10, classes=("a",) * 9)
    for with_form, files in (
        (with_python, python_files(form)),
        (with_binary, binary_files(form)),
        (with_delta, delta_arrays()),
    ):
        form = with_form(put, form, files)
        with pytest.raises(InputError, match=r"cifar10.* has the label 9; there are 9 classes"):
            load_cifar(form)


def test_half_an_image_is_refused(put):
    files = binary_files(_CIFAR10)
    files["cifar-10-batches-bin/data_batch_3.bin"] += b"more"
    with pytest.raises(InputError, match=r"data_batch_3\.bin has 6150 bytes, no multiple of the 3073 of an image"):
        load_cifar(with_binary(put, _CIFAR10, files))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"data": np.zeros((10, 3071), np.uint8)}, r"data of cifar-100-python/train are uint8 of shape \[10, 3071\]"),
        ({b"data": np.zeros((10, 3072))}, r"are float64 of shape \[10, 3072\], expected uint8"),
        ({b"data": np.zeros((9, 3072), np.uint8)}, "train has 9 images, .*train has 10 labels"),
        ({b"fine_labels": None}, "cifar-100-python/train has no 'fine_labels'"),
        (None, "cifar-100-python/train has no 'data'"),
    ],
)
def test_other_pickles_are_refused(change, message, put):
    files = python_files(_CIFAR100)
    batch = pickle.loads(files["cifar-100-python/train"])
    changed = 5 if change is None else {key: value for key, value in (batch | change).items() if value is not None}
    files["cifar-100-python/train"] = pickle.dumps(changed)
    with pytest.raises(InputError, match=message):
        load_cifar(with_python(put, _CIFAR100, files))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_test": None}, r"delta\.npz has no array y_test; expected x_test_delta, y_test"),
        ({"x_train_delta": np.zeros((2, 10, 32, 32), np.uint8)}, r"has the shape \[2, 10, 32, 32\], expected \[3, N"),
        ({"x_train_delta": np.zeros((3, 10, 32, 31), np.uint8)}, r"has the shape \[3, 10, 32, 31\]"),
        ({"y_train": np.zeros(10)}, r"y_train is float64 of shape \[10\], expected uint8 with 1 axes"),
        ({"y_train": np.zeros((10, 1), np.uint8)}, r"y_train is uint8 of shape \[10, 1\]"),
        ({"y_train": np.array([None] * 10)}, "cannot be read: Object arrays"),
        ({"y_train": np.zeros(9, np.uint8)}, "has 10 images, .* has 9 labels"),
    ],
)
def test_other_archives_of_differences_are_refused(change, message, put):
    arrays = {key: value for key, value in (delta_arrays() | change).items() if value is not None}
    with pytest.raises(InputError, match=message):
        load_cifar(with_delta(put, _CIFAR10, arrays))


def test_what_is_no_archive_of_arrays_is_refused(put):
    for content in (npz(delta_arrays())[:-100], b"", b"text"):
        with pytest.raises(InputError, match=r"delta\.npz cannot be read"):
            load_cifar(replace(_CIFAR10, delta=put("cifar10", _CIFAR10.delta.name, content)))


@pytest.mark.data
@pytest.mark.parametrize(
    ("loader", "folder", "sizes", "sha256"),
    [
        (
            CIFAR10(),
            "cifar10",
            (10_000, 3_000),
            "9d4d6fcebe187324fb3a1eb1b747e1050d6512dbaf8a5ab493bb562103e1cf59",
        ),
        (
            CIFAR100(),
            "cifar100",
            (50_000, 10_000),
            "4e1aa1ad5870d15646ed2c077135af5450e3f1adb2106c9c85c99d50fcfeea6e",
        ),
    ],
)
def test_the_real_files(loader, folder, sizes, sha256, data_folder):
    if not list(data_folder.glob(f"{folder}/*_delta.npz")):
        pytest.skip(f"TONSURE_DATA has no {folder}/*_delta.npz")
    data = loader.load()
    assert hashlib.sha256(data.train_images.numpy().tobytes()).hexdigest() == sha256
    C = len(data.classes)
    assert data.train_labels.bincount().tolist() == [sizes[0] // C] * C
    assert data.test_labels.bincount().tolist() == [sizes[1] // C] * C
    assert data.test_inputs.shape == (sizes[1], 3, 32, 32)
    for images, tolerance in ((data.train_inputs, 0.005), (data.test_inputs, 0.02)):
        assert images.mean((0, 2, 3)).abs().max() < tolerance
        assert (images.std((0, 2, 3)) - 1).abs().max() < tolerance
