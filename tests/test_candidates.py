import pytest
import torch

import tonsure as tn
from cases import pairs, rest
from tonsure.predictions.reader import PoolReader
from tonsure.search.backend import LocalShards
from tonsure.search.plan import plan
from tonsure.search.space import SearchSpace
from tonsure.selection import search

pytestmark = [
    pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning"),
    pytest.mark.usefixtures("annotations_unchecked"),  # the contracts check them, of pools as large
]


@pytest.fixture(autouse=True, params=["kept", "read again"])
def as_large_pools_are(request, monkeypatch):
    """With bounds in float32 first, which small pools do without, and items in memory or not."""
    monkeypatch.setattr("tonsure.search.shard.ALONE", 0)
    if request.param == "read again":
        monkeypatch.setattr("tonsure.search.plan.KEEP", 0)


READ_AGAIN = pytest.mark.parametrize("as_large_pools_are", ["read again", rest("kept")], indirect=True)


def over(pieces, objective, block=None):
    """SearchSpace over several shards, one for each piece."""
    parts = [PoolReader([piece]) for piece in pieces]
    return SearchSpace(LocalShards(parts, objective, plan(parts[0], objective, 1, block=block)), objective)


def searched(pieces, objective, k, optimizer, block):
    return search(PoolReader(pieces), objective, k, optimizer, block=block)


class Counting(tn.LargeBatchBALD):
    """Counts the rows for which pairs are computed."""

    pairs = 0

    def update_notes(self, notes, items, chosen_m):
        Counting.pairs += len(items) * len(chosen_m)
        return super().update_notes(notes, items, chosen_m)


@pytest.mark.parametrize("seed", [0, rest(1)])
@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_lazy_is_greedy_over_many_segments(make_log_probs, seed, weight):
    log_probs = make_log_probs(1500, 8, 4, seed=seed, dtype=torch.float32)
    objective = tn.LargeBatchBALD(weight)
    eager = tn.select(log_probs, objective, 40, optimizer=tn.Greedy())
    lazy = tn.select(log_probs, objective, 40, optimizer=tn.LazyGreedy())
    assert lazy.rows.tolist() == eager.rows.tolist()
    torch.testing.assert_close(lazy.gains, eager.gains, atol=1e-5, rtol=0)


class Company(tn.Objective):
    """An item gains a nat for every chosen item of its likeliest class: gains rise, and nothing else is promised."""

    def init_state(self, like):
        return torch.zeros(like.shape[2], device=like.device)

    def update_state(self, state, chosen_1):
        return state + torch.nn.functional.one_hot(chosen_1.mean(1).argmax(1), len(state))[0]

    def gain(self, state, notes, items):
        return tn.bald(items) + state[items.mean(1).argmax(1)]


def test_lazy_is_greedy_where_gains_rise(make_log_probs):
    log_probs = make_log_probs(1000, C=10)
    eager, lazy = (tn.select(log_probs, Company(), 30, optimizer=by) for by in (tn.Greedy(), tn.LazyGreedy()))
    assert eager.gains[-1] > 20
    assert lazy.rows.tolist() == eager.rows.tolist()


def test_lazy_leaves_rows_behind(make_log_probs):
    log_probs = make_log_probs(4000, dtype=torch.float32)
    counts = []
    for by in (tn.Greedy(), tn.LazyGreedy()):
        Counting.pairs = 0
        tn.select(log_probs, Counting(0.01), 20, optimizer=by)
        counts.append(Counting.pairs)
    # Nothing is refreshed for the last pick, which nobody follows, nor for what has been chosen.
    assert counts[0] == sum(4000 - t for t in range(1, 20))
    assert counts[1] < counts[0] / 3


@READ_AGAIN
@pytest.mark.parametrize(("objective", "by"), list(pairs([tn.Greedy(), tn.LazyGreedy(), tn.TopK()], tn.LazyGreedy())))
def test_ties_go_to_the_lowest_row(make_log_probs, objective, by):
    """Four copies of every item, in different blocks and shards: the first copies are chosen first."""
    once = make_log_probs(24, dtype=torch.float32)
    pool = once.repeat(4, 1, 1)
    expected = tn.select(once, objective, 1, optimizer=by).rows.tolist()
    for shards, block in (([pool], 7), ([pool[:40], pool[40:]], 32)):
        chosen = searched(shards, objective, 12, by, block).rows
        assert chosen[:1].tolist() == expected
        for copy, row in enumerate(chosen.tolist()):
            if row >= 24:
                assert row - 24 in chosen[:copy]


def test_rows_do_not_depend_on_the_cut_of_a_repeated_pool(make_log_probs):
    pool = make_log_probs(300, 8, 10, dtype=torch.float32).repeat(4, 1, 1)
    expected = tn.select(pool, tn.LargeBatchBALD(), 60).rows.tolist()
    assert tn.select(pool, tn.LargeBatchBALD(), 60, optimizer=tn.Greedy()).rows.tolist() == expected
    for block in (16, 100, 5000):
        assert searched([pool], tn.LargeBatchBALD(), 60, None, block).rows.tolist() == expected
    assert tn.select(pool.split(250), tn.LargeBatchBALD(), 60).rows.tolist() == expected


def test_gains_of_chosen_rows_are_masked(make_log_probs):
    space = over([make_log_probs(20)], tn.LargeBatchBALD())
    space.choose(3)
    space.choose(0)
    gains = space.gains()
    assert gains.isinf().nonzero()[:, 0].tolist() == [0, 3]
    assert space.best() not in (0, 3)


