"""Bootstrap intervals, ranks and critical differences, against scipy and printed tables."""

import numpy as np
import pytest
from scipy import stats

from tonsure.report.statistics import (
    Estimate,
    best_and_tied,
    bootstrap,
    critical_difference,
    paired_bootstrap,
    ranks,
)

nan = float("nan")


def test_the_bootstrap_of_a_constant_is_a_point():
    found = bootstrap([0.05] * 10)
    assert (found.mean, found.low, found.high, found.error) == pytest.approx((0.05, 0.05, 0.05, 0.0))
    assert found.count == 10
    assert found.excludes_zero
    assert not bootstrap([0.0] * 10).excludes_zero


def test_the_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(3).normal(size=10)
    found = bootstrap(values)
    expected = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=1)
    reach = expected.confidence_interval.high - expected.confidence_interval.low
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.05 * reach)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.05 * reach)
    assert found.error == pytest.approx(expected.standard_error, rel=0.05)
    assert bootstrap(values) == found


def test_about_nine_in_ten_bootstrap_intervals_of_ten_numbers_hold_the_mean():
    """P(|t| < 1.96 · √0.9 = 1.86) with 9 degrees of freedom is 0.904; 3 standard deviations of 500 are 0.04."""
    found = [bootstrap(values) for values in np.random.default_rng(0).normal(size=(500, 10))]
    assert np.mean([one.low < 0 < one.high for one in found]) == pytest.approx(0.904, abs=0.04)


def test_seeds_are_drawn_together_for_all_experiments():
    """What one experiment gains under a seed, the other loses: drawn together, their mean is always zero."""
    values = np.random.default_rng(0).normal(size=10)
    found = bootstrap(np.stack([values, -values]))
    assert (found.mean, found.low, found.high) == pytest.approx((0, 0, 0))
    assert (bootstrap(np.stack([values, values])).low) == pytest.approx(bootstrap(values).low)


def test_what_is_not_there_is_left_out():
    """Row means 1 and 3. Of three seeds, the second is not drawn in 30% of the resamples, which have row 1 alone."""
    rows = [[1.0, 1.0, 1.0, nan], [nan, 3.0, nan, nan], [nan, nan, nan, nan]]
    found = bootstrap(np.array(rows))
    assert (found.mean, found.low, found.high, found.count) == (2.0, 1.0, 2.0, 3)
    assert found.error == pytest.approx((8 / 27 * 19 / 27) ** 0.5, abs=0.01)
    assert bootstrap([nan, 0.5]).mean == 0.5
    assert not bootstrap([nan, 0.5]).has_interval
    assert bootstrap([nan, nan]).count == bootstrap([]).count == 0


def test_pairs_are_of_the_same_seed():
    found = paired_bootstrap({0: 0.8, 1: 0.7, 5: 0.1}, {1: 0.6, 0: 0.7, 2: 0.9})
    assert (found.mean, found.low, found.high, found.count) == pytest.approx((0.1, 0.1, 0.1, 2))


def test_what_is_tied_depends_on_how_it_is_compared():
    scores = {"a": {0: 0.9, 1: 0.8}, "b": {0: 0.8, 1: 0.79}, "c": {0: 0.1, 1: 0.95}}
    assert best_and_tied(scores) == ("a", {"b", "c"})
    assert best_and_tied(scores, compare=paired_bootstrap) == ("a", {"c"})
    assert best_and_tied(scores, compare=lambda one, other: Estimate(low=1.0)) == ("a", set())


@pytest.mark.parametrize("seed", range(5))
def test_ranks_agree_with_scipy(seed):
    heights = np.random.default_rng(seed).integers(6, size=12) / 10
    assert ranks(heights).tolist() == stats.rankdata(-heights).tolist()


def test_what_differs_by_rounding_shares_a_rank():
    assert 0.1 + 0.2 != 0.3
    assert ranks([0.3, 0.5, 0.1 + 0.2, 0.2]).tolist() == [2.5, 1.0, 2.5, 4.0]


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_differences_are_those_of_the_table(k, q):
    """q as in Demšar (2006), table 5(a)."""
    assert critical_difference(k, 30) == pytest.approx(q * (k * (k + 1) / (6 * 30)) ** 0.5, rel=2e-4)


def test_the_critical_difference_of_ten_methods_in_thirty_experiments():
    """3.164 · √(10 · 11 / 180) = 3.164 · 0.78174."""
    assert critical_difference(10, 30) == pytest.approx(2.4734, abs=1e-3)
