import math

import pytest
import torch

import tonsure as tn
from enumeration import half_chi_squared, joint_information, label_information
from tonsure.testing import check_objective

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_total_is_the_sum_over_joint_tables(make_log_probs, impossible, weight):
    log_probs = make_log_probs(12, impossible=impossible)
    chosen = tn.select(log_probs, tn.SecondOrderLBB(weight), 6)
    batch = log_probs[chosen.rows].exp()
    alone = sum(joint_information(item) for item in batch.split(1))
    pairs = sum(half_chi_squared(batch[i], batch[j]) for i in range(6) for j in range(i))
    assert float(chosen.gains.sum()) == pytest.approx(alone - weight * pairs, abs=1e-12)


def test_it_is_the_exact_one_where_samples_nearly_agree(make_log_probs):
    """The error of a pair is of third order in the deviations: halve them, and it falls to an eighth or less."""
    mean = make_log_probs(2, K=1)
    errors = []
    for size in (0.4, 0.2, 0.1):
        log_probs = (mean + size * torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(1))).log_softmax(-1)
        probs = log_probs.exp()
        errors.append(abs(half_chi_squared(*probs) - label_information(*probs)))
    assert errors[1] < errors[0] / 7
    assert errors[2] < errors[1] / 7


def test_many_classes_cost_a_step_nothing(make_log_probs):
    objective = tn.SecondOrderLBB()
    few, many = (objective.prepare(make_log_probs(4, 6, C)) for C in (3, 50))
    assert few.shape == many.shape == (4, 1 + 6 * 7 // 2)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_that_breaks_the_promise_is_refused(weight):
    with pytest.raises(tn.InputError, match=f"weight is {weight}"):
        tn.SecondOrderLBB(weight)


def test_a_thousand_classes_round_by_no_more_than_allowed(make_log_probs):
    check_objective(tn.SecondOrderLBB(), make_log_probs(24, K=20, C=1000))
