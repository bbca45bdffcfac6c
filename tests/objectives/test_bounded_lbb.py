"""The bounded penalty, with exact pairs and with pairs to second order, and the correction that both share."""

import math
import warnings
from itertools import permutations

import pytest
import torch

import tonsure as tn
from enumeration import half_chi_squared, joint_information, label_information
from tonsure.testing import check_objective

PAIRS = {tn.LargeBatchBALD: label_information, tn.SecondOrderLBB: half_chi_squared}


def chance(probs_i, probs_j):
    """Half the product of both traces over K − 1, each Σ_kc (p − m)² / (K m) in plain loops."""
    K = len(probs_i)

    def trace(probs_K_C):
        means = [sum(column) / K for column in zip(*probs_K_C.tolist(), strict=True)]
        return sum((p - m) ** 2 / (K * m) for row in probs_K_C.tolist() for p, m in zip(row, means, strict=True) if m)

    return trace(probs_i) * trace(probs_j) / (2 * (K - 1))


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("kind", PAIRS)
def test_every_gain_is_what_the_shares_of_the_others_leave(make_log_probs, kind, corrected, impossible):
    log_probs = make_log_probs(12, impossible=impossible)
    chosen = tn.select(log_probs, kind(bounded=True, corrected=corrected), 8)
    batch = log_probs[chosen.rows].exp()
    for i, gain in enumerate(chosen.gains.tolist()):
        alone = expected = joint_information(batch[i : i + 1])
        for j in range(i):
            pair = PAIRS[kind](batch[i], batch[j]) - (chance(batch[i], batch[j]) if corrected else 0)
            expected *= 1 - min(max(pair / alone, 0), 1)
        assert gain == pytest.approx(expected, abs=1e-9)
    assert 0 < chosen.gains[-1] < chosen.gains[0] / 2  # so that there was something to bound


@pytest.mark.parametrize("kind", PAIRS)
def test_two_items_are_worth_what_they_are_to_large_batch_bald(make_log_probs, kind):
    log_probs = make_log_probs(40)
    bounded, summed = (tn.select(log_probs, one, 2) for one in (kind(bounded=True), kind()))
    assert bounded.rows.tolist() == summed.rows.tolist()
    assert bounded.gains.tolist() == pytest.approx(summed.gains.tolist(), abs=1e-9)


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("kind", PAIRS)
def test_gains_stay_positive_where_the_sum_over_pairs_has_turned_negative(make_log_probs, kind, corrected):
    log_probs = make_log_probs(60)
    with pytest.warns(tn.SelectionWarning):
        assert tn.select(log_probs, tn.LargeBatchBALD(), 30).gains[-1] < -0.4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tn.SelectionWarning)  # some may be told everything
        assert (tn.select(log_probs, kind(bounded=True, corrected=corrected), 30).gains >= 0).all()


def test_the_correction_is_the_mean_over_all_ways_to_shuffle_the_samples(make_log_probs):
    """Over all K! orders of one item's samples against the other's: chance is what they share on average."""
    one, other = make_log_probs(2, K=5).exp()
    shuffled = [half_chi_squared(one, other[list(order)]) for order in permutations(range(5))]
    assert chance(one, other) == pytest.approx(sum(shuffled) / math.factorial(5), rel=1e-9)


def test_independent_members_seem_to_share_less_with_the_correction():
    """Items whose members were drawn alone share nothing; five members make it seem a lot."""
    logits = 2 * torch.randn(200, 5, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    log_probs = logits.log_softmax(-1)
    bounded = lambda corrected: tn.LargeBatchBALD(bounded=True, corrected=corrected)  # noqa: E731
    left = {
        corrected: float(tn.select(log_probs, bounded(corrected), 10, optimizer=tn.TopK()).gains.mean())
        for corrected in (False, True)
    }
    assert left[False] == left[True]  # alone

    def told(corrected):
        objective = bounded(corrected)
        items = objective.prepare(log_probs)
        notes = objective.update_notes(objective.init_notes(items[10:]), items[10:], items[:10])
        return float(notes.penalty_n.mean())

    assert told(False) < 0.2 < told(True) / 2


@pytest.mark.parametrize("kind", PAIRS)
def test_a_copy_of_what_was_chosen_comes_after_what_is_new(make_log_probs, kind):
    log_probs = make_log_probs(20)
    best = tn.select(log_probs, tn.Pointwise(tn.bald), 1).rows
    with_copies = torch.cat([log_probs, log_probs[best].expand(5, -1, -1)])
    chosen = tn.select(with_copies, kind(bounded=True, corrected=True), 10).rows.tolist()
    assert sum(row >= 20 or row == int(best) for row in chosen) < 5
    assert sum(row >= 20 for row in tn.select(with_copies, tn.Pointwise(tn.bald), 6).rows.tolist()) == 5


@pytest.mark.parametrize("kind", PAIRS)
def test_a_thousand_classes_round_by_no_more_than_allowed(make_log_probs, kind):
    if kind is tn.SecondOrderLBB:
        check_objective(kind(bounded=True, corrected=True), make_log_probs(24, K=20, C=1000))
    check_objective(kind(bounded=True), make_log_probs(15, K=20, C=60))


@pytest.mark.parametrize("kind", PAIRS)
def test_a_weight_has_no_meaning_without_a_sum(kind):
    with pytest.raises(tn.InputError, match=r"weight is 2\.0, expected 1 with bounded=True"):
        kind(weight=2.0, bounded=True)
