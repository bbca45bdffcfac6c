import math

import pytest

import tonsure as tn
from enumeration import joint_information

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


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


@pytest.mark.parametrize("block", [64, 1024])
def test_scores_are_the_sums_over_pairs_in_blocks_of_1024(make_log_probs, block):
    log_probs = make_log_probs(1100, K=3)
    chosen = tn.select(log_probs, tn.ReleasedLBB(), 1100, block=block)
    score = dict(zip(chosen.rows.tolist(), chosen.gains.tolist(), strict=True))
    probs = log_probs.exp().tolist()
    for row in (0, 500, 1023, 1024, 1099):
        expected = joint_information(log_probs[row : row + 1].exp()) + released_score(probs, row)
        assert score[row] == pytest.approx(expected, rel=1e-9)


def test_the_order_of_the_pool_matters_as_it_did(make_log_probs):
    log_probs = make_log_probs(1100, K=3)
    turned = tn.select(log_probs.flip(0), tn.ReleasedLBB(), 1100).gains
    assert not turned.allclose(tn.select(log_probs, tn.ReleasedLBB(), 1100).gains)