def test_a_gain_that_is_nan_is_refused(make_log_probs):
    with pytest.raises(tn.InputError, match="gave nan for row 7, expected finite numbers"):
        tn.select(
            make_log_probs(),
            tn.Pointwise(lambda x: torch.where(torch.arange(len(x)) == 7, torch.nan, 1.0)),
            1,
        )


@READ_AGAIN
@pytest.mark.parametrize(
    ("objective", "by"),
    list(pairs([tn.LazyGreedy(), tn.TopK(), tn.PowerSample(2.0), tn.SoftrankSample()], tn.LazyGreedy())),
)
def test_several_shards_choose_what_one_does(make_log_probs, objective, by):
    log_probs = make_log_probs(60, dtype=torch.float32).repeat(2, 1, 1)  # copies stand in different shards
    found = []
    for pieces in ([log_probs], log_probs.split([7, 1, 60, 52])):
        space = over(pieces, objective)
        found.append(list(by.search(space, 7, torch.Generator().manual_seed(4))))
    assert [row for row, _ in found[1]] == [row for row, _ in found[0]]
    assert [gain for _, gain in found[1]] == pytest.approx([gain for _, gain in found[0]], abs=1e-6)


@pytest.mark.parametrize("objective", [tn.LargeBatchBALD(), tn.SecondOrderLBB()], ids=repr)
@pytest.mark.parametrize("C", [rest(4), 30])
@pytest.mark.parametrize("by", [tn.LazyGreedy(), tn.PowerSample(3.0)], ids=repr)
def test_rows_do_not_depend_on_what_is_looked_at(make_log_probs, monkeypatch, objective, C, by):
    """Most items say almost nothing, so that hundreds of keys lie within rounding once the batch is full."""
    log_probs = make_log_probs(600, 8, C, dtype=torch.float32)
    log_probs = torch.cat([log_probs[:100], (log_probs[100:] * 14).log_softmax(-1)])
    expected = tn.select(log_probs, objective, 40, optimizer=tn.Greedy() if by == tn.LazyGreedy() else by)
    for active, first in ((16, 8), (300, 16)):
        monkeypatch.setattr("tonsure.search.shard.ACTIVE", active)
        monkeypatch.setattr("tonsure.search.shard.FIRST", first)
        found = searched([log_probs], objective, 40, by, 77)
        assert found.rows.tolist() == expected.rows.tolist()
        torch.testing.assert_close(found.gains, expected.gains, atol=1e-9, rtol=0)


@pytest.mark.parametrize("objective", [tn.LargeBatchBALD(), tn.LargeBatchBALD(0.1), tn.SecondOrderLBB()], ids=repr)
@pytest.mark.parametrize("C", [rest(4), 30])
def test_no_bound_is_below_its_gain(make_log_probs, objective, C):
    log_probs = make_log_probs(400, 8, C, dtype=torch.float32)
    space = over([log_probs], objective)
    exact = over([log_probs.double()], objective)
    for _ in range(40):
        row = space.best()
        bounds = space._shards._shards[0]._gain_n.cpu()
        assert (bounds >= exact.gains() - 1e-12).all()
        space.choose(row)
        exact.choose(row)


def test_only_what_a_search_is_restricted_to_can_win(make_log_probs):
    log_probs = make_log_probs(40)
    space = over(log_probs.split(15), tn.LargeBatchBALD())
    allowed = torch.tensor([33, 2, 17, 16])
    space.restrict(allowed)
    assert space.gains().isfinite().nonzero()[:, 0].tolist() == [2, 16, 17, 33]
    chosen = [row for row, _ in space.picks(3)]
    assert set(chosen) < set(allowed.tolist())
    space.restrict(None)
    assert space.gains().isfinite().sum() == 37
    expected = tn.select(log_probs, tn.LargeBatchBALD(), 3, candidates=allowed).rows.tolist()
    assert chosen == expected


def test_ties_go_to_the_lowest_of_the_rows_that_can_win(make_log_probs):
    space = over([make_log_probs(12)[:1].repeat(12, 1, 1)], tn.LargeBatchBALD())
    space.restrict(torch.tensor([9, 4, 7]))
    assert space.best() == 4


def test_a_pool_without_candidates_left(make_log_probs):
    space = over([make_log_probs(12)], tn.LargeBatchBALD())
    assert sorted(row for row, _ in space.picks(12)) == list(range(12))
    with pytest.raises(AssertionError, match="every row has been chosen"):
        space.best()


class Stored(tn.Objective):
    """An item gains what stands in it; a promise that gains fall makes the search rest on bounds of long ago."""

    structure = tn.Structure.SUBMODULAR

    def gain(self, state, notes, items):
        return -items[:, 0, 0]


def test_a_gain_that_is_nan_is_told_by_its_row_in_the_pool(make_log_probs):
    log_probs = make_log_probs()
    broken = log_probs[9].clone()
    score = lambda items: torch.where((items == broken.to(items.dtype)).all((1, 2)), torch.nan, 1.0)  # noqa: E731
    with pytest.raises(tn.InputError, match="gave nan for row 9, expected finite numbers"):
        tn.select(log_probs, tn.Pointwise(score), 1, candidates=[4, 9, 12])


def test_a_tie_is_called_only_when_it_is_certain():
    """Row 2, not looked at in the second step, is larger by less than a tie, and row 0 no longer ties with it."""
    gain_N = torch.tensor([1 - 0.7e-6, 1.0, 1 + 0.4e-6, 2.0], dtype=torch.float64)
    log_probs = torch.stack([-gain_N, (-(-gain_N).exp()).log1p()], -1)[:, None]
    space = over(log_probs.split(2), Stored())
    assert [row for row, _ in space.picks(2)] == [3, 1]
