import pytest
import torch

import tonsure as tn
from cases import OBJECTIVES
from tonsure.candidates import Candidates

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


class Counting(tn.LargeBatchBALD):
    """Counts the rows for which pairs are computed."""

    pairs = 0

    def next_notes(self, notes, items, chosen_m):
        Counting.pairs += len(items) * len(chosen_m)
        return super().next_notes(notes, items, chosen_m)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_lazy_is_greedy_over_many_segments(make_log_probs, seed, weight):
    log_probs = make_log_probs(2000, 8, 4, seed=seed, dtype=torch.float32)
    objective = tn.LargeBatchBALD(weight)
    eager = tn.select(log_probs, objective, 60, by=tn.Greedy())
    lazy = tn.select(log_probs, objective, 60, by=tn.LazyGreedy())
    assert lazy.rows.tolist() == eager.rows.tolist()
    torch.testing.assert_close(lazy.gains, eager.gains, atol=1e-5, rtol=0)


class Company(tn.Objective):
    """An item gains a nat for every chosen item of its likeliest class: gains rise, and nothing else is promised."""

    def first_state(self, like):
        return torch.zeros(like.shape[2], device=like.device)

    def next_state(self, state, chosen_1):
        return state + torch.nn.functional.one_hot(chosen_1.mean(1).argmax(1), len(state))[0]

    def gain(self, state, notes, items):
        return tn.bald(items) + state[items.mean(1).argmax(1)]


def test_lazy_is_greedy_where_gains_rise(make_log_probs):
    log_probs = make_log_probs(2000, C=10)
    eager, lazy = (tn.select(log_probs, Company(), 30, by=by) for by in (tn.Greedy(), tn.LazyGreedy()))
    assert eager.gains[-1] > 20
    assert lazy.rows.tolist() == eager.rows.tolist()


def test_lazy_leaves_rows_behind(make_log_probs):
    log_probs = make_log_probs(4000, dtype=torch.float32)
    counts = []
    for by in (tn.Greedy(), tn.LazyGreedy()):
        Counting.pairs = 0
        tn.select(log_probs, Counting(0.01), 20, by=by)
        counts.append(Counting.pairs)
    assert counts[0] == 4000 * 19  # nothing is refreshed for the last pick, which nobody follows
    assert counts[1] < counts[0] / 3


@pytest.mark.parametrize("objective", [case for case in OBJECTIVES if case.block is None], ids=repr)
@pytest.mark.parametrize("by", [tn.Greedy(), tn.LazyGreedy(), tn.TopK()], ids=repr)
def test_ties_go_to_the_lowest_row(make_log_probs, objective, by):
    """Four copies of every item, in different blocks and shards: the first copies are chosen first."""
    once = make_log_probs(50, dtype=torch.float32)
    pool = once.repeat(4, 1, 1)
    expected = tn.select(once, objective, 1, by=by).rows.tolist()
    for shards, block in ((pool, 1024), (pool, 7), ([pool[:70], pool[70:]], 64)):
        chosen = tn.select(shards, objective, 30, by=by, block=block).rows
        assert chosen[:1].tolist() == expected
        for copy, row in enumerate(chosen.tolist()):
            if row >= 50:
                assert row - 50 in chosen[:copy]


def test_rows_do_not_depend_on_the_cut_of_a_repeated_pool(make_log_probs):
    pool = make_log_probs(300, 8, 10, dtype=torch.float32).repeat(4, 1, 1)
    expected = tn.select(pool, tn.LargeBatchBALD(), 60).rows.tolist()
    assert tn.select(pool, tn.LargeBatchBALD(), 60, by=tn.Greedy()).rows.tolist() == expected
    for block in (16, 100, 5000):
        assert tn.select(pool, tn.LargeBatchBALD(), 60, block=block).rows.tolist() == expected
    assert tn.select(pool.split(250), tn.LargeBatchBALD(), 60).rows.tolist() == expected


def test_gains_of_chosen_rows_are_masked(make_log_probs):
    candidates = Candidates([make_log_probs(20)], tn.LargeBatchBALD())
    candidates.choose(3)
    candidates.choose(0)
    gains = candidates.gains()
    assert gains.isinf().nonzero()[:, 0].tolist() == [0, 3]
    assert candidates.best() not in (0, 3)


def test_a_gain_that_is_nan_is_refused(make_log_probs):
    with pytest.raises(tn.InputError, match="the gain of row 7 is nan"):
        tn.select(
            make_log_probs(),
            tn.Pointwise(lambda x: torch.where(torch.arange(len(x)) == 7, torch.nan, 1.0)),
            1,
        )
