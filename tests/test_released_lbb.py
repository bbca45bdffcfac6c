"""The baseline of experiments/released_lbb.py."""

import math
import sys
from pathlib import Path

import pytest
import torch

import tonsure as tn
from enumeration import joint_information
from pool_states import random_state
from tonsure.testing import check_strategy

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


@pytest.fixture(scope="module")
def released():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXPERIMENTS)
        import released_lbb

        yield released_lbb
    del sys.modules["released_lbb"]


def released_score(probs, row):
    """The score, term by term, over all pairs with the other items of the block of 1,024."""
    start = row // 1024 * 1024
    K, C = len(probs[0]), len(probs[0][0])
    others = [item for place, item in enumerate(probs[start : start + 1024], start) if place != row]
    mean = lambda item, c: sum(item[k][c] for k in range(K)) / K  # noqa: E731
    score = 0.0
    for c in range(C):
        together = sum(sum(probs[row][k][c] * item[k][c] for k in range(K)) / K for item in others)
        apart = sum(mean(probs[row], c) * mean(item, c) for item in others)
        score += together * (math.log(1 + together) - math.log(1 + apart))
    return score


def test_the_contract(released):
    for strategy in (released.ReleasedLBB(), released.ReleasedLBB(tn.PowerSample(beta=5.0))):
        check_strategy(strategy, random_state())


def test_scores_are_the_sums_over_pairs_in_blocks_of_1024(released, make_log_probs):
    log_probs = make_log_probs(1100, K=3)
    chosen = tn.select(log_probs, released.ReleasedLBB(), 1100)
    score = dict(zip(chosen.rows.tolist(), chosen.gains.tolist(), strict=True))
    probs = log_probs.exp().tolist()
    for row in (0, 500, 1023, 1024, 1099):
        expected = joint_information(log_probs[row : row + 1].exp()) + released_score(probs, row)
        assert score[row] == pytest.approx(expected, rel=1e-9)


def test_blocks_are_of_unlabeled_rows(released, make_log_probs):
    """The scores are those of a pool without the labeled rows; candidates do not change them."""
    log_probs, labeled = make_log_probs(1100, K=3), list(range(0, 1100, 7))
    unlabeled = [row for row in range(1100) if row not in set(labeled)]
    alone = tn.select(log_probs[unlabeled], released.ReleasedLBB(), 50)
    found = tn.select(log_probs, released.ReleasedLBB(), 50, labeled=labeled)
    assert found.rows.tolist() == [unlabeled[row] for row in alone.rows]
    assert torch.equal(found.gains, alone.gains)
    few = tn.select(log_probs, released.ReleasedLBB(), 1, labeled=labeled, candidates=[int(found.rows[9])])
    assert few.gains.tolist() == found.gains[9:10].tolist()


def test_the_order_of_the_pool_matters(released, make_log_probs):
    log_probs = make_log_probs(1100, K=3)
    turned = tn.select(log_probs.flip(0), released.ReleasedLBB(), 1100).gains
    assert not turned.allclose(tn.select(log_probs, released.ReleasedLBB(), 1100).gains)


def test_an_optimizer_searches_the_scores(released, make_log_probs):
    """As if the scores were given: the same rows under the same seed."""
    log_probs, power = make_log_probs(300, K=4), tn.PowerSample(beta=5.0)
    scores = released.released_scores(log_probs)
    for seed in (0, 1):
        found = tn.select(log_probs, released.ReleasedLBB(power), 40, seed=seed)
        assert found.rows.tolist() == tn.select(scores, k=40, optimizer=power, seed=seed).rows.tolist()
    assert tn.select(log_probs, released.ReleasedLBB(), 40).rows.tolist() != found.rows.tolist()


def test_one_sample_tells_nothing(released, make_log_probs):
    with pytest.raises(tn.InputError, match="needs at least 2, but K = 1"):
        tn.select(make_log_probs(20, K=1), released.ReleasedLBB(), 2)
