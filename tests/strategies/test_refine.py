"""Refine: several methods filter the pool, and a coverage method chooses from what is left."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


def from_a_part(state, method, rows, k, **options):
    """What a method selects from the labeled and these rows alone, by the front door; rows of the whole pool."""
    N = len(state)
    log_probs = torch.empty(N, *state.log_probs_n_K_C.shape[1:])
    log_probs[state.unlabeled_rows] = state.log_probs_n_K_C
    log_probs[state.labeled_rows] = state.labeled_log_probs_m_K_C
    kept = sorted([*state.labeled_rows.tolist(), *rows])
    labeled = [kept.index(row) for row in state.labeled_rows.tolist()]
    chosen = tn.select(log_probs[kept], method, k, features=state.features_N_D[kept], labeled=labeled, **options)
    return [kept[place] for place in chosen.rows.tolist()], chosen.gains


@pytest.mark.parametrize(("k", "rounds"), [(2, 1), (7, 1), (2, 3)])
def test_same_as_by_hand(k, rounds):
    """Methods without draws of their own; those of the shares are made again."""
    state, share, batches = random_state(60, 5), 0.4, 2
    found = choose(tn.Refine([tn.margin, tn.CoreSet()], rounds=rounds, batches=batches), state, k, seed=4)
    generator, left = torch.Generator().manual_seed(4), state.unlabeled_rows.tolist()
    for _ in range(rounds):
        union = set()
        for method in (tn.margin, tn.CoreSet()):
            for _ in range(batches):
                count = max(k, math.ceil(share * len(left)))
                seen = sorted(left[place] for place in torch.randperm(len(left), generator=generator)[:count].tolist())
                if count > k:
                    seen, _ = from_a_part(state, method, seen, k)
                    if method is tn.margin:
                        torch.randint(2**31, (), generator=generator)  # the seed of its search
                union.update(seen)
        left = sorted(union)
    assert len(left) < 55
    rows, gains = from_a_part(state, tn.FacilityLocation(), left, k)
    assert found.rows.tolist() == rows
    torch.testing.assert_close(found.gains, gains)


def test_what_is_left_is_the_union():
    """With a share of all, each method chooses what it chooses alone."""
    state, k = random_state(50, 5), 6
    methods = tn.margin, tn.CoreSet(), tn.LCMD()
    union = set().union(*(from_a_part(state, each, state.unlabeled_rows.tolist(), k)[0] for each in methods))
    seen = []
    found = choose(tn.Refine(methods, rounds=1, batches=3, share=1.0, last=Noting(seen)), state, k)
    assert set(found.rows.tolist()) <= union
    (last,) = seen
    features = state.features_N_D[sorted({*union, *state.labeled_rows.tolist()})]
    assert torch.equal(last.features(), features)
    assert last.candidate_rows is None


@dataclass(frozen=True)
class Noting(tn.Strategy):
    """The lowest rows; notes what it is asked to choose from."""

    seen: list
    needs_features: ClassVar[bool] = True

    def choose(self, state, k, generator):
        self.seen.append(state)
        return tn.Selection(state.choosable_rows[:k], torch.ones(k, dtype=torch.float64))


def test_what_methods_see():
    """A share of the rows that are left, and of the others that may not be chosen; all others in the end."""
    state, filters, last = random_state(63, 3), [], []
    some = dataclasses.replace(state, candidate_rows=state.unlabeled_rows[:40])
    refine = tn.Refine([Noting(filters)], rounds=2, batches=2, share=0.9, last=Noting(last))
    choose(refine, some, 15)
    sizes = [(len(each.labeled_rows), len(each.choosable_rows), len(each.unlabeled_rows)) for each in filters]
    share, left = sizes[2][1], len(last[0].choosable_rows)
    assert sizes == [(3, 36, 54)] * 2 + [(3, share, share + 18)] * 2
    assert 15 <= left <= math.ceil(share / 0.9) <= 30
    assert len(last[0].unlabeled_rows) == left + 20
    assert not torch.equal(filters[0].features(), filters[1].features())
    for each in (*filters, *last):
        assert torch.equal(each.labels_m, state.labels_m)
        assert torch.equal(each.features()[each.labeled_rows], state.features_N_D[state.labeled_rows])


def test_a_share_of_k_rows_is_taken_as_it_is():
    state, seen = random_state(30, 4), []
    found = choose(tn.Refine([Noting(seen)], last=Noting([])), state, 26)
    assert found.rows.tolist() == state.unlabeled_rows.tolist()
    assert choose(tn.Refine([Noting(seen)], share=1e-9, last=Noting([])), state, 5).rows.unique().numel() == 5
    assert not seen


def test_rows_that_no_method_takes_are_filtered():
    """The model is sure of nine rows in ten, which are gone before the last method draws."""
    generator = torch.Generator().manual_seed(0)
    features, unsure = torch.rand(200, 2, generator=generator), torch.arange(200) % 10 == 0
    log_probs = torch.where(unsure[:, None], 0.0, torch.tensor([9.0, 0.0])).log_softmax(-1)[:, None]
    refine = tn.Refine([tn.margin], rounds=2, batches=3, share=0.8, last=tn.Random())
    found = tn.select(log_probs, refine, 8, features=features)
    assert unsure[found.rows].all()


def test_needs_are_those_of_the_methods(make_log_probs):
    features, log_probs = torch.rand(30, 3, generator=torch.Generator().manual_seed(0)), make_log_probs(30)
    few = {"rounds": 1, "batches": 1}
    of_features = tn.Refine([tn.CoreSet(), tn.LCMD()], last=tn.FacilityLocation(score=None), **few)
    assert len(tn.select(method=of_features, k=3, features=features, labeled=[1])) == 3
    of_predictions = tn.Refine([tn.margin, (tn.Random(), tn.PowerSample())], last=tn.BatchBALD(), **few)
    assert len(tn.select(log_probs, of_predictions, 3)) == 3
    assert tn.Refine([tn.BAIT()]).needs_labeled_predictions
    state = dataclasses.replace(random_state(30, 5), features_N_D=None)
    with pytest.raises(tn.InputError, match="needs features"):  # also where nothing is filtered
        choose(tn.Refine([tn.BADGE()], last=tn.entropy), state, 25)


def test_a_method_draws_anew_each_time():
    """Also an objective, whose search has a seed of its own."""
    noted = lambda log_probs: seen.append(log_probs) or tn.bald(log_probs)  # noqa: E731
    state, seen = random_state(60, 5), []
    for method in ((noted, tn.PowerSample(beta=0.0)), tn.BADGE()):
        kept = []
        choose(tn.Refine([method], rounds=1, batches=8, share=1.0, last=Noting(kept)), state, 4)
        assert len(kept[0].unlabeled_rows) > 12  # of 55, where the same draw each time would leave 4
    assert len(seen) >= 8


def test_memory_is_that_of_the_largest():
    state = random_state(400, 5)
    needed = [tn.Refine([each], last=tn.entropy).memory_needed(state, 5) for each in (tn.margin, tn.TypiClust())]
    assert needed[1] > needed[0] > 0
    assert tn.Refine([tn.margin, tn.TypiClust()], last=tn.entropy).memory_needed(state, 5) == needed[1]
    assert tn.Refine([tn.margin], last=tn.TypiClust()).memory_needed(state, 5) < needed[1]  # of 50 rows, not 158
    assert tn.Refine([tn.margin, Noting([])]).memory_needed(state, 5) is None


def test_its_text_names_all_settings():
    refine = tn.Refine([tn.bald, tn.BADGE()], rounds=2)
    expected = "Refine(methods=(Pointwise(bald), BADGE()), rounds=2, batches=10, share=0.4, last=FacilityLocation("
    assert repr(refine).startswith(expected)
    assert tn.Method("Refine(rounds=2)").method == tn.Refine(rounds=2)
