"""Rows are worked on in blocks of so many bytes, however wide they are."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tonsure.predictions import reader
from tonsure.predictions.checks import check_features, check_log_probs, classes_elsewhere


class Largest(TorchDispatchMode):
    """The bytes of the largest memory that a tensor takes, of those that are made."""

    def __init__(self, *given):
        super().__init__()
        self.bytes, self._given = 0, {tensor.untyped_storage().data_ptr() for tensor in given}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in self._given:
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return found


@pytest.fixture
def small_blocks(monkeypatch):
    """Of one row of the pool that is used here, or two."""
    monkeypatch.setattr(reader, "BLOCK_BYTES", 2**14)


def wide(N=64, K=4, C=250, dtype=torch.float32):
    return torch.randn(N, K, C, generator=torch.Generator().manual_seed(0)).log_softmax(-1).to(dtype)


def test_rows_at_once(monkeypatch):
    assert [reader.rows_at_once(size) for size in (1, 2**13, 2**21, 2**30)] == [4096, 512, 2, 1]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_checks_hold_no_more_than_a_block(dtype):
    log_probs, features = wide(dtype=dtype), wide(dtype=dtype).flatten(1)
    with Largest(log_probs, features) as largest:
        check_log_probs([log_probs])
        check_features(features)
        for axis in (0, 1):
            assert "axis" in (classes_elsewhere(log_probs.transpose(axis, 2)) or "")
    assert 0 < largest.bytes <= 2**14
