"""WeightedKMeans: a prefilter by the score, k-means weighted by it, and the row nearest to each center."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of
from tonsure.predictions.reader import PoolReader
from tonsure.strategies import clusters, weighted_k_means

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


def with_scores(features, scores, labeled=()):
    """A state in which scores of all rows take the place of predictions."""
    state = state_of(features, labeled)
    scores = torch.as_tensor(scores, dtype=torch.float64)[state.unlabeled_rows]
    return replace(state, log_probs_n_K_C=None, scores_n=scores)


def best_clusters(features, scores, k):
    """The centers of the best of all ways to divide rows into k clusters, and their scores."""

    def centers(division):
        parts = [np.array(division) == cluster for cluster in range(k)]
        return [np.average(features[part], axis=0, weights=scores[part]) for part in parts], parts

    def cost(division):
        if len(set(division)) < k:
            return np.inf
        return sum(
            (scores[part, None] * (features[part] - center) ** 2).sum()
            for center, part in zip(*centers(division), strict=True)
        )

    found, parts = centers(min(product(range(k), repeat=len(features)), key=cost))
    return found, [scores[part].sum() for part in parts]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_the_docstring_says(seed):
    """Two loose clusters of the rows that the prefilter leaves, against all ways to divide them."""
    generator = np.random.default_rng(seed)
    features = np.array([[0, 0], [5, 5]])[np.arange(12) % 2] + generator.normal(size=(12, 2))
    scores = generator.uniform(0.1, 1, 12)
    kept = np.sort(np.argsort(-scores)[:8])
    centers, totals = best_clusters(features[kept], scores[kept], 2)
    expected = [kept[((features[kept] - center) ** 2).sum(axis=1).argmin()] for center in centers]
    order = np.argsort(totals)[::-1]
    found = choose(tn.WeightedKMeans(beta=4), with_scores(features, scores), 2, seed)
    assert found.rows.tolist() == [expected[place] for place in order]
    assert found.gains.tolist() == pytest.approx([totals[place] for place in order])


def test_the_score_moves_the_centers():
    features = [[0.0], [1.0], [2.0], [3.0], [4.0]]
    for scores, nearest in (([1, 1, 1, 1, 1], 2), ([9, 1, 1, 1, 1], 1), ([1, 1, 1, 1, 99], 4)):
        assert choose(tn.WeightedKMeans(), with_scores(features, scores), 1).rows.tolist() == [nearest]


def test_the_score_moves_the_borders():
    """Without weights the first is a cluster of its own."""
    found = choose(tn.WeightedKMeans(), with_scores([[0.0], [4.0], [7.0]], [0.1, 10.0, 10.0]), 2)
    assert found.rows.tolist() == [1, 2]
    assert found.gains.tolist() == pytest.approx([10.1, 10.0])


def test_no_more_than_beta_times_k_rows_are_looked_at():
    scores = torch.rand(200, generator=torch.Generator().manual_seed(0))
    state, read = with_scores(random_state(200).features(), scores, [3, 7]), []

    class Watched(PoolReader):
        def stored(self, rows):
            read.extend(rows.tolist())
            return super().stored(rows)

    found = choose(tn.WeightedKMeans(beta=4), replace(state, features_N_D=Watched([state.features()])), 10)
    best = state.unlabeled_rows[state.scores_n.topk(40).indices].sort().values.tolist()
    assert read == best
    assert set(found.rows.tolist()) < set(best)
    top = state.unlabeled_rows[state.scores_n.topk(10).indices].sort().values.tolist()
    assert sorted(choose(tn.WeightedKMeans(beta=1), state, 10).rows.tolist()) == top


def test_a_row_that_is_nearest_to_two_centers_is_chosen_once():
    """All rows of a pool, and of two pairs around one row the heavier takes it."""
    state = random_state(30, 4, D=3)
    assert sorted(choose(tn.WeightedKMeans(), state, 26).rows.tolist()) == state.unlabeled_rows.tolist()
    features = torch.tensor([[-2.0], [0.0], [2.1]])  # the centers are −1.33 and 2.1, or −2 and 0.7
    found = choose(tn.WeightedKMeans(), with_scores(features, [2.0, 1.0, 0.5]), 2)
    assert len(set(found.rows.tolist())) == 2


@pytest.mark.parametrize("scores", [[1.0] * 12, [0.0] * 12, [0.0] * 9 + [1.0, 2.0, 1.0]])
def test_copies_and_rows_without_a_score(scores):
    """Three different rows, and four of each: every one is chosen before any twice, where it has a score."""
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).repeat(4, 1)
    for k in (3, 8, 12):
        found = choose(tn.WeightedKMeans(), with_scores(features, scores), k)
        assert len(set(found.rows.tolist())) == k
        assert float(found.gains.sum()) == pytest.approx(sum(scores))
        if k == 3:
            assert sorted(found.rows.tolist()) == [0, 1, 2]


def test_empty_clusters_give_way_to_the_largest_scores(monkeypatch):
    monkeypatch.setattr(weighted_k_means, "clusters_of", lambda features, *_, **__: torch.zeros(len(features)).long())
    state = with_scores([[0.0], [1.0], [2.0], [3.0]], [1.0, 1.1, 1.2, 3.0])
    found = choose(tn.WeightedKMeans(), state, 3)
    assert found.rows.tolist() == [2, 3, 1]
    assert found.gains.tolist() == [pytest.approx(6.3), 0.0, 0.0]


def test_it_depends_on_distances_alone():
    state = random_state(300, 20, D=6)
    features = state.features().double()
    expected = choose(tn.WeightedKMeans(), state, 20).rows.tolist()
    for same in (features * 3.7, features + 1000, (features * 3.7).float(), features * 2.0**700):
        assert choose(tn.WeightedKMeans(), replace(state, features_N_D=same), 20).rows.tolist() == expected


def test_labels_and_candidates():
    """Rows that are labeled, and those that may not be chosen, have no influence."""
    state = random_state(60, 10)
    moved = state.features().clone()
    moved[state.labeled_rows] = 7.0
    expected = choose(tn.WeightedKMeans(), state, 9).rows.tolist()
    assert choose(tn.WeightedKMeans(), replace(state, features_N_D=moved), 9).rows.tolist() == expected
    some = replace(state, candidate_rows=state.unlabeled_rows[::2])
    moved[state.unlabeled_rows[1::2]] = 9.0
    expected = choose(tn.WeightedKMeans(), some, 9).rows.tolist()
    assert choose(tn.WeightedKMeans(), replace(some, features_N_D=moved), 9).rows.tolist() == expected


def test_k_means_looks_at_all_rows_at_every_step(monkeypatch):
    import sklearn.cluster

    monkeypatch.setattr(sklearn.cluster, "MiniBatchKMeans", None)
    k = clusters.SMALL + 1
    assert len(choose(tn.WeightedKMeans(beta=2), random_state(120, 4), k)) == k


def test_it_prints_what_it_is():
    assert repr(tn.WeightedKMeans(tn.entropy, 50)) == "WeightedKMeans(entropy, beta=50)"
