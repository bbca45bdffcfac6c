import gzip
import re
import sys
from dataclasses import replace

import pytest

from tonsure import datasets
from tonsure.datasets import DownloadError
from tonsure.datasets.files import VARIABLE, RemoteFile, find, find_first, unpacked
from tonsure.errors import InputError, MissingExtraError


def test_the_first_form_that_is_there_is_taken(put, tmp_path):
    absent, second, third = RemoteFile("data", "a", "0" * 32), put("data", "b", b"b"), put("data", "c", b"c")
    assert find_first([absent, second, third]) == (second, tmp_path / "data" / "b")
    assert find_first([third, second]) == (third, tmp_path / "data" / "c")


def test_a_text_may_be_packed(put, tmp_path):
    whole = put("data", "rows.csv", b"1,2\n")
    (tmp_path / "data" / "rows.csv").unlink()
    put("data", "rows.csv.gz", gzip.compress(b"1,2\n"))
    path = find(whole)
    assert path.name == "rows.csv.gz"
    assert unpacked(path) == b"1,2\n"
    put("data", "rows.csv.gz", gzip.compress(b"1,3\n"))
    with pytest.raises(InputError, match=r"rows\.csv\.gz is not the published file, or damaged: its md5 is"):
        find(whole)
    put("data", "rows.csv.gz", gzip.compress(b"1,2\n")[:-3])
    with pytest.raises(InputError, match=r"rows\.csv\.gz cannot be read"):
        find(whole)


def test_other_files_may_not_be_packed(put, tmp_path):
    put("data", "rows.mat.gz", gzip.compress(b"1,2\n"))
    with pytest.raises(DownloadError):
        find(RemoteFile("data", "rows.mat", put("data", "copy", b"1,2\n").md5))


def test_without_a_mirror_the_places_and_the_variable_are_named(put, tmp_path, monkeypatch):
    forms = [RemoteFile("data", "a.npz", "0" * 32), RemoteFile("data", "b.csv", "0" * 32)]
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DownloadError) as caught:
        find_first(forms)
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        str(tmp_path / "data" / name) for name in ("a.npz", "b.csv", "b.csv.gz")
    ]
    assert str(caught.value).count(f"${VARIABLE}") == 3
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(DownloadError, match=rf"data/a\.npz can be named by \${VARIABLE}"):
        find_first(forms)


def test_the_first_form_with_a_mirror_is_downloaded(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "pooch", None)
    local = RemoteFile("data", "a", "0" * 32)
    with pytest.raises(MissingExtraError, match="downloading data/b needs"):
        find_first([local, replace(local, name="b", mirrors=("http://b",)), replace(local, mirrors=("http://c",))])


DOWNLOADED = {
    "AGNews": "ag_news/train.csv",
    "Banking77": "banking77/train.csv",
    "CIFAR10": "cifar10/cifar-10-binary.tar.gz",
    "CIFAR100": "cifar100/cifar-100-binary.tar.gz",
    "CLINC150": "clinc150/data_full.json",
    "EMNIST": "emnist/gzip.zip",
    "FashionMNIST": "fashion-mnist/train-images-idx3-ubyte.gz",
    "KMNIST": "kmnist/train-images-idx3-ubyte.gz",
    "MNIST": "mnist/train-images-idx3-ubyte.gz",
    "SVHN": "svhn/train_32x32.mat",
}


@pytest.mark.parametrize("name", DOWNLOADED)
def test_what_a_loader_downloads_first(name, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=rf"downloading {re.escape(DOWNLOADED[name])} needs"):
        getattr(datasets, name)().load()
