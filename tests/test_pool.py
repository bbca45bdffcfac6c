import numpy as np
import pytest
import torch

from tonsure.errors import InputError
from tonsure.loop.pool import Pool


def test_rows_keep_their_numbers_and_labels_their_order():
    pool = Pool(torch.arange(12.0).reshape(6, 2), labels={4: 1, 0: 2})
    pool.label([5, 1], torch.tensor([0, 1]))
    assert pool.labeled_rows.tolist() == [4, 0, 5, 1]
    assert pool.labels.tolist() == [1, 2, 0, 1]
    assert pool.unlabeled_rows.tolist() == [2, 3]
    inputs, labels = pool.labeled()
    assert inputs.tolist() == [[8, 9], [0, 1], [10, 11], [2, 3]]
    assert labels.tolist() == [1, 2, 0, 1]
    assert len(pool) == len(pool.inputs) == 6
    assert {pool.labeled_rows.dtype, pool.unlabeled_rows.dtype, pool.labels.dtype} == {torch.int64}


def test_nothing_labeled_and_everything_labeled():
    pool = Pool(torch.zeros(2, 3))
    assert pool.labeled_rows.tolist() == []
    assert pool.unlabeled_rows.tolist() == [0, 1]
    assert pool.labeled()[0].shape == (0, 3)
    pool.label([], [])
    pool.label(torch.tensor([1, 0], dtype=torch.int32), [7, 7])
    assert pool.unlabeled_rows.tolist() == []


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([0, 3, 1], [0, 0, 0], "row 3 is labeled already, as class 5"),
        ([0, 1, 0], [0, 0, 1], "row 0 is named twice, as class 0 and as class 1"),
        ([0, 4], [0, 0], "row 4 is not in the pool, whose rows are 0 to 3"),
        ([0, -1], [0, 0], "row -1 is not in the pool"),
        ([0, 1], [0, -2], "row 1 was given the label -2"),
        ([0, 1], [0], "2 rows were given 1 labels"),
        (torch.tensor([0.0]), [0], "rows must be a list of integers, found torch.float32"),
        ([0], torch.tensor([True]), "labels must be a list of integers, found torch.bool"),
        (torch.tensor([[0]]), [0], r"rows must be a list of integers, found torch.int64 of shape \[1, 1\]"),
    ],
)
def test_refused_labels_change_nothing(rows, labels, message):
    pool = Pool(torch.zeros(4, 1), labels={3: 5})
    with pytest.raises(InputError, match=message):
        pool.label(rows, labels)
    assert pool.labeled_rows.tolist() == [3]
    assert pool.labels.tolist() == [5]


@pytest.mark.parametrize("inputs", [torch.zeros(0, 3), torch.tensor(1.0)])
def test_empty_pool_is_refused(inputs):
    with pytest.raises(InputError, match="the pool is empty"):
        Pool(inputs)


def test_arrays_become_tensors_that_networks_take():
    array = np.arange(4.0).reshape(2, 2)
    array.flags.writeable = False  # as one mapped from a file
    assert Pool(array).inputs.dtype == torch.float32
    assert Pool(array).inputs.tolist() == [[0, 1], [2, 3]]
    assert Pool(np.zeros((2, 2), np.uint8)).inputs.dtype == torch.uint8
    assert Pool(torch.zeros(2, dtype=torch.float64)).inputs.dtype == torch.float64


def test_repr_shows_how_much_is_labeled():
    assert repr(Pool(torch.zeros(4, 1, 8, 8), labels={3: 5})) == "Pool(4 items of shape [1, 8, 8], 1 labeled)"
