import math

import pytest
import scipy.stats
import torch

from enumeration import joint_information, label_information
from tonsure.information import bald, conditional_entropy, entropy, merged_classes, mutual_information


@pytest.mark.parametrize("impossible", [False, True])
def test_entropies_are_those_of_scipy(make_log_probs, impossible):
    log_probs = make_log_probs(impossible=impossible)
    probs = log_probs.exp().cpu().numpy()
    torch.testing.assert_close(entropy(log_probs).cpu(), torch.tensor(scipy.stats.entropy(probs.mean(1), axis=-1)))
    torch.testing.assert_close(
        conditional_entropy(log_probs).cpu(), torch.tensor(scipy.stats.entropy(probs, axis=-1).mean(1))
    )


@pytest.mark.parametrize("impossible", [False, True])
def test_bald_is_the_enumerated_information_of_one_label(make_log_probs, impossible):
    log_probs = make_log_probs(8, impossible=impossible)
    expected = [joint_information(item.exp()) for item in log_probs.split(1)]
    assert bald(log_probs).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_mutual_information_is_enumerated(make_log_probs, impossible, dtype, error):
    log_probs = make_log_probs(9, impossible=impossible)
    found = mutual_information(log_probs.to(dtype), log_probs[:4].to(dtype))
    for i in range(9):
        for j in range(4):
            expected = label_information(log_probs[i].exp(), log_probs[j].exp())
            assert float(found[i, j]) == pytest.approx(expected, abs=error)


@pytest.mark.parametrize("C", [2, 3, 40])
@pytest.mark.parametrize("K", [2, 5, 50])
def test_bounds(make_log_probs, K, C):
    """0 ≤ I(y_i; y_j) ≤ min(BALD_i, BALD_j), and BALD ≤ log K and ≤ the entropy, for many random pools."""
    for seed in range(10):
        log_probs = make_log_probs(30, K, C, seed=seed, impossible=seed % 2 == 0 and C > 2)
        information, bald_n = mutual_information(log_probs, log_probs), bald(log_probs)
        assert (information >= 0).all()
        assert (information <= torch.minimum(bald_n, bald_n[:, None]) + 1e-12).all()
        assert (bald_n <= math.log(K) + 1e-12).all()
        assert (bald_n <= entropy(log_probs)).all()
        torch.testing.assert_close(information, information.T)


def test_samples_that_agree_share_no_information(make_log_probs):
    log_probs = make_log_probs(6)[:, :1].expand(-1, 7, -1)
    assert float(bald(log_probs).max()) < 1e-14
    assert float(mutual_information(log_probs, log_probs).max()) < 1e-14


def test_blocks_do_not_change_pairs(make_log_probs, monkeypatch):
    log_probs = make_log_probs(40)
    expected = mutual_information(log_probs, log_probs[:33])
    monkeypatch.setattr("tonsure.information.WORKING_ELEMENTS", {"cpu": 50, "cuda": 50})
    torch.testing.assert_close(mutual_information(log_probs, log_probs[:33]), expected)


@pytest.mark.parametrize("impossible", [False, True])
def test_merged_classes_are_a_coarser_label(make_log_probs, impossible):
    """Sums of the probabilities of some classes, the others untouched; it never tells more than the label itself."""
    log_probs = make_log_probs(30, K=6, C=12, impossible=impossible)
    merged = merged_classes(log_probs, 5)
    assert merged.shape == (30, 6, 5)
    torch.testing.assert_close(merged.exp().sum(-1), torch.ones(30, 6, dtype=torch.float64))
    for item, coarse in zip(log_probs, merged, strict=True):
        for label in range(4):
            assert (item == coarse[:, label : label + 1]).all(0).any()  # one of the item's own classes
    assert (bald(merged) <= bald(log_probs) + 1e-12).all()
    assert (mutual_information(merged, merged) <= mutual_information(log_probs, log_probs) + 1e-12).all()
    assert merged_classes(log_probs, 12) is log_probs
