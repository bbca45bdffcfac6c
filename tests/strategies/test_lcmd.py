"""LCMD: the farthest row of the largest cluster."""

import dataclasses

import numpy as np
import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of
from tonsure.strategies.distances import Cloud

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


def by_hand(view, k):
    """The definition, one row and one cluster at a time, in NumPy."""
    h = view.features_N_D.double().numpy()
    unlabeled, open_rows = view.unlabeled_rows.tolist(), view.choosable_rows.tolist()
    centers, found = sorted(view.labeled_rows.tolist()), []
    for _ in range(k):
        if centers:
            center_of = {x: min(centers, key=lambda z: np.linalg.norm(h[x] - h[z])) for x in unlabeled}
            distance = {x: np.linalg.norm(h[x] - h[z]) for x, z in center_of.items()}
            size = {z: sum(distance[x] ** 2 for x in unlabeled if center_of[x] == z) for z in centers}
            largest = max((center_of[x] for x in open_rows), key=size.get)
            row = max((x for x in open_rows if center_of[x] == largest), key=distance.get)
        else:
            distance = {x: np.linalg.norm(h[x]) for x in unlabeled}
            row = max(open_rows, key=distance.get)
        found.append((row, distance[row]))
        centers.append(row)
        open_rows.remove(row)
    return found


@pytest.mark.parametrize("m", [0, 1, 6])
@pytest.mark.parametrize("every", [1, 3])
def test_same_as_by_hand(m, every):
    view = random_state(40, m)
    view = dataclasses.replace(view, candidate_rows=view.unlabeled_rows[::every])
    found = choose(tn.LCMD(), view, 9)
    rows, gains = zip(*by_hand(view, 9), strict=True)
    assert found.rows.tolist() == list(rows)
    torch.testing.assert_close(found.gains, torch.tensor(gains, dtype=torch.float64))


def line(*positions, labeled):
    return state_of(torch.tensor(positions)[:, None], labeled)


def test_many_rows_count_for_more_than_one_far_away():
    """An outlier at a distance of 20 has 400 in its cluster; five rows at about 10 have 500."""
    view = line(0.0, 100.0, 120.0, 10.0, 10.1, 10.2, 10.1, 10.0, labeled=[0, 1])
    assert choose(tn.LCMD(), view, 2).rows.tolist() == [5, 2]
    assert choose(tn.CoreSet(), view, 2).rows.tolist() == [2, 5]


def test_rows_that_may_not_be_chosen_count():
    view = line(0.0, 100.0, 104.0, -3.0, 3.0, labeled=[0, 1])
    assert choose(tn.LCMD(), view, 1).rows.tolist() == [3]
    some = dataclasses.replace(view, candidate_rows=torch.tensor([2, 4]))
    assert choose(tn.LCMD(), some, 2).rows.tolist() == [4, 2]
    passed_over = dataclasses.replace(view, candidate_rows=torch.tensor([2]))
    assert choose(tn.LCMD(), passed_over, 1).rows.tolist() == [2]


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_ties(offset):
    """Within rounding: a tenth of these, and zero, are no binary numbers."""

    def rows(*positions, labeled, k=1):
        view = line(*positions, labeled=labeled)
        features = 0.1 * torch.tensor(positions, dtype=torch.float64)[:, None] + offset
        return choose(tn.LCMD(), dataclasses.replace(view, features_N_D=features), k).rows.tolist()

    # Of clusters of one sum, 9 + 16 and 25, the one with the farthest row; of rows at one distance the lowest.
    assert rows(0.0, 100.0, 3.0, 4.0, 105.0, labeled=[0, 1]) == [4]
    assert rows(0.0, 5.0, -5.0, labeled=[0]) == [1]
    # The row in the middle makes the cluster of row 0 the largest, not that of row 1.
    for labeled in ([0, 1], [1, 0]):
        assert rows(0.0, 10.0, 5.0, -6.0, 15.5, labeled=labeled) == [3]
    # Nor does it go over to a chosen row at the same distance.
    assert rows(0.0, 12.0, 6.0, -7.0, 7.0, 8.0, labeled=[0], k=2) == [1, 3]


def test_of_centers_at_one_distance_the_first_is_taken():
    """However the distances are rounded."""
    generator = torch.Generator().manual_seed(0)
    for middle, side in torch.randn(40, 2, 3, generator=generator, dtype=torch.float64):
        features = torch.stack([middle, middle - side, middle + side])
        nearest_n, place_n = Cloud.of(features, torch.tensor([0, 2])).nearest(features[1:])
        assert place_n.tolist() == [0, 1]
        assert nearest_n[1] == 0


def test_copies_come_last_and_are_no_gain():
    view = line(0.5, 0.5, 1.0, 1.0, 9.5, 9.5, labeled=[1])
    found = choose(tn.LCMD(), view, 5)
    assert found.rows.tolist() == [4, 2, 0, 3, 5]
    assert found.gains.tolist() == pytest.approx([9.0, 0.5, 0, 0, 0])


def test_without_labels_the_longest_row_comes_first():
    view = line(1.0, -3.0, 2.0, labeled=[])
    found = choose(tn.LCMD(), view, 3)
    assert found.rows.tolist() == [1, 2, 0]
    assert found.gains.tolist() == pytest.approx([3.0, 5.0, 1.0])
    zeros = choose(tn.LCMD(), line(0.0, 0.0, 0.0, labeled=[]), 3)
    assert zeros.rows.tolist() == [0, 1, 2]
    assert zeros.gains.tolist() == [0, 0, 0]
