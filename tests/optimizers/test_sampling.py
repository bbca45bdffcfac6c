"""The draws against probabilities that are worked out by hand, for scores that are given."""

import itertools
import math

import pytest
import scipy.stats
import torch

import tonsure as tn
from cases import rest

pytestmark = pytest.mark.usefixtures("annotations_unchecked")

SCORES = torch.tensor([0.1, 0.7, 0.4, 0.0, 0.2])
DRAWS = 400

UNLIKELY = 1e-5
"""How unlikely counts must be, if the probabilities are right, for a test to fail."""


def first_class(log_probs_n_K_C):
    return log_probs_n_K_C[:, 0, 0].exp()


def drawn(by, k):
    log_probs = torch.stack([SCORES, 1 - SCORES], -1).log()[:, None]
    counts = dict.fromkeys(itertools.permutations(range(5), k), 0)
    for seed in range(DRAWS):
        counts[tuple(tn.select(log_probs, tn.Pointwise(first_class), k, optimizer=by, seed=seed).rows.tolist())] += 1
    return counts


def check_counts(counts, probabilities):
    """The χ² test of Pearson; what is expected less than five times counts as one."""
    total = sum(counts.values())
    for outcome, probability in probabilities.items():
        assert counts[outcome] == 0 or probability > 0, outcome
    often = [outcome for outcome, probability in probabilities.items() if total * probability >= 5]
    found = [counts[outcome] for outcome in often]
    expected = [total * probabilities[outcome] for outcome in often]
    if total - sum(expected) > 1:
        found.append(total - sum(found))
        expected.append(total - sum(expected))
    statistic = sum((count - mean) ** 2 / mean for count, mean in zip(found, expected, strict=True))
    assert scipy.stats.chi2.sf(statistic, len(found) - 1) > UNLIKELY, (found, expected)


def without_replacement(weights, rows):
    probability, left = 1.0, sum(weights)
    for row in rows:
        probability *= weights[row] / left
        left -= weights[row]
    return probability


@pytest.mark.parametrize(
    ("by", "weights"),
    [
        rest(tn.PowerSample(), SCORES.tolist()),
        (tn.PowerSample(beta=2.0), SCORES.square().tolist()),
        rest(tn.PowerSample(beta=0.0), [1] * 5),
        rest(tn.StepwisePowerSample(beta=2.0), SCORES.square().tolist()),
        (tn.SoftmaxSample(beta=3.0), (3 * SCORES).exp().tolist()),
        rest(tn.SoftrankSample(), [1 / 4, 1, 1 / 2, 1 / 5, 1 / 3]),
        (tn.SoftrankSample(beta=2.0), [1 / 16, 1, 1 / 4, 1 / 25, 1 / 9]),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_two_draws_without_replacement(by, weights):
    counts = drawn(by, 2)
    check_counts(counts, {rows: without_replacement(weights, rows) for rows in counts})


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_every_step_draws_from_the_gains_that_the_batch_has_left():
    """Three points on a line, as the seeding of k-means++ sees them: p(2 | 1) is in proportion to (z_2 − z_1)²."""
    heights = torch.tensor([0.4, 0.3, -0.2])
    probs = torch.stack([0.5 + heights, 0.5 - heights], 1)  # two samples, [3, 2]
    log_probs = torch.stack([probs, 1 - probs], -1).log()
    counts = dict.fromkeys(itertools.permutations(range(3), 2), 0)
    for seed in range(DRAWS):
        chosen = tn.select(log_probs, tn.Spread(), 2, optimizer=tn.StepwisePowerSample(), seed=seed)
        counts[tuple(chosen.rows.tolist())] += 1
    expected = {}
    for first, second in counts:
        left = {
            i: min(float(heights[i] ** 2), float((heights[i] - heights[first]) ** 2)) for i in range(3) if i != first
        }
        expected[first, second] = (
            float(heights[first] ** 2 / heights.square().sum()) * left[second] / sum(left.values())
        )
    check_counts(counts, expected)


def test_random_is_uniform(make_log_probs):
    counts = torch.zeros(24)
    log_probs = make_log_probs()
    for seed in range(200):
        counts[tn.select(log_probs, tn.Random(), 6, seed=seed).rows] += 1
    assert float((counts / 200 - 6 / 24).abs().max()) < 4.5 * math.sqrt(0.25 * 0.75 / 200)


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_items_without_a_gain_come_last_and_at_random(make_log_probs):
    log_probs = make_log_probs(20)
    log_probs[::2] = log_probs[::2, :1]  # samples that agree: BALD is zero
    lasts = set()
    for seed in range(10):
        chosen = tn.select(log_probs, tn.Pointwise(tn.bald), 20, optimizer=tn.PowerSample(), seed=seed)
        assert (chosen.rows[:10] % 2 == 1).all()
        lasts.add(tuple(chosen.rows[10:].tolist()))
    assert len(lasts) == 10


@pytest.mark.parametrize("by", [tn.PowerSample, tn.StepwisePowerSample, tn.SoftmaxSample, tn.SoftrankSample])
@pytest.mark.parametrize("beta", [-1.0, math.nan, math.inf])
def test_a_beta_that_gives_no_distribution_is_refused(by, beta):
    with pytest.raises(tn.InputError, match=f"beta is {beta}"):
        by(beta=beta)
