"""Prediction coverage: facility location by what the model says."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.fft
import torch

import tonsure as tn
from pool_states import random_state
from tonsure.strategies import prediction_coverage

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")

LABELED = [3, 17, 5]


def logits_of(log_probs, mixtures=None):
    """The logits in NumPy; with mixtures, the slowest cosines over the samples by SciPy."""
    logits = np.maximum(log_probs.double().numpy(), -12.0)
    logits -= logits.mean(axis=2, keepdims=True)
    if mixtures is not None:
        logits = scipy.fft.dct(logits, axis=1, norm="ortho")[:, :mixtures]
    return torch.from_numpy(logits.reshape(len(logits), -1)).float()


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("score", [tn.margin, tn.bald, None])
@pytest.mark.parametrize("mixtures", [1, 2, 4, None])
def test_it_is_facility_location_by_logits(make_log_probs, impossible, score, mixtures, monkeypatch):
    """Of all samples; where these would be too many numbers for a row, of their slowest cosines."""
    log_probs = make_log_probs(60, K=5, C=4, impossible=impossible, dtype=torch.float32).cpu()
    if mixtures is not None:
        monkeypatch.setattr(prediction_coverage, "WIDTH", 4 * mixtures + 3 * (mixtures > 1))
    monkeypatch.setattr(prediction_coverage, "ROWS_PER_DIRECTION", 1)
    by_features, features = tn.FacilityLocation(score, radius=1.5, whitening=1.0), logits_of(log_probs, mixtures)
    expected = tn.select(log_probs, by_features, 12, features=features, labeled=LABELED)
    found = tn.select(log_probs, tn.PredictionCoverage(score, radius=1.5), 12, labeled=LABELED)
    assert found.rows.tolist() == expected.rows.tolist()
    torch.testing.assert_close(found.gains, expected.gains, atol=1e-4, rtol=1e-4)


def test_of_many_logits_the_directions_of_the_largest_variance_count(make_log_probs, monkeypatch):
    """By a singular value decomposition, after which every direction has the same variance."""
    log_probs = make_log_probs(60, K=5, C=4, dtype=torch.float32).cpu()
    monkeypatch.setattr(prediction_coverage, "LEAST_DIRECTIONS", 5)
    assert 60 // prediction_coverage.ROWS_PER_DIRECTION < 5
    logits = logits_of(log_probs).double().numpy()
    centered = logits - logits.mean(axis=0)
    _, values, directions = np.linalg.svd(centered, full_matrices=False)
    features = torch.from_numpy(centered @ directions[:5].T / values[:5])
    expected = tn.select(log_probs, tn.FacilityLocation(whitening=0.0), 12, features=features, labeled=LABELED)
    found = tn.select(log_probs, tn.PredictionCoverage(), 12, labeled=LABELED)
    assert found.rows.tolist() == expected.rows.tolist()
    monkeypatch.setattr(prediction_coverage, "ROWS_PER_DIRECTION", 1)
    for most, same in ((5, True), (6, False)):
        monkeypatch.setattr(prediction_coverage, "DIRECTIONS", most)
        found = tn.select(log_probs, tn.PredictionCoverage(), 12, labeled=LABELED)
        assert (found.rows.tolist() == expected.rows.tolist()) is same


def test_features_have_no_influence(make_log_probs):
    log_probs = make_log_probs(40)
    features = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    expected = tn.select(log_probs, tn.PredictionCoverage(), 9).rows.tolist()
    assert tn.select(log_probs, tn.PredictionCoverage(), 9, features=features).rows.tolist() == expected


def test_one_sample_is_enough(make_log_probs):
    """Samples that agree are as good as one."""
    one = make_log_probs(40, K=1)
    expected = tn.select(one, tn.PredictionCoverage(), 9).rows.tolist()
    for K in (6, 60):
        assert tn.select(one.repeat(1, K, 1), tn.PredictionCoverage(), 9).rows.tolist() == expected


def test_samples_that_differ_have_an_influence():
    """All means are alike; what the samples say tells two groups apart."""
    signs = torch.tensor([[1.0, -1], [-1, 1]]).repeat_interleave(10, 0)[..., None] * torch.tensor([1.0, -1])
    noise = 0.1 * torch.randn(20, 2, 2, generator=torch.Generator().manual_seed(0))
    log_probs = (signs + noise).log_softmax(-1)
    for labeled, others in ((0, range(10, 20)), (15, range(10))):
        assert int(tn.select(log_probs, tn.PredictionCoverage(None), 1, labeled=[labeled]).rows[0]) in others


@pytest.mark.parametrize("spread", [0.1, 1e-3])
def test_the_order_of_the_classes_does_not_matter_to_a_model_that_knows_little(spread):
    """The mean over classes leaves a direction without variance, which rounding must not fill."""
    logits = spread * torch.randn(250, 1, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    log_probs, order = logits.log_softmax(-1).float(), torch.randperm(10, generator=torch.Generator().manual_seed(2))
    expected = tn.select(log_probs, tn.PredictionCoverage(), 20).rows.tolist()
    assert tn.select(log_probs[:, :, order].contiguous(), tn.PredictionCoverage(), 20).rows.tolist() == expected


def test_of_two_classes_and_one_sample_more_than_the_sign_counts():
    logits = 3 * torch.randn(400, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_probs = torch.cat([logits, -logits], 2).log_softmax(-1)
    found = tn.select(log_probs, tn.PredictionCoverage(), 8)
    assert found.gains[7] > 0.02 * found.gains[0]
    assert tn.select(log_probs * (1 + 1e-9), tn.PredictionCoverage(), 8).rows.tolist() == found.rows.tolist()


def test_samples_of_labeled_rows_that_are_fewer_are_refused():
    log_probs = torch.randn(30, 3, 4, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    for labeled in (log_probs[:4, :2], log_probs[:4, :, :3].log_softmax(-1)):
        state = tn.PoolState(
            torch.arange(4),
            None,
            torch.arange(4, 30),
            log_probs_n_K_C=log_probs[4:],
            labeled_log_probs_m_K_C=labeled,
        )
        with pytest.raises(
            tn.InputError, match=r"predictions of labeled rows have \d samples and \d classes, those of the"
        ):
            tn.PredictionCoverage().choose(state, 3, torch.Generator())


def test_what_is_labeled_is_covered():
    """Two groups that the model tells apart; a label in one of them leaves the other to be chosen."""
    probs = torch.tensor([[0.6, 0.4]] * 10 + [[0.4, 0.6]] * 10)
    noise = 0.01 * torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    log_probs = (probs + noise).log().log_softmax(-1)[:, None]
    for labeled, others in ((0, range(10, 20)), (15, range(10))):
        assert int(tn.select(log_probs, tn.PredictionCoverage(), 1, labeled=[labeled]).rows[0]) in others


def test_the_logits_are_part_of_the_plan(make_log_probs):
    """What they take is not left for similarities."""
    state = random_state(60, 5, log_probs_N_K_C=make_log_probs(60, K=5, C=40))
    method, k = tn.PredictionCoverage(), 4
    least, row = method.memory_needed(state, k), method._plan(state, k).row
    by_features = replace(state, features_N_D=torch.zeros(60, 3 * 40))
    assert least >= tn.FacilityLocation().memory_needed(by_features, k) + 4 * 60 * 3 * 40
    for kept in (0, 1, 7):
        assert method._plan(state, k).kept(least + kept * row) == kept
