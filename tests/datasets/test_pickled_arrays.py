import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from tonsure.datasets.pickled_arrays import load_arrays
from tonsure.errors import InputError


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, with the name that NumPy had for its module then."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

    dispatch[bytes] = save_bytes


def python2(value) -> bytes:
    written = io.BytesIO()
    _Python2Pickler(written, protocol=2).dump(value)
    return written.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


BATCH = {b"data": np.arange(12, dtype=np.uint8).reshape(3, 4), b"labels": [3, 1, 2], b"batch_label": b"one"}


@pytest.mark.parametrize("pickled", [python2(BATCH), pickle.dumps(BATCH)])
def test_arrays_lists_and_strings_come_back(pickled):
    found = load_arrays(pickled, Path("batch"))
    assert (found[b"labels"], found[b"batch_label"]) == ([3, 1, 2], b"one")
    assert (found[b"data"].dtype, found[b"data"].tolist()) == (np.uint8, BATCH[b"data"].tolist())


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


@pytest.mark.parametrize("value", [Evil(), [Evil()], OrderedDict(), sorted, eval, np.save])
def test_whatever_else_is_refused_before_it_is_called(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"batch holds no pickle of arrays.*: it asks for [\w.]+"):
        load_arrays(pickle.dumps(value), Path("batch"))
    assert not Path("evil").exists()


FORGED = {
    "cut": python2(BATCH)[:-20],
    "of a later version": b"\x80\x63",
    "put far away": b"\x80\x02]r\xff\xff\xff\x7f.",
    "put far away in words": b"]p999999999999\n.",
    "deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999,
    "text without an end": b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"a.",
    "number of many digits": b"I" + b"9" * 5000 + b"\n.",
    "array of 2^60 bytes": pickle.dumps(np.zeros(1, np.uint8)).replace(
        b"K\x01\x85", b"\x8a\x08" + bytes(7) + b"\x10\x85"
    ),
}


@pytest.mark.parametrize("content", [b"", *FORGED.values()], ids=["empty", *FORGED])
def test_damaged_ones_are_refused(content):
    with pytest.raises(InputError, match="batch holds no pickle"):
        load_arrays(content, Path("batch"))
