"""LogDet, its slope, which Discounted is made of, and VOptimal, against matrices that are written out."""

import pytest
import torch

import tonsure as tn
from enumeration import joint_information
from tonsure.testing import check_objective

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


def gram(probs_K_C):
    """G = Σ_c (p_c − m_c)(p_c − m_c)ᵀ / (K m_c), class by class."""
    K = len(probs_K_C)
    total = torch.zeros(K, K, dtype=torch.float64)
    for column in probs_K_C.T:
        mean = column.mean()
        if mean > 0:
            total += torch.outer(column - mean, column - mean) / (K * mean)
    return total


def half_log_det(matrix):
    return 0.5 * float(torch.linalg.slogdet(torch.eye(len(matrix), dtype=torch.float64) + matrix).logabsdet)


def calibrated(probs_K_C):
    """s G with ½ log det(I + s G) = I(y; θ), by trying ever finer scales."""
    matrix, target = gram(probs_K_C), joint_information(probs_K_C[None])
    scale, step = 0.0, 64.0
    while step > 1e-13:
        if half_log_det((scale + step) * matrix) <= target:
            scale += step
        else:
            step /= 2
    return scale * matrix


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("C", [3, 9])
def test_log_det_is_that_of_the_sum_of_calibrated_matrices(make_log_probs, C, impossible):
    log_probs = make_log_probs(12, C=C, impossible=impossible)
    chosen = tn.select(log_probs, tn.LogDet(), 6)
    total = torch.zeros(6, 6, dtype=torch.float64)
    worth = 0.0
    for row, gain in zip(chosen.rows.tolist(), chosen.gains.tolist(), strict=True):
        total += calibrated(log_probs[row].exp())
        assert gain == pytest.approx(half_log_det(total) - worth, abs=1e-6)
        worth = half_log_det(total)


def test_every_item_alone_tells_log_det_what_it_tells(make_log_probs):
    log_probs = make_log_probs(30, impossible=True)
    alone = tn.select(log_probs, tn.LogDet(), 30, optimizer=tn.TopK())
    told = [joint_information(log_probs[row : row + 1].exp()) for row in alone.rows.tolist()]
    assert alone.gains.tolist() == pytest.approx(told, abs=1e-6)


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("score", [tn.bald, tn.margin])
@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_the_discount_is_the_slope_of_log_det(make_log_probs, score, strength, impossible):
    """d/dt log det(I + M + t G / tr G) at t = 0, by a difference, times the score."""
    log_probs = make_log_probs(12, impossible=impossible)
    chosen = tn.select(log_probs, tn.Discounted(score, strength), 8)
    alone, total, t = score(log_probs), torch.zeros(6, 6, dtype=torch.float64), 1e-5
    for row, gain in zip(chosen.rows.tolist(), chosen.gains.tolist(), strict=True):
        matrix = gram(log_probs[row].exp())
        matrix /= matrix.trace()
        slope = (half_log_det(total + t * matrix) - half_log_det(total - t * matrix)) / t
        assert gain == pytest.approx(float(alone[row]) * slope, abs=1e-7)
        total += strength * 2 * joint_information(log_probs[row : row + 1].exp()) * matrix


def test_where_samples_agree_nothing_is_discounted(make_log_probs):
    log_probs = make_log_probs(20)
    log_probs[::2] = log_probs[::2, :1]
    margins = tn.margin(log_probs)
    chosen = tn.select(log_probs, tn.Discounted(tn.margin, strength=5.0), 20)
    left = chosen.gains / margins[chosen.rows]
    agreed = chosen.rows % 2 == 0
    assert left[agreed].tolist() == pytest.approx([1] * 10)
    assert left[~agreed].mean() < 0.5
    single = tn.select(log_probs[:, :1], tn.Discounted(), 20)
    assert torch.equal(single.rows, tn.select(log_probs[:, :1], tn.Pointwise(tn.margin), 20).rows)


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(tn.InputError, match=f"strength is {strength}"):
        tn.Discounted(strength=strength)


@pytest.mark.parametrize("C", [3, 9])
def test_v_optimal_is_what_the_targets_lose(make_log_probs, C):
    log_probs, targets = make_log_probs(12, C=C), make_log_probs(5, C=C, seed=1)
    chosen = tn.select(log_probs, tn.VOptimal(targets), 5)
    mean = sum(gram(target.exp()) for target in targets) / 5
    total, left = torch.eye(6, dtype=torch.float64), 0.5 * float(mean.trace())
    for row, gain in zip(chosen.rows.tolist(), chosen.gains.tolist(), strict=True):
        total += calibrated(log_probs[row].exp())
        after = 0.5 * float((mean @ torch.linalg.inv(total)).trace())
        assert gain == pytest.approx(left - after, abs=1e-6)
        left = after


@pytest.mark.parametrize("objective", [tn.LogDet(), tn.Discounted(tn.bald)])
def test_a_thousand_classes_round_by_no_more_than_allowed(make_log_probs, objective):
    check_objective(objective, make_log_probs(24, K=20, C=1000))


@pytest.mark.parametrize("objective", [tn.LogDet(), tn.Discounted(tn.bald)])
def test_samples_that_agree_are_told_nothing(objective):
    log_probs = torch.full((14, 4, 3), 1 / 3, dtype=torch.float64).log()
    log_probs[0, 0] = torch.tensor([0.5, 0.25, 0.25]).log()
    chosen = tn.select(log_probs, objective, 3)
    assert chosen.rows.tolist() == [0, 1, 2]
    assert chosen.gains[0] > 0.001
    assert chosen.gains[1:].tolist() == pytest.approx([0, 0], abs=1e-12)
