import pickle

import pytest
import torch

import tonsure as tn
from enumeration import half_chi_squared, label_information

ENUMERATED = {tn.EPIG: label_information, tn.SecondOrderEPIG: half_chi_squared}


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("kind", ENUMERATED)
def test_the_gain_is_the_mean_over_targets(make_log_probs, kind, impossible):
    log_probs, targets = make_log_probs(12, impossible=impossible), make_log_probs(5, seed=1)
    chosen = tn.select(log_probs, kind(targets), 12)
    for row, gain in zip(chosen.rows.tolist(), chosen.gains.tolist(), strict=True):
        pairs = [ENUMERATED[kind](log_probs[row].exp(), target.exp()) for target in targets]
        assert gain == pytest.approx(sum(pairs) / 5, abs=1e-9)


@pytest.mark.parametrize("kind", [tn.EPIG, tn.SecondOrderEPIG, tn.VOptimal])
def test_what_matters_to_no_target_counts_for_nothing(make_log_probs, kind):
    first = torch.tensor([0.8, 0.8, 0.2, 0.2], dtype=torch.float64)
    second = torch.tensor([0.99, 0.01, 0.99, 0.01], dtype=torch.float64)  # of more information, about another half
    pool = torch.stack([torch.stack([half, 1 - half], 1) for half in (first, second)]).log()
    assert int(tn.select(pool, tn.Pointwise(tn.bald), 1).rows) == 1
    assert int(tn.select(pool, kind(pool[:1]), 1).rows) == 0


@pytest.mark.parametrize("kind", [tn.EPIG, tn.SecondOrderEPIG, tn.VOptimal])
def test_targets_are_compared_printed_and_refused(make_log_probs, kind):
    targets = make_log_probs(5)
    assert repr(kind(targets)) == f"{kind.__name__}(5 targets)"
    assert kind(targets) == kind(targets.clone()) != kind(targets[:4])
    assert pickle.loads(pickle.dumps(kind(targets))) == kind(targets)
    assert hash(kind(targets)) == hash(kind(targets.clone()))
    with pytest.raises(tn.InputError, match=r"the targets have shape \(5, 6, 3\), .* predicted by K = 4"):
        tn.select(make_log_probs(4, K=4), kind(targets), 1)
    with pytest.raises(tn.InputError, match="is no distribution"):
        kind(targets.exp())
