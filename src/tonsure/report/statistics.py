"""Estimates over seeds, and paired comparisons of methods.

Methods are compared seed by seed: runs with the same seed share the data, the initial labels and the test set, and the
variation due to these cancels in the difference.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Scores = dict[int, float]  # seed -> number

RESAMPLES = 10_000


@dataclass(frozen=True)
class Estimate:
    """The mean x̄ over n seeds, its standard error s/√n, and the 95% interval x̄ ± t(0.975; n - 1) · s/√n.

    The interval assumes that the values of seeds are independent and about normal (Student 1908, "The probable error of
    a mean"). With one seed there is only a mean, with none nothing; missing values are nan.
    """

    mean: float = np.nan
    error: float = np.nan
    low: float = np.nan
    high: float = np.nan
    count: int = 0

    @property
    def has_interval(self) -> bool:
        return self.count > 1

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def estimate(values: Sequence[float] | Array) -> Estimate:
    """The estimate from the values of the seeds, without those that are nan."""
    from scipy.stats import t

    known = np.array([value for value in values if not np.isnan(value)], dtype=float)
    n = len(known)
    if n < 2:
        return Estimate(mean=float(known[0]), count=1) if n else Estimate()
    mean, error = float(known.mean()), float(known.std(ddof=1)) / n**0.5
    reach = float(t.ppf(0.975, n - 1)) * error
    return Estimate(mean, error, mean - reach, mean + reach, n)


def over_seeds(scores: Scores) -> Estimate:
    return estimate(list(scores.values()))


def paired(scores: Scores, others: Scores) -> Estimate:
    """The mean difference over the seeds that both have, with the paired t-interval."""
    return estimate([scores[seed] - others[seed] for seed in scores if seed in others])


def bootstrap(values: Sequence[float] | Array) -> Estimate:
    """The mean over n seeds with the 95% percentile bootstrap interval (Efron 1979, "Bootstrap methods").

    A resample draws n seeds with replacement, the same for all experiments. Its value is the mean over experiments of
    the mean over the seeds drawn. The interval goes from the 2.5% to the 97.5% quantile of 10,000 such values, and the
    error is their standard deviation. The draws are the same in every call with n seeds.

    The intervals are too short for few seeds: with ten normal values about 90% of them contain the true mean. They
    extend 1.96 · √(1 - 1/n) standard errors (1.86 for n = 10), Student's t(0.975; n - 1) (2.26).

    Args:
        values: of the seeds, [n], or of several experiments, [experiments, n]; nan where there is none.
    """
    rows = np.atleast_2d(np.array(values, dtype=float))
    known = ~np.isnan(rows)
    rows = rows[known.any(axis=1)][:, known.any(axis=0)]
    n, known = rows.shape[1], ~np.isnan(rows)
    if not rows.size:
        return Estimate()
    heights = np.where(known, rows, 0.0)
    mean = float(np.mean(heights.sum(axis=1) / known.sum(axis=1)))
    if n == 1:
        return Estimate(mean=mean, count=1)
    drawn = _draws(n) @ known.T
    # A resample may hold no seed with a value for some experiment: then it is the mean over the other experiments.
    means = np.divide(_draws(n) @ heights.T, drawn, out=np.zeros_like(drawn), where=drawn > 0)
    there = np.count_nonzero(drawn, axis=1)
    resampled = means.sum(axis=1)[there > 0] / there[there > 0]
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Estimate(mean, float(resampled.std()), float(low), float(high), n)


@lru_cache
def _draws(n: int) -> Array:
    """The number of times each of n seeds is drawn, [resamples, n]."""
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    return np.stack([np.bincount(one, minlength=n) for one in drawn]).astype(float)


def paired_bootstrap(scores: Scores, others: Scores) -> Estimate:
    """The mean difference over the seeds that both have, with its bootstrap interval."""
    return bootstrap([scores[seed] - others[seed] for seed in scores if seed in others])


def mean_height(labels: Array, values: Array) -> float:
    """The mean height of a curve: its area by the trapezoid rule, divided by its width."""
    if len(labels) < 2:
        return float(values[0]) if len(labels) else np.nan
    return float(np.sum((values[1:] + values[:-1]) / 2 * np.diff(labels)) / (labels[-1] - labels[0]))


def labels_needed(labels: Array, values: Array, level: float) -> float:
    """The number of labels at which the curve, linear between points, first reaches ``level``; nan if it never does."""
    reached = np.flatnonzero(values >= level)
    if not len(reached):
        return np.nan
    i = int(reached[0])
    if i == 0:
        return float(labels[0])
    share = (level - values[i - 1]) / (values[i] - values[i - 1])
    return float(labels[i - 1] + share * (labels[i] - labels[i - 1]))


def round_levels(low: float, high: float) -> list[float]:
    """Up to five round accuracies in (low, high]: the last ones of the coarsest grid with at least three."""
    levels: list[float] = []
    finer = [list(range(step, 1000, step)) for step in (50, 20, 10, 5)]
    for grid in ([*range(100, 1000, 100), 950, 980, 990], *finer):
        levels = [level / 1000 for level in grid if low < level / 1000 <= high]
        if len(levels) >= 3:
            break
    return levels[-5:]


def best_and_tied(
    scores: Mapping[str, Scores],
    higher: bool = True,
    compare: Callable[[Scores, Scores], Estimate] = paired,
) -> tuple[str | None, set[str]]:
    """The method with the best mean, and those statistically tied with it: whose paired interval includes zero."""
    means = {method: over_seeds(of_seeds).mean for method, of_seeds in scores.items() if of_seeds}
    if len(means) < 2:
        return None, set()
    best = (max if higher else min)(means, key=lambda method: means[method])
    rest = [method for method in means if method != best]
    return best, {method for method in rest if not compare(scores[method], scores[best]).excludes_zero}


def ranks(heights: Sequence[float] | Array) -> Array:
    """Ranks, 1 for the highest; values equal up to rounding share the mean of their ranks."""
    rounded = np.round(np.asarray(heights, dtype=float), 12)
    above = np.sum(rounded > rounded[:, None], axis=1)
    return above + (np.sum(rounded == rounded[:, None], axis=1) + 1) / 2


@lru_cache
def critical_difference(k: int, n: int) -> float:
    """The critical difference of the mean ranks of k methods in n experiments: CD = q √(k(k + 1) / 6n).

    q is the 95% quantile of the studentized range of k values with infinite degrees of freedom, divided by √2. If all
    methods are equal, all mean ranks differ by less with a probability of 95% (Nemenyi 1963; Demšar 2006, "Statistical
    comparisons of classifiers over multiple data sets"). The experiments are assumed to be independent.
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(0.95, k, np.inf)) / 2**0.5
    return q * (k * (k + 1) / (6 * n)) ** 0.5
