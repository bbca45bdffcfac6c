import itertools

import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of
from tonsure.strategies import prob_cover
from tonsure.strategies.clusters import clusters_of
from tonsure.strategies.distances import on_the_sphere


def inside(view, delta):
    """Every ball, with differences written out."""
    unit = torch.nn.functional.normalize(view.features_N_D.double())
    return (unit[:, None] - unit).norm(dim=2) <= delta


def covered(balls, rows):
    return int(balls[list(rows)].any(dim=0).sum())


@pytest.mark.parametrize("delta", [0.15, 0.4, 0.9])
@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_same_as_by_hand(delta, block, monkeypatch):
    monkeypatch.setattr(prob_cover, "BLOCK", block)
    view = random_state(60, 3)
    found, balls, rows = choose(tn.ProbCover(delta), view, 12), inside(view, delta), view.labeled_rows.tolist()
    for row, gain in zip(found.rows.tolist(), found.gains.tolist(), strict=True):
        gains = [covered(balls, [*rows, other]) - covered(balls, rows) for other in range(60)]
        assert gain == max(gains) == gains[row]
        rows.append(row)


@pytest.mark.usefixtures("annotations_unchecked")
def test_ties_are_drawn_whatever_the_order_of_the_pool():
    """Ten copies of one direction, ten of another: either way each of the twenty comes first about equally often."""
    view = state_of(torch.tensor([[1.0, 0.0]] * 10 + [[0.0, 1.0]] * 10), [])
    firsts = torch.tensor([int(choose(tn.ProbCover(0.5), view, 2, seed).rows[0]) for seed in range(400)])
    counts = firsts.bincount(minlength=20)
    assert float((counts - 20).square().sum() / 20) < 43.8  # χ² with 19 degrees of freedom, 0.999


def test_near_to_the_best_cover():
    """At least 1 − 1/e of what any batch would cover, by enumeration."""
    view = random_state(16, 0, labels=[])
    balls = inside(view, 0.4)
    best = max(covered(balls, rows) for rows in itertools.combinations(range(16), 3))
    found = covered(balls, choose(tn.ProbCover(0.4), view, 3).rows.tolist())
    assert (1 - 1 / 2.71828) * best <= found <= best


def test_the_rest_is_drawn():
    view = state_of(torch.tensor([[1.0, 0.0]] * 10 + [[0.0, 1.0]] * 10), [0])
    seen = set()
    for seed in range(4):
        with pytest.warns(tn.SelectionWarning, match="only 1 of the 5 rows have a positive gain"):
            found = choose(tn.ProbCover(0.5), view, 5, seed)
        assert int(found.rows[0]) >= 10
        assert found.gains.tolist() == [10, 0, 0, 0, 0]
        seen.add(tuple(found.rows.tolist()))
    assert len(seen) == 4


@pytest.mark.parametrize("purity", [0.5, 0.95, 1.0])
def test_the_largest_delta_that_is_pure(purity):
    view = random_state(80, 4)
    features = on_the_sphere(view.features_N_D)
    found = tn.ProbCover(purity=purity, classes=4)._largest_pure(features, view, torch.Generator().manual_seed(2))
    cluster = clusters_of(features, 4, torch.Generator().manual_seed(2))
    other = cluster[:, None] != cluster

    def share(delta):
        return float((~(inside(view, delta) & other).any(dim=1)).double().mean())

    assert share(found) >= purity
    assert share(found * 1.001) < purity


def test_as_many_clusters_as_classes(monkeypatch):
    asked = []

    def note(features, count, generator):
        asked.append(count)
        return clusters_of(features, count, generator)

    monkeypatch.setattr(prob_cover, "clusters_of", note)
    choose(tn.ProbCover(), state_of(torch.randn(20, 3), [1, 2], labels=[0, 4]), 1)
    choose(tn.ProbCover(classes=3), state_of(torch.randn(20, 3), [1, 2], labels=[0, 4]), 1)
    choose(tn.ProbCover(), state_of(torch.randn(20, 3), [1, 2], labels=[0, 0]), 1)
    assert asked == [5, 3, 2]
    with pytest.raises(tn.InputError, match="no row is labeled: give delta or classes"):
        choose(tn.ProbCover(), state_of(torch.randn(20, 3), labels=[]), 1)


def test_one_cluster_is_pure_however_large_its_balls():
    view = state_of(torch.ones(20, 3), [1])
    features = on_the_sphere(view.features_N_D)
    assert tn.ProbCover()._largest_pure(features, view, torch.Generator()) == pytest.approx(2, abs=1e-3)
