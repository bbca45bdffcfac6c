import gzip
import hashlib
import http.server
import struct
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tonsure.datasets import MNIST, DownloadError, FashionMNIST
from tonsure.datasets.files import VARIABLE, RemoteFile, find
from tonsure.datasets.mnist import IdxSource, load_idx
from tonsure.errors import InputError, MissingExtraError

NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
TRAIN = np.arange(6 * 4 * 3).reshape(6, 4, 3)


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def write(folder: Path, *contents: bytes) -> IdxSource:
    """Writes the four files of a tiny data set; returns its description, without mirrors."""
    folder.mkdir(parents=True)
    for name, content in zip(NAMES, contents, strict=True):
        (folder / name).write_bytes(content)
    md5s = [hashlib.md5(content).hexdigest() for content in contents]
    return IdxSource("tiny", (), tuple(md5s), mean=0.25, deviation=0.5, classes=("a", "b"))


def write_tiny(folder: Path) -> IdxSource:
    return write(folder, idx(TRAIN), idx(np.array([0, 1, 1, 0, 1, 0])), idx(TRAIN[:2] + 100), idx(np.array([1, 0])))


@pytest.fixture
def no_own_folder(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


class Quiet(http.server.SimpleHTTPRequestHandler):
    requests: list[str]

    def log_message(self, *args):
        self.requests.append(self.path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves tmp_path/served; gives its address and the list of what was asked for."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Quiet.requests = []
    (tmp_path / "served").mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served")) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", Quiet.requests
        running.shutdown()
        thread.join()


def test_read_from_the_users_folder(tmp_path, monkeypatch):
    source = write_tiny(tmp_path / "tiny")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    data = load_idx(source, cache=tmp_path / "cache")
    assert data.train_images.tolist() == TRAIN.tolist()
    torch.testing.assert_close(
        data.train_inputs, torch.tensor((TRAIN[:, None] / 255 - 0.25) / 0.5, dtype=torch.float32)
    )
    assert data.train_labels.tolist() == [0, 1, 1, 0, 1, 0]
    assert data.test_inputs.shape == (2, 1, 4, 3)
    assert data.test_labels.tolist() == [1, 0]
    assert data.train_labels.dtype == torch.int64
    assert data.classes == ("a", "b")
    assert data.description == (
        "tiny, the official files: all 6 for training and 2 for testing, 4 × 3, "
        "pixels scaled to [0, 1], minus 0.25, over 0.5"
    )
    assert not (tmp_path / "cache").exists()


def test_downloaded_once_from_the_first_mirror_that_has_it(tmp_path, server, no_own_folder):
    address, requests = server
    source = replace(write_tiny(tmp_path / "served" / "good"), mirrors=(f"{address}/gone/", f"{address}/good/"))
    data = load_idx(source, cache=tmp_path / "cache")
    assert data.train_images.tolist() == TRAIN.tolist()
    assert list(dict.fromkeys(requests)) == [f"/{mirror}/{name}" for name in NAMES for mirror in ("gone", "good")]
    asked = len(requests)
    load_idx(source, cache=tmp_path / "cache")
    assert len(requests) == asked
    assert (tmp_path / "cache" / "tiny" / NAMES[0]).is_file()


def test_a_damaged_mirror_is_passed_over_and_a_damaged_cache_mended(tmp_path, server, no_own_folder):
    address, _ = server
    source = write_tiny(tmp_path / "served" / "good")
    write(tmp_path / "served" / "bad", *[b"<html>captive portal</html>"] * 4)
    source = replace(source, mirrors=(f"{address}/bad", f"{address}/good"))
    assert load_idx(source, cache=tmp_path / "cache").train_images.tolist() == TRAIN.tolist()
    (tmp_path / "cache" / "tiny" / NAMES[0]).write_bytes(b"damaged")
    assert load_idx(source, cache=tmp_path / "cache").train_images.tolist() == TRAIN.tolist()


def test_when_no_mirror_answers_all_that_was_tried_is_listed(tmp_path, server, monkeypatch):
    address, _ = server
    write(tmp_path / "served" / "bad", *[b"other"] * 4)
    file = RemoteFile("tiny", NAMES[0], "0" * 32, (f"{address}/gone", f"{address}/bad"))
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(DownloadError, match=r"(?s)gone/train-im.*404.*bad/train-im.*can be named by \$TONSURE_D"):
        find(file, cache=tmp_path / "cache")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    with pytest.raises(DownloadError, match=r"(?s)mine/tiny/train-images-idx3-ubyte.gz: no such file.*404"):
        find(file, cache=tmp_path / "cache")


def test_a_folder_that_lacks_the_file_is_filled_up_by_a_download(tmp_path, server, monkeypatch):
    address, _ = server
    source = replace(write_tiny(tmp_path / "served" / "good"), mirrors=(f"{address}/good",))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert len(load_idx(source, cache=tmp_path / "cache").test_labels) == 2


def test_another_file_in_the_users_folder_is_refused(tmp_path, monkeypatch):
    source = write_tiny(tmp_path / "tiny")
    (tmp_path / "tiny" / NAMES[2]).write_bytes(idx(TRAIN))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=rf"{NAMES[2]} is not the published file, or damaged: its md5 is"):
        load_idx(source)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1]), "has 6 images, .*train-labels-idx1-ubyte.gz has 2 labels"),
        (np.array([0, 1, 2, 0, 0, 0]), "has the label 2; there are 2 classes"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message, tmp_path, monkeypatch):
    source = write(tmp_path / "tiny", idx(TRAIN), idx(labels), idx(TRAIN[:2]), idx(np.array([0, 1])))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=message):
        load_idx(source)


def test_a_missing_library_is_named(monkeypatch, no_own_folder):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"mnist/train-images.*tonsure\[datasets\]"):
        MNIST().load()


@pytest.mark.data
@pytest.mark.parametrize(
    ("loader", "counts"),
    [
        (MNIST(), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        (FashionMNIST(), [6000] * 10),
    ],
)
def test_the_real_files(loader, counts, data_folder):
    data = loader.load()
    assert data.train_images.shape == (60_000, 28, 28)
    assert data.test_inputs.shape == (10_000, 1, 28, 28)
    assert data.train_labels.bincount().tolist() == counts
    assert float(data.train_inputs.mean()) == pytest.approx(0, abs=1e-3)
    assert float(data.train_inputs.std()) == pytest.approx(1, abs=1e-3)
    assert len(data.classes) == 10
    assert "all 60,000 for training and 10,000 for testing, 28 × 28" in data.description
