"""Rows are worked on in blocks of so many bytes, however wide they are."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import tonsure as tn
from tonsure.predictions import reader
from tonsure.predictions.checks import check_features, check_log_probs, classes_elsewhere
from tonsure.predictions.reader import PoolReader


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


@pytest.mark.usefixtures("small_blocks")
def test_a_row_that_is_larger_than_a_block_is_checked_sample_by_sample():
    log_probs = wide(N=3, K=20)
    with Largest(log_probs) as largest:
        check_log_probs([log_probs])
    assert 0 < largest.bytes <= 2**14
    log_probs[1, 17, 3] = torch.nan
    with pytest.raises(tn.InputError, match="row 1, sample 17 of the predictions"):
        check_log_probs([log_probs])


def test_a_reader_reads_rows_in_any_order():
    whole = wide(N=12, C=3)
    reads = PoolReader([whole[:5], whole[5:]], samples=torch.tensor([0, 2]))
    some = torch.tensor([7, 1, 11, 4])
    assert torch.equal(reads.stored(some), whole[some][:, [0, 2]])
    assert torch.equal(reads.at(some).stored(torch.tensor([2, 0])), whole[[11, 7]][:, [0, 2]])
    assert reads.at(some[:0]).stored(some[:0]).shape == (0, 2, 3)


@pytest.mark.usefixtures("small_blocks", "annotations_unchecked")
@pytest.mark.parametrize("method", [name for name in tn.METHODS if name != "EPIG"])  # which asks what its targets need
def test_too_little_memory_is_refused_before_anything_is_read(method):
    log_probs, features = wide(dtype=torch.float16), wide(C=250, K=1)[:, 0]
    labeled = list(range(60, 10, -1))
    given = {"features": features, "labeled": labeled, "labels": [0] * 50}
    with Largest(log_probs, features) as largest, pytest.raises(tn.InputError, match="at least"):
        tn.select(log_probs, method, 2, memory=1, **given)
    assert largest.bytes <= 2**14


@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize("method", ["random", "prediction-coverage", "facility-location", "coverage", "BADGE"])
def test_wide_rows_are_worked_on_in_blocks(method, small_blocks):
    """As many numbers of each row as classes, features or mixed logits are held; not as many as of predictions."""
    log_probs, features = wide(K=200, C=20), wide(K=1, C=40)[:, 0]
    given = {"features": features, "labeled": list(range(40)), "labels": [0] * 40}
    with Largest(log_probs, features) as largest:
        tn.select(log_probs, method, 2, **given)
    mixed = 8 * len(log_probs) * 500 if method == "prediction-coverage" else 0
    assert largest.bytes <= max(mixed, 2 * 64 * 64 * 8)
    assert log_probs.nbytes > 1.5 * largest.bytes
