import pytest
from test_bounded_lbb import chance

import tonsure as tn
from enumeration import half_chi_squared, joint_information, label_information

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


@pytest.mark.parametrize("impossible", [False, True])
def test_the_total_is_the_sum_over_joint_tables_less_chance(make_log_probs, impossible):
    log_probs = make_log_probs(12, impossible=impossible)
    chosen = tn.select(log_probs, tn.LargeBatchBALD(corrected=True), 6)
    batch = log_probs[chosen.rows].exp()
    alone = sum(joint_information(item) for item in batch.split(1))
    pairs = [label_information(batch[i], batch[j]) - chance(batch[i], batch[j]) for i in range(6) for j in range(i)]
    assert min(pairs) < 0 < max(pairs)  # so that it matters where they end
    assert float(chosen.gains.sum()) == pytest.approx(alone - sum(max(pair, 0) for pair in pairs), abs=1e-9)


def test_with_many_samples_it_is_large_batch_bald(make_log_probs):
    log_probs = make_log_probs(30, K=2000)
    corrected, plain = (
        tn.select(log_probs, one, 5).gains for one in (tn.LargeBatchBALD(corrected=True), tn.LargeBatchBALD())
    )
    assert corrected.tolist() == pytest.approx(plain.tolist(), abs=0.02)


@pytest.mark.parametrize("impossible", [False, True])
def test_to_second_order_a_corrected_pair_may_be_negative(make_log_probs, impossible):
    """The sum over pairs is one inner product with a matrix, so that no pair is cut at zero."""
    log_probs = make_log_probs(12, impossible=impossible)
    objective = tn.SecondOrderLBB(corrected=True)
    assert objective.structure is tn.Structure.GENERAL
    chosen = tn.select(log_probs, objective, 6)
    batch = log_probs[chosen.rows].exp()
    alone = sum(joint_information(item) for item in batch.split(1))
    pairs = [half_chi_squared(batch[i], batch[j]) - chance(batch[i], batch[j]) for i in range(6) for j in range(i)]
    assert min(pairs) < 0 < max(pairs)
    assert float(chosen.gains.sum()) == pytest.approx(alone - sum(pairs), abs=1e-9)
