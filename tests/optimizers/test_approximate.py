import pytest
import torch

import tonsure as tn
from tonsure.search.space import SearchSpace

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
LBB = tn.LargeBatchBALD()


def test_stochastic_greedy_that_looks_at_everything_is_greedy(make_log_probs):
    log_probs = make_log_probs(100)
    expected = tn.select(log_probs, LBB, 10, optimizer=tn.Greedy())
    found = tn.select(log_probs, LBB, 10, optimizer=tn.StochasticGreedy(epsilon=1e-5))
    assert found.rows.tolist() == expected.rows.tolist()


def test_stochastic_greedy_comes_near_to_greedy(make_log_probs):
    """Mirzasoleiman et al. 2015: 1 − 1/e − ε in expectation; far more on ordinary pools."""
    log_probs = make_log_probs(2000, K=40)
    best = float(tn.select(log_probs, LBB, 8).gains.sum())
    totals = [
        float(tn.select(log_probs, LBB, 8, optimizer=tn.StochasticGreedy(epsilon=0.1), seed=seed).gains.sum())
        for seed in range(5)
    ]
    assert len(set(totals)) > 1
    assert 0.85 * best < sum(totals) / 5 < best


def test_stochastic_greedy_looks_at_so_many_rows(make_log_probs, monkeypatch):
    sizes = []
    restrict = SearchSpace.restrict
    monkeypatch.setattr(
        "tonsure.search.space.SearchSpace.restrict",
        lambda candidates, rows: (sizes.append(len(rows)), restrict(candidates, rows))[1],
    )
    tn.select(make_log_probs(1000), LBB, 20, optimizer=tn.StochasticGreedy(epsilon=0.1))
    assert len(sizes) == 20
    # 1000 / 20 · log 10 = 115.1 draws with replacement: of 1,000 rows, some 109 different ones.
    assert max(sizes) <= 116
    assert sum(sizes) / 20 == pytest.approx(1000 * (1 - 0.999**116), abs=4)


@pytest.mark.parametrize("epsilon", [0.0, 1.0, -0.5, float("nan")])
def test_an_epsilon_out_of_range(epsilon):
    with pytest.raises(tn.InputError, match="expected a finite number above 0 and below 1"):
        tn.StochasticGreedy(epsilon)


@pytest.mark.parametrize("by", [tn.LazyGreedy(), tn.PowerSample(2.0), tn.TopK()], ids=repr)
def test_prefilter_is_a_search_of_the_rows_with_most_bald(make_log_probs, by):
    log_probs = make_log_probs(200)
    first = tn.select(log_probs, tn.Pointwise(tn.bald), 30).rows
    found = tn.select(log_probs, LBB, 12, optimizer=tn.Prefilter(first=30, optimizer=by))
    assert set(found.rows.tolist()) <= set(first.tolist())
    if by != tn.PowerSample(2.0):  # which draws its noise for all rows
        expected = tn.select(log_probs, LBB, 12, optimizer=by, candidates=first)
        assert found.rows.tolist() == expected.rows.tolist()
        torch.testing.assert_close(found.gains, expected.gains)


def test_prefilter_with_ranks_stays_inside(make_log_probs):
    log_probs = make_log_probs(200)
    first = tn.select(log_probs, tn.Pointwise(tn.bald), 30).rows
    found = tn.select(log_probs, LBB, 30, optimizer=tn.Prefilter(first=30, optimizer=tn.SoftrankSample(0.0)))
    assert set(found.rows.tolist()) == set(first.tolist())


def test_prefilters_that_cannot_be(make_log_probs):
    with pytest.raises(tn.InputError, match="first is 5, but 6 rows are to be chosen"):
        tn.select(make_log_probs(), LBB, 6, optimizer=tn.Prefilter(first=5))
    with pytest.raises(tn.InputError, match="first is 0, expected a whole number from 1"):
        tn.Prefilter(first=0)
    with pytest.raises(tn.InputError, match="restricts the pool itself"):
        tn.Prefilter(optimizer=tn.StochasticGreedy())
