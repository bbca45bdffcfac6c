"""What experiments/default_mends.py makes of facility location."""

import sys
from pathlib import Path

import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of
from tonsure.testing import check_strategy

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@pytest.fixture(scope="module")
def mends():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXPERIMENTS)
        import default_mends

        yield default_mends
    del sys.modules["default_mends"]


def test_the_contract(mends):
    for strategy in (
        mends.LongFeatures(),
        mends.Mixture(tn.FacilityLocation(), tn.BAIT(binary=True)),
        mends.Mixture(tn.CoreSet(), tn.BADGE()),
    ):
        check_strategy(strategy, random_state())


def test_lengths_to_the_power_of_none_are_facility_location(mends):
    view = random_state(60, 8, D=4)
    plain, none, fourth = (
        choose(strategy, view, 12)
        for strategy in (tn.FacilityLocation(whitening=0.0), mends.LongFeatures(0.0), mends.LongFeatures())
    )
    assert none.rows.tolist() == plain.rows.tolist()
    assert none.gains.tolist() == plain.gains.tolist()
    assert fourth.rows.tolist() != plain.rows.tolist()


def test_long_features_weigh_more(mends):
    """Two crowds around rays from the mean, the one twice as far from it as the other, and equally undecided."""
    noise = 0.01 * torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    near, far, opposite = torch.tensor([[0.0, 1.0], [2.0, 0.0], [-2.0, -1.0]]).unbind()
    features = torch.cat([near.expand(8, 2), far.expand(6, 2), opposite.expand(6, 2)]) + noise
    view = state_of(features, [14, 15, 16, 17, 18, 19], log_probs_N_K_C=torch.zeros(20, 2, 3).log_softmax(-1))
    assert choose(tn.FacilityLocation(), view, 1).rows[0] < 8
    assert 8 <= choose(mends.LongFeatures(), view, 1).rows[0] < 14


def test_what_the_second_half_sees(mends, monkeypatch):
    """Every row has its own predictions still, and what the first half took counts as labeled."""
    log_probs = (2 * torch.randn(40, 4, 3, generator=torch.Generator().manual_seed(3))).log_softmax(-1)
    view, seen = random_state(40, 6, log_probs_N_K_C=log_probs), []
    to_choose = tn.CoreSet.choose
    monkeypatch.setattr(tn.CoreSet, "choose", lambda *given: seen.append(given[1]) or to_choose(*given))
    mixed = choose(mends.Mixture(tn.FacilityLocation(), tn.CoreSet()), view, 10)
    (later,) = seen
    assert later.labeled_rows.tolist() == [*view.labeled_rows.tolist(), *sorted(mixed.rows[:5].tolist())]
    guessed = log_probs.exp().mean(1).argmax(1)[later.labeled_rows[6:]]
    assert later.labels_m.tolist() == [*view.labels_m.tolist(), *guessed.tolist()]
    assert torch.equal(later.labeled_log_probs_m_K_C, log_probs[later.labeled_rows])
    assert torch.equal(later.log_probs_n_K_C, log_probs[later.unlabeled_rows])


@pytest.mark.parametrize("k", [1, 7, 8])
def test_the_second_half_knows_the_first(mends, k):
    """CoreSet, which is greedy and draws nothing, goes on where it was: both halves by it are one batch of it."""
    view = random_state(40, 6, D=4)
    whole = choose(tn.CoreSet(), view, k)
    halves = choose(mends.Mixture(tn.CoreSet(), tn.CoreSet()), view, k)
    assert halves.rows.tolist() == whole.rows.tolist()
    mixed = choose(mends.Mixture(tn.FacilityLocation(), tn.CoreSet()), view, k)
    first = choose(tn.FacilityLocation(), view, k - k // 2)
    assert mixed.rows[: k - k // 2].tolist() == first.rows.tolist()
    assert not set(mixed.rows[k - k // 2 :].tolist()) & set(view.labeled_rows.tolist())
