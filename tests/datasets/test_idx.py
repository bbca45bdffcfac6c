import gzip
import struct

import numpy as np
import pytest

from tonsure.datasets.idx import read_idx
from tonsure.errors import InputError


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def test_reads_what_was_written(tmp_path):
    array = np.arange(2 * 300 * 1).reshape(2, 300, 1) % 251
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx(array)))
    found = read_idx(tmp_path / "images.gz", ndim=3)
    assert found.tolist() == array.tolist()
    found[0, 0, 0] = 1  # it is ours to write to


WHOLE = gzip.compress(idx(np.arange(100)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE[:-12], "cannot be read: .*ended before"),
        (WHOLE[:20] + b"xxxxxx" + WHOLE[26:], "cannot be read"),
        (b"<html>not found</html>", "cannot be read: Not a gzipped file"),
        (b"", "is no IDX file"),
        (gzip.compress(idx(np.zeros((2, 2, 2)))), "it starts with 00 00 08 03, not 00 00 08 01"),
        (gzip.compress(b"\0\0\x0d\1" + bytes(8)), "it starts with 00 00 0d 01"),
        (gzip.compress(b"\0\0\x08\1\0"), "cut short: 5 bytes, of which the header alone is 8"),
        (
            gzip.compress(idx(np.arange(100))[:-1]),
            r"99 bytes after its header, where its shape \[100\] needs 100",
        ),
        (gzip.compress(idx(np.arange(100)) + b"1"), "101 bytes after its header"),
        (gzip.compress(idx(np.zeros(0))), r"is empty: its shape is \[0\]"),
    ],
)
def test_damaged_files_are_refused_by_name(content, message, tmp_path):
    (tmp_path / "labels.gz").write_bytes(content)
    with pytest.raises(InputError, match=rf"labels\.gz .*{message}"):
        read_idx(tmp_path / "labels.gz", ndim=1)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"labels\.gz cannot be read: .*No such file"):
        read_idx(tmp_path / "labels.gz", ndim=1)
