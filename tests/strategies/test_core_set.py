import itertools

import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of
from tonsure.strategies import distances


def by_hand(view, k):
    """The greedy choice, with differences written out."""
    features, centers, found = view.features_N_D.double(), view.labeled_rows.tolist(), []
    for _ in range(k):
        distances = (features[:, None] - features[centers]).norm(dim=2).min(dim=1).values
        distances[centers] = -1
        centers.append(int(distances.argmax()))
        found.append((centers[-1], float(distances.max())))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_same_as_by_hand(seed):
    view = random_state(60, 5, seed=seed)
    found = choose(tn.CoreSet(), view, 20)
    rows, gains = zip(*by_hand(view, 20), strict=True)
    assert found.rows.tolist() == list(rows)
    torch.testing.assert_close(found.gains, torch.tensor(gains, dtype=torch.float64))


def test_no_farther_than_twice_the_best():
    """The bound of Gonzalez, by enumeration."""
    view = random_state(14, 2)
    features = view.features_N_D

    def radius(rows):
        return float(torch.cdist(features, features[[*view.labeled_rows.tolist(), *rows]]).min(dim=1).values.max())

    found = radius(choose(tn.CoreSet(), view, 3).rows.tolist())
    best = min(map(radius, itertools.combinations(view.unlabeled_rows.tolist(), 3)))
    assert best <= found <= 2 * best


def test_ties_go_to_the_lowest_row():
    corners = [[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [-3.0, 0.0], [0.0, -3.0]]
    assert choose(tn.CoreSet(), state_of(corners, [0]), 2).rows.tolist() == [1, 2]
    far_away = [[x + 1000.0, y - 1000.0] for x, y in corners]
    assert choose(tn.CoreSet(), state_of(far_away, [0]), 2).rows.tolist() == [1, 2]


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_copies_come_last_and_are_no_gain():
    view = state_of(torch.tensor([[0.1], [0.1], [0.7], [0.7], [9.1], [9.1]]), [1])
    found = choose(tn.CoreSet(), view, 5)
    assert found.rows.tolist() == [4, 2, 0, 3, 5]
    assert found.gains.tolist() == pytest.approx([9.0, 0.6, 0, 0, 0])
    assert found.positive == 2


def test_without_labels_there_is_nothing_to_be_far_from():
    with pytest.raises(tn.InputError, match=r"none of the 4 rows is labeled"):
        choose(tn.CoreSet(), state_of(torch.eye(4), labels=[]), 2)


def test_many_labeled_rows_are_compared_with_few_at_a_time(monkeypatch):
    state = random_state(200, 150, D=4)
    expected = choose(tn.CoreSet(), state, 9)
    least = tn.CoreSet().memory_needed(state, 9)
    monkeypatch.setattr(distances, "DISTANCE_BYTES", 3 * 5 * 150 * 8)
    assert least - tn.CoreSet().memory_needed(state, 9) == (50 - 3) * (5 * 150 + 4) * 8
    found = choose(tn.CoreSet(), state, 9)
    assert found.rows.tolist() == expected.rows.tolist()
    assert torch.allclose(found.gains, expected.gains, rtol=1e-12)
