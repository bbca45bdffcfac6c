import math

import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of
from tonsure.predictions.reader import PoolReader
from tonsure.strategies import facilities


def worth_by_hand(view, radius, k):
    """f as a function of the chosen rows, number by number; every unlabeled row says its distances."""
    features = view.features_N_D.double()
    features = features - features.mean(0)
    features = [(row / row.norm()).tolist() for row in features]
    squared = [[math.dist(one, other) ** 2 for other in features] for one in features]
    labeled, unlabeled = view.labeled_rows.tolist(), view.unlabeled_rows.tolist()
    neighbor = min(len(view) // (len(labeled) + k), len(view) - 1)
    apart = sorted(sorted(squared[row])[neighbor] for row in unlabeled)
    squared_radius = radius * apart[(len(apart) - 1) // 2]
    scores = dict(zip(unlabeled, tn.margin(view.predictions()).tolist(), strict=True))

    def worth(chosen):
        told = [
            max([math.exp(-squared[j][z] / squared_radius) for z in [*labeled, *chosen]], default=0.0) for j in scores
        ]
        return sum(score * most for score, most in zip(scores.values(), told, strict=True))

    return worth


@pytest.mark.parametrize(
    ("N", "m", "k", "radius"), [(40, 6, 12, 0.7), (40, 6, 3, 2.0), (30, 0, 5, 0.7), (9, 0, 1, 1.0)]
)
def test_it_is_greedy_in_what_the_docstring_says(N, m, k, radius):
    view = random_state(N, m, D=5)
    found = choose(tn.FacilityLocation(radius=radius), view, k)
    worth, rows = worth_by_hand(view, radius, k), []
    for row, gain in zip(found.rows.tolist(), found.gains.tolist(), strict=True):
        gains = {z: worth([*rows, z]) - worth(rows) for z in view.unlabeled_rows.tolist() if z not in rows}
        assert gain == pytest.approx(gains[row], abs=1e-5)
        assert gains[row] == pytest.approx(max(gains.values()), abs=1e-5)
        rows.append(row)


def test_batches_are_searched_lazily_and_in_blocks_to_the_same_rows(monkeypatch):
    view = random_state(300, 20, D=6)
    expected = choose(tn.FacilityLocation(), view, 60)
    for sizes in ((1, 7, 11, 13), (5, 64, 100, 64), (300, 300, 300, 300)):
        for name, size in zip(("FRESH", "BLOCK", "TILE", "READ"), sizes, strict=True):
            monkeypatch.setattr(facilities, name, size)
        assert choose(tn.FacilityLocation(), view, 60).rows.tolist() == expected.rows.tolist()


@pytest.mark.parametrize(("m", "read"), [(0, 50), (120, 50), (299, 50), (120, 300)])
def test_the_features_of_a_pool_are_read_some_at_a_time(m, read, monkeypatch):
    """Of 300 rows, 20 are looked at, and at most 8 · k."""
    view, sizes = random_state(300, m, D=3), []

    class Watched(PoolReader):
        def stored(self, rows):
            sizes.append(len(rows))
            return super().stored(rows)

    for name, size in (("BLOCK", 10), ("READ", read)):
        monkeypatch.setattr(facilities, name, size)
    rest = (view.labeled_rows, view.unlabeled_rows, 1, torch.Generator().manual_seed(0))
    picks = facilities.facilities(Watched([view.features()]), tn.margin(view.predictions()), *rest, most=20)
    assert len(list(picks)) == 1
    assert max(sizes) == read
    assert sum(sizes) == 2 * 300 + m + min(20, 300 - m) + min(256, 300 - m)  # the mean, r², what is labeled, and so on


def test_it_avoids_outliers_and_copies():
    """A crowd of undecided rows, another, one undecided row far from all, and a crowd whose label is known."""
    ways = torch.eye(4)
    crowds = [ways[0].expand(10, 4), ways[1].expand(8, 4), ways[2:3], ways[3].expand(20, 4)]
    noise = 0.01 * torch.randn(39, 4, generator=torch.Generator().manual_seed(0))
    view = state_of(torch.cat(crowds) + noise, [38], log_probs_N_K_C=torch.zeros(39, 2, 3).log_softmax(-1))
    first, second, third = choose(tn.FacilityLocation(radius=50.0), view, 3).rows.tolist()
    assert (first < 10, 10 <= second < 18, third) == (True, True, 18)


def test_where_the_model_is_certain_nothing_needs_to_be_covered():
    """Undecided are only the rows from 30 on."""
    probs = torch.tensor([[1.0, 0.0]] * 30 + [[0.5, 0.5]] * 10)
    view = random_state(40, 0, log_probs_N_K_C=probs.log()[:, None])
    drawn = set()
    for seed in range(3):
        with pytest.warns(tn.SelectionWarning, match="only 10 of the 20 picks have a positive gain"):
            found = choose(tn.FacilityLocation(radius=1e-6), view, 20, seed)
        assert sorted(found.rows[:10].tolist()) == list(range(30, 40))
        assert found.gains[10:].tolist() == [0.0] * 10
        assert len(set(found.rows.tolist())) == 20
        drawn.add(tuple(found.rows[10:].tolist()))
    assert len(drawn) == 3  # the rest is drawn


def test_of_many_rows_some_are_drawn_by_their_score():
    """Rows that the model is sure of are not drawn where there are enough others; each drawn one counts the same."""
    probs = torch.tensor([[1.0, 0.0]] * 150 + [[0.9, 0.1]] * 50 + [[0.6, 0.4]] * 50)
    view = random_state(250, 0, D=4, log_probs_N_K_C=probs.log()[:, None])
    drawn = [choose(tn.FacilityLocation(radius=1e-6, most=16), view, 2, seed).rows.tolist() for seed in range(200)]
    rows = torch.tensor(drawn).flatten()
    assert rows.min() >= 150
    # With this radius a row covers itself alone, and the first two of the drawn ones are taken.
    assert len(rows.unique()) > 60
    assert choose(tn.FacilityLocation(radius=1e-6, most=16), view, 2).gains.tolist() == [1.0, 1.0]
    share = float((rows >= 200).double().mean())
    assert 0.25 < share < 0.75, share
    assert len(set(choose(tn.FacilityLocation(most=1), view, 30).rows.tolist())) == 30


@pytest.mark.parametrize(("name", "number"), [("radius", 0.0), ("radius", math.inf), ("radius", math.nan), ("most", 0)])
def test_numbers_out_of_range(name, number):
    with pytest.raises(tn.InputError, match=f"FacilityLocation: {name} is {number}"):
        tn.FacilityLocation(**{name: number})


def test_it_prints_what_it_is():
    assert repr(tn.FacilityLocation(tn.entropy)) == "FacilityLocation(entropy, radius=1.0, most=16384)"
