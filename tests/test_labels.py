import pytest
import torch

import tonsure as tn


def test_known_labels_answer_in_the_order_asked():
    source = tn.KnownLabels(torch.tensor([5, 6, 7, 8]))
    assert source(torch.tensor([3, 0])).tolist() == [8, 5]


def test_first_rows_are_balanced_random_and_repeatable():
    labels = torch.arange(90) % 3
    rows = tn.balanced_rows(labels, 7, seed=1)
    counts = labels[rows].bincount(minlength=3)
    assert rows.unique().numel() == 7
    assert sorted(counts.tolist()) == [2, 2, 3]
    assert tn.balanced_rows(labels, 7, seed=1).tolist() == rows.tolist()
    assert tn.balanced_rows(labels, 7, seed=2).tolist() != rows.tolist()
    assert {int(labels[tn.balanced_rows(labels, 1, seed=seed)]) for seed in range(30)} == {0, 1, 2}


def test_a_rare_class_gives_what_it_has():
    labels = torch.tensor([0] * 50 + [1] * 2)
    assert labels[tn.balanced_rows(labels, 10, seed=0)].bincount().tolist() == [8, 2]


def test_no_row_at_all():
    assert tn.balanced_rows(torch.zeros(5, dtype=torch.int64), 0, seed=0).tolist() == []


@pytest.mark.parametrize("count", [-1, 6])
def test_a_count_that_the_pool_cannot_give(count):
    with pytest.raises(
        tn.InputError, match=f"count is {count}, expected a whole number from 0 to 5, the size of the pool"
    ):
        tn.balanced_rows(torch.zeros(5, dtype=torch.int64), count, seed=0)
