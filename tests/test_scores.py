import numpy as np
import pytest
import torch

import tonsure as tn


@pytest.fixture
def log_probs():
    """Two items, three samples, three classes, so that each score can be worked out by hand."""
    probs = [
        [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]],
        [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]],
    ]
    return torch.tensor(probs, dtype=torch.float64).log()


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (tn.entropy, [-(0.3 * np.log(0.3) + 0.4 * np.log(0.4) + 0.3 * np.log(0.3)), 0]),
        (tn.least_confidence, [0.6, 0]),
        (tn.margin, [0.9, 0]),
        (tn.variation_ratio, [2 / 3, 0]),
        (
            tn.mean_std,
            [np.mean([np.std([0.5, 0.1, 0.3]), np.std([0.3, 0.6, 0.3]), np.std([0.2, 0.3, 0.4])]), 0],
        ),
    ],
)
def test_scores_by_hand(log_probs, score, expected):
    assert score(log_probs).tolist() == pytest.approx(expected, abs=1e-12)


def test_a_score_of_ones_own(log_probs):
    chosen = tn.select(log_probs, tn.Pointwise(lambda log_probs_n_K_C: log_probs_n_K_C[:, 0, 1].exp()), 1)
    assert chosen.rows.tolist() == [0]
    assert chosen.gains.tolist() == pytest.approx([0.3])
