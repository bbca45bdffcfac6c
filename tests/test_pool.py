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


def test_features_of_many_kinds_and_of_none():
    expected = torch.arange(6.0).reshape(3, 2)
    for given in (expected, expected.numpy(), expected.numpy().astype(">f4"), expected.flip(0).numpy()[::-1]):
        assert torch.equal(Pool(torch.zeros(3, 5), features=given).features, expected)
    assert Pool(torch.zeros(3, 5)).features is None


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(4, 2), r"features have the shape \[4, 2\], expected 3 rows, as the inputs"),
        (torch.zeros(3), r"features are torch.float32 of shape \[3\], expected floating-point numbers \[N, D\]"),
        (torch.zeros(3, 2, dtype=torch.int64), "features are torch.int64"),
        (torch.tensor([[0.0], [0.0], [torch.nan]]), "row 2 holds nan or infinity"),
        ([[0.0], [1.0], [2.0]], "features is .*, expected a tensor or an array"),
        ("encoder", "features is 'encoder', expected a tensor or an array"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_what_is_no_features(features, message):
    with pytest.raises(InputError, match=message):
        Pool(torch.zeros(3, 5), features=features)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([0, 3, 1], [0, 0, 0], "row 3 is labeled already, as class 5"),
        ([0, 1, 0], [0, 0, 1], "row 0 is named twice, as class 0 and as class 1"),
        ([0, 4], [0, 0], "rows holds 4, expected numbers from 0 to 3"),
        ([0, -1], [0, 0], "rows holds -1, expected numbers from 0 to 3"),
        ([0, 1], [0, -2], "labels holds -2, at place 1, expected a list of classes"),
        ([0, 1], [0], "2 rows were given 1 labels"),
        ([0, 1], ["cat", "dog"], r"labels is <U3 of shape \(2,\), expected a list of classes, numbered from 0"),
        ([0, 1], [0.0, 1.0], "labels is float64"),
        ([0, 1], [0, None], "labels is object"),
        ([0, 1], None, "labels is None, expected a list of classes"),
        ({0, 1}, [0, 1], "rows is {0, 1}, expected a list of rows, in the order of the labels"),
        ([0, 1], {0, 1}, "in the order of the rows"),
        ([0, 1], {0: 1, 1: 1}, "labels is {0: 1, 1: 1}, expected a list of classes"),
        (torch.tensor([0.0]), [0], "rows is float32 of shape"),
        ([0], torch.tensor([True]), "labels is 1 booleans, expected a list of classes"),
        (torch.tensor([[0]]), [0], r"rows is int64 of shape \(1, 1\)"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_refused_labels_change_nothing(rows, labels, message):
    pool = Pool(torch.zeros(4, 1), labels={3: 5})
    with pytest.raises(InputError, match=message):
        pool.label(rows, labels)
    assert pool.labeled_rows.tolist() == [3]
    assert pool.labels.tolist() == [5]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(0, 3), "the pool is empty"),
        (torch.tensor(1.0), "the inputs are a single number, expected an array with the items on its first axis"),
        ([[1.0]], "the inputs are .*, expected a tensor or an array"),
        (np.array([["a"]]), "the inputs are an array of <U1, expected numbers"),
        (torch.zeros(2, 2).to_sparse(), "expected an ordinary dense tensor"),
        (torch.zeros(2, 2, device="meta"), "expected an ordinary dense tensor"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_what_is_no_pool_is_refused(inputs, message):
    with pytest.raises(InputError, match=message):
        Pool(inputs)


@pytest.mark.parametrize("labels", [[0, 1], torch.tensor([0, 1]), np.array([0, 1]), "01", {0, 1}])
@pytest.mark.usefixtures("annotations_unchecked")
def test_labels_without_rows_are_refused(labels):
    with pytest.raises(InputError, match=r"expected a dict from rows to classes, \{row: class\}"):
        Pool(torch.zeros(2, 1), labels=labels)


class Frame:
    """A table as other libraries have them, or a column of it: an array on request, with rows named as it likes."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)

    def __getitem__(self, key):
        raise KeyError(key)


@pytest.mark.usefixtures("annotations_unchecked")
def test_tables_are_inputs_and_labels():
    pool = Pool(Frame([[1.0, 4], [2, 5], [3, 6]]), labels={np.int64(2): np.int32(1)})
    pool.label(Frame([1, 0]), Frame([5, 6]))
    assert pool.inputs.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert (pool.labeled_rows.tolist(), pool.labels.tolist()) == ([2, 1, 0], [1, 5, 6])
    with pytest.raises(InputError, match="the inputs are an array of <U1, expected numbers"):
        Pool(Frame([["x"], ["y"]]))


def test_a_mask_names_rows():
    pool = Pool(torch.zeros(4, 1))
    pool.label(np.array([True, False, True, False]), [5, 6])
    assert (pool.labeled_rows.tolist(), pool.labels.tolist()) == ([0, 2], [5, 6])


def test_rows_are_on_the_cpu_whatever_the_default_device():
    pool = Pool(torch.zeros(3, 1), labels={1: 0})
    with torch.device("meta"):
        assert (pool.labeled_rows.tolist(), pool.unlabeled_rows.tolist(), pool.labels.tolist()) == ([1], [0, 2], [0])


def test_arrays_become_tensors_that_networks_take():
    array = np.arange(4.0).reshape(2, 2)
    array.flags.writeable = False  # as one mapped from a file
    assert Pool(array).inputs.dtype == torch.float32
    assert Pool(array).inputs.tolist() == [[0, 1], [2, 3]]
    assert Pool(np.zeros((2, 2), np.uint8)).inputs.dtype == torch.uint8
    assert Pool(torch.zeros(2, dtype=torch.float64)).inputs.dtype == torch.float64


def test_repr_shows_how_much_is_labeled():
    assert repr(Pool(torch.zeros(4, 1, 8, 8), labels={3: 5})) == "Pool(4 items of shape [1, 8, 8], 1 labeled)"
