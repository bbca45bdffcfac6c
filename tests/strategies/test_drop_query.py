"""DropQuery, against the definition in NumPy."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

import tonsure as tn
from pool_states import choose, random_state, state_of
from tonsure.strategies import drop_query


def votes_for(votes, C=3, strength=2.0):
    """Log-probabilities [N, K, C] of samples that vote for these classes [N, K]."""
    return (strength * torch.nn.functional.one_hot(torch.tensor(votes), C).float()).log_softmax(-1)


def shares(view):
    """The share of samples that disagree with the mean prediction, in NumPy."""
    probs = np.exp(view.log_probs_n_K_C.double().numpy())
    return (probs.argmax(2) != probs.mean(1).argmax(1)[:, None]).mean(1)


def islands(disputed, N=60, seed=0):
    """Features around six axes, far apart; half of the rows are those that the samples dispute."""
    generator = torch.Generator().manual_seed(seed)
    features = 5 * torch.eye(6)[torch.arange(N) % 6] + 0.3 * torch.randn(N, 6, generator=generator)
    votes = [[0, 1, 2] if row in disputed else [0, 0, 1] for row in range(N)]
    log_probs = votes_for(votes)
    log_probs[:, 1:] /= 4  # the first sample is surer than the others, so that the mean is its class
    return features, log_probs.log_softmax(-1)


def test_one_of_each_cluster_of_the_disputed_rows():
    """Clusters that k-means cannot miss: those of any other k-means."""
    disputed = [row for row in range(60) if row % 4 in (1, 2)]
    features, log_probs = islands(disputed)
    view = state_of(features, [1, 30], log_probs_N_K_C=log_probs)
    open_rows = np.array([row for row in disputed if row not in (1, 30)])
    assert view.unlabeled_rows[torch.from_numpy(shares(view) > 0.5)].tolist() == open_rows.tolist()
    unit = torch.nn.functional.normalize(features[open_rows].double()).numpy()
    fitted = KMeans(6, n_init=10, random_state=0).fit(unit)
    nearest = {int(open_rows[fitted.transform(unit)[:, cluster].argmin()]) for cluster in range(6)}
    found = choose(tn.DropQuery(), view, 6)
    assert set(found.rows.tolist()) == nearest
    sizes = [int((open_rows % 6 == row % 6).sum()) for row in found.rows.tolist()]
    assert sizes == sorted(sizes, reverse=True)
    assert found.gains.tolist() == pytest.approx([2 / 3] * 6)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.75])
def test_all_that_are_disputed_come_first_and_then_the_next(share):
    """In batches that are larger than their number: by the share of samples, then by the margin."""
    view = random_state(40, 5, K=8)
    share_n = shares(view)
    k = max(1, int((share_n > share).sum()))
    margin_n = np.sort(np.exp(view.log_probs_n_K_C.double().numpy()).mean(1), axis=1)
    order = np.lexsort((margin_n[:, -1] - margin_n[:, -2], -share_n))
    for count in (k, k + 1, 35):
        if count <= 35:
            found = choose(tn.DropQuery(share=share), view, count)
            assert found.rows.tolist() == view.unlabeled_rows[order[:count].copy()].tolist()
            assert found.gains.tolist() == pytest.approx(share_n[order[:count]])


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_one_sample_disputes_nothing():
    view = random_state(30, 4, K=1)
    found = choose(tn.DropQuery(), view, 6)
    assert found.rows.tolist() == view.unlabeled_rows[tn.margin(view.log_probs_n_K_C).topk(6).indices].tolist()
    assert found.gains.tolist() == [0] * 6


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fewer_places_than_rows_to_choose():
    """k-means leaves clusters empty; the rest are the most disputed rows that are left."""
    places = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[torch.arange(20) % 2]
    log_probs = votes_for([[0, 1, 2]] * 20)
    log_probs[:, 0, 0] += 0.01 * torch.arange(1, 21)
    view = state_of(places, log_probs_N_K_C=log_probs.log_softmax(-1))
    found = choose(tn.DropQuery(), view, 5)
    assert sorted(found.rows.tolist()) == [0, 1, 2, 3, 4]  # the lowest of each place, and the smallest margins


def test_a_cluster_may_be_empty(monkeypatch):
    view = random_state(40, 5, K=8)
    expected = choose(tn.DropQuery(share=0.0), view, 4)
    clusters_of = drop_query.clusters_of
    monkeypatch.setattr(drop_query, "clusters_of", lambda *given: 2 * clusters_of(*given) + 1)
    assert choose(tn.DropQuery(share=0.0), view, 4).rows.tolist() == expected.rows.tolist()


def test_ties_of_classes_go_to_the_first():
    """Three samples give two classes the same probabilities in another order: the mean is a tie, up to rounding."""
    one = 0.36 + 0.1 * torch.rand(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    two = one[:, [2, 0, 1]]
    view = state_of(torch.eye(30), log_probs_N_K_C=torch.stack([one, two, 1 - one - two], 2).log())
    assert set(view.mean_probs().argmax(1).tolist()) == {0, 1}  # what rounding makes of it
    found = choose(tn.DropQuery(), view, 30)
    expected_n = (two > one).double().mean(1)
    torch.testing.assert_close(found.gains, expected_n[found.rows])


def test_rows_of_another_library():
    """The rows that ``DropQuery`` of scikit-activeml 1.0.0 chose from them, given these samples as its passes."""
    disputed = [row for row in range(60) if row % 4 in (1, 2)]
    features, log_probs = islands(disputed, seed=3)
    features = torch.nn.functional.normalize(features.double())
    empty = torch.zeros(0, dtype=torch.int64)
    view = tn.PoolState(empty, None, torch.arange(60), features, log_probs)
    assert sorted(choose(tn.DropQuery(), view, 6).rows.tolist()) == [6, 17, 25, 46, 50, 57]
