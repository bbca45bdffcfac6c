"""The tables of the page of evidence, and the statistics that they show."""

from collections.abc import Sequence
from functools import cache, partial
from itertools import product

import numpy as np
from default_results_runs import BASELINE, Curves, Number, Trial, pools_of

from tonsure.report.statistics import (
    Array,
    Estimate,
    Scores,
    best_and_tied,
    bootstrap,
    critical_difference,
    labels_needed,
    mean_height,
    paired_bootstrap,
    ranks,
)
from tonsure.report.tables import Cell, Columns

SHARES = (0.5, 0.75, 0.9)
LEVEL = 0.05
CRITICAL = ("*critical difference*", "*with pools as units*")


# Of one run


@cache
def mean_accuracy(trial: Trial, one: Curves) -> float:
    """The area under the accuracy curve by the trapezoid rule, divided by its width in labels."""
    return mean_height(trial.labels, one.accuracy)


@cache
def mean_likelihood(trial: Trial, one: Curves) -> float:
    return mean_height(trial.labels, one.negative_log_likelihood)


def final_likelihood(trial: Trial, one: Curves) -> float:
    return float(one.negative_log_likelihood[-1])


@cache
def added_labels(share: float, trial: Trial, one: Curves) -> float:
    """Labels beyond the first at which the curve has closed this share of the gap; nan where it does not."""
    return labels_needed(trial.labels, one.accuracy, trial.level(share)) - float(trial.labels[0])


# Of one experiment


@cache
def accuracies(trial: Trial) -> dict[str, Scores]:
    return {method: trial.scores(mean_accuracy, method) for method in trial.curves}


@cache
def gap(trial: Trial, method: str, other: str) -> Estimate:
    """How far the mean accuracy of a method is from that of another."""
    return paired_bootstrap(accuracies(trial)[method], accuracies(trial)[other])


@cache
def best(trial: Trial) -> tuple[str | None, set[str]]:
    """The method that is highest above the baseline, and those that are tied with it."""
    base = accuracies(trial)[BASELINE]
    above = {m: {seed: one - base[seed] for seed, one in own.items()} for m, own in accuracies(trial).items()}
    return best_and_tied(above, compare=paired_bootstrap)


# Of several experiments


def methods_of(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(method for trial in trials for method in trial.curves))


def ranked_of(trials: Sequence[Trial]) -> list[str]:
    """The methods that are in every experiment, by their mean rank in all of them."""
    everywhere = [method for method in methods_of(trials) if all(method in trial.curves for trial in trials)]
    means = mean_ranks(trials, everywhere)
    return sorted(everywhere, key=lambda method: means[method])


def in_order(trials: Sequence[Trial]) -> list[str]:
    """The methods that are ranked, and then the others."""
    return list(dict.fromkeys([*ranked_of(trials), *methods_of(trials)]))


def groups(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """All, and by half, batch and posterior, where there is more than one."""
    found = {"all": list(trials)}
    for key, text in (("half", "{}"), ("batch", "batch {}"), ("posterior", "{}")):
        values = list(dict.fromkeys(getattr(trial, key) for trial in trials))
        for value in (values if key == "half" else sorted(values)) if len(values) > 1 else ():
            found[text.format(value)] = [trial for trial in trials if getattr(trial, key) == value]
    return found


def numbers(trials: Sequence[Trial], number: Number, method: str) -> Array:
    """[trials, seeds], nan where an experiment lacks the method or the seed."""
    seeds = sorted({seed for trial in trials for seed in trial.seeds})
    found = [trial.scores(number, method) if method in trial.curves else {} for trial in trials]
    return np.array([[of_seeds.get(seed, np.nan) for seed in seeds] for of_seeds in found])


def difference(trials: Sequence[Trial], number: Number, method: str, other: str) -> Estimate:
    """Between two methods, seed by seed, the mean over the experiments that have both."""
    return bootstrap(numbers(trials, number, method) - numbers(trials, number, other))


def savings(trials: Sequence[Trial], share: float, method: str, other: str) -> Array:
    """1 - a(method) / a(other), [trials, seeds]: the share of the additional labels a that a method saves.

    nan where one of the two does not close this share of the gap, or where the other needs no additional label.
    """
    own, others = (numbers(trials, partial(added_labels, share), m) for m in (method, other))
    return 1 - own / np.where(others > 0, others, np.nan)


def seconds(trials: Sequence[Trial], method: str) -> tuple[Array, Array]:
    """To select and to train, of all rounds of a method that say both."""
    runs = [one for trial in trials for one in trial.curves.get(method, {}).values()]
    select, training = (np.concatenate([getattr(one, key) for one in runs]) for key in ("select", "training"))
    known = ~np.isnan(select) & (training > 0)
    return select[known], training[known]


def mean_ranks(trials: Sequence[Trial], methods: Sequence[str]) -> dict[str, float]:
    """Over the experiments, by the paired difference to the baseline, 1 the highest; only these methods compete.

    With the same seeds, that is the order of the mean accuracies; with fewer, a method is not ranked by its seeds.
    """
    places = [ranks([gap(trial, method, BASELINE).mean for method in methods]) for trial in trials]
    return dict(zip(methods, np.mean(places, axis=0).tolist(), strict=True))


def wins_ties_losses(trials: Sequence[Trial], method: str, other: str) -> tuple[int, int, int]:
    """In how many experiments the interval of the difference lies above zero, includes it, or lies below."""
    gaps = [gap(trial, method, other) for trial in trials if {method, other} <= set(trial.curves)]
    wins, losses = sum(one.low > 0 for one in gaps), sum(one.high < 0 for one in gaps)
    return wins, len(gaps) - wins - losses, losses


# Tables


def overview(trials: Sequence[Trial], methods: Sequence[str]) -> Columns:
    """For each experiment the difference to the baseline in percent, and the mean accuracy of the baseline itself."""
    columns: Columns = {}
    for trial in trials:
        first, tied = best(trial)
        texts = {method: _points(gap(trial, method, BASELINE)) for method in methods if method in trial.curves}
        texts[BASELINE] = f"({100 * np.mean(list(accuracies(trial)[BASELINE].values())):.1f})"
        heading = f"{trial.pool}, {trial.posterior}"
        columns[heading] = {m: Cell(text, best=m == first, tied=m in tied) for m, text in texts.items()}
    columns["mean"] = {
        method: _points_and_interval(difference(trials, mean_accuracy, method, BASELINE))
        for method in methods
        if method != BASELINE and all(method in trial.curves for trial in trials)
    }
    return columns


def apart_from(trials: Sequence[Trial], other: str) -> Columns:
    """For each experiment the difference of every method to another, in percent."""
    return {
        trial.name: {
            method: _points_and_interval(gap(trial, method, other)) for method in trial.curves if method != other
        }
        for trial in trials
        if other in trial.curves
    }


def only_above(trials: Sequence[Trial], other: str) -> list[str]:
    """The methods that are above another in some experiments, and below it in none."""
    counts = {m: wins_ties_losses(trials, m, other) for m in methods_of(trials) if m != other}
    return [method for method, (wins, _, losses) in counts.items() if wins and not losses]


def standing(trials: Sequence[Trial], ranked: Sequence[str]) -> Columns:
    """What each ranked method is over all experiments."""
    others = [method for method in ranked if method != BASELINE]
    lowest = {method: min(trials, key=lambda trial, m=method: gap(trial, m, BASELINE).mean) for method in others}  # type: ignore[misc]
    tops = [best(trial) for trial in trials]
    return {
        "mean rank": {method: Cell(f"{mean:.2f}") for method, mean in mean_ranks(trials, ranked).items()},
        f"minus {BASELINE}": {
            method: _points_and_interval(difference(trials, mean_accuracy, method, BASELINE)) for method in others
        },
        "lowest": {m: Cell(_points(gap(trial, m, BASELINE)), trial.name) for m, trial in lowest.items()},
        "best in": {method: Cell(f"{sum(method == first for first, _ in tops)}") for method in ranked},
        "best or tied in": {
            method: Cell(f"{sum(method in {first, *tied} for first, tied in tops)}") for method in ranked
        },
    }


def rank_table(trials: Sequence[Trial], ranked: Sequence[str]) -> Columns:
    """Mean ranks in each group; the best is bold, and those nearer to it than the critical difference are tied."""
    columns: Columns = {}
    for heading, group in groups(trials).items():
        means = mean_ranks(group, ranked)
        first = min(means.values())
        critical = [critical_difference(len(ranked), n) for n in (len(group), len(pools_of(group)))]
        columns[f"{heading} ({len(group)})"] = {
            method: Cell(f"{mean:.2f}", best=mean == first, tied=0 < mean - first < critical[0])
            for method, mean in means.items()
        } | {name: Cell(f"{value:.2f}") for name, value in zip(CRITICAL, critical, strict=True)}
    return columns


def against(trials: Sequence[Trial], other: str) -> Columns:
    """How often each method is above / not told apart from / below another, over the experiments that have both."""
    columns: Columns = {}
    for heading, group in groups(trials).items():
        counts = {method: wins_ties_losses(group, method, other) for method in methods_of(group) if method != other}
        texts = {method: " / ".join(map(str, found)) for method, found in counts.items() if any(found)}
        columns[f"{heading} ({len(group)})"] = {method: Cell(text) for method, text in texts.items()}
    return columns


def told_apart(trials: Sequence[Trial], other: str, methods: Sequence[str]) -> Columns:
    """Each method against another with pools as units: Wilcoxon's signed-rank test, and corrected by Holm 1979.

    The difference of a pool is the mean over its experiments, which all have all of these methods.
    """
    from scipy.stats import wilcoxon

    compared = [method for method in methods if method != other]
    differences = {
        method: np.array(
            [difference(of_pool, mean_accuracy, method, other).mean for of_pool in pools_of(trials).values()]
        )
        for method in compared
    }
    p = {method: float(wilcoxon(found).pvalue) if found.any() else 1.0 for method, found in differences.items()}
    corrected = dict(zip(compared, holm([p[method] for method in compared]), strict=True))
    return {
        f"minus {other}": {m: Cell(_signed(100 * float(found.mean()), 2)) for m, found in differences.items()},
        "above / below": {m: Cell(f"{(found > 0).sum()} / {(found < 0).sum()}") for m, found in differences.items()},
        "p": {method: Cell(f"{value:.4f}") for method, value in p.items()},
        "p, corrected": {method: Cell(f"{value:.4f}", best=value < LEVEL) for method, value in corrected.items()},
    }


def holm(p: Sequence[float]) -> list[float]:
    """The values of p corrected for their number (Holm 1979): max_{j ≤ i} min(1, (n − j + 1) p_(j)), ascending."""
    order = np.argsort(p)
    corrected = np.minimum(1, np.array(p)[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.maximum.accumulate(corrected)
    return found.tolist()


def labels_saved(trials: Sequence[Trial]) -> Columns:
    """For each batch and share of the gap: labels saved; below it, how many runs get there, and of how many pairs."""
    columns: Columns = {}
    with_gap = [trial for trial in trials if trial.level(1.0) > 0]
    for batch, share in product(sorted({trial.batch for trial in with_gap}), SHARES):
        group = [trial for trial in with_gap if trial.batch == batch]
        cells = columns[f"batch {batch}, {share:.0%}"] = {}
        for method in methods_of(group):
            runs = sum(len(trial.curves.get(method, ())) for trial in group)
            there = np.count_nonzero(~np.isnan(numbers(group, partial(added_labels, share), method)))
            reached = f"reached {there / runs:.0%}"
            saved = savings(group, share, method, BASELINE)
            pairs = int(np.count_nonzero(~np.isnan(saved)))
            note = f"{reached}, {pairs} pair{'s' * (pairs != 1)}"
            told = Cell(percent(bootstrap(saved)), note) if pairs else Cell("no pair", reached)
            cells[method] = Cell("", reached) if method == BASELINE else told
    return columns


def saved_by_pool(trials: Sequence[Trial], method: str) -> Columns:
    """By batch and posterior, what the method saves at the last share of the gap; below it, how many labels are added.

    The last row is the mean over the pools.
    """
    columns: Columns = {}
    for batch, posterior in sorted({(trial.batch, trial.posterior) for trial in trials}):
        group = [trial for trial in trials if (trial.batch, trial.posterior) == (batch, posterior)]
        cells = columns[f"batch {batch}, {posterior}"] = {}
        for trial in group:
            added = [numbers([trial], partial(added_labels, SHARES[-1]), m)[0] for m in (BASELINE, method)]
            both = ~np.isnan(added[0]) & ~np.isnan(added[1])
            told = " → ".join(f"{one[both].mean():,.0f}" for one in added) if both.any() else "no pair"
            saved = savings([trial], SHARES[-1], method, BASELINE)
            pairs = f"{told}, {np.count_nonzero(both)} of {both.size}" if not both.all() else told
            cells[trial.pool] = Cell(percent(bootstrap(saved)) if both.any() else "–", pairs)
        cells["mean"] = Cell(percent(bootstrap(savings(group, SHARES[-1], method, BASELINE))))
    return columns


def likelihoods(trials: Sequence[Trial]) -> Columns:
    """The mean difference to the baseline by batch, along the curve and at its end; the baseline has its own mean."""
    columns: Columns = {}
    for batch in sorted({trial.batch for trial in trials}):
        group = [trial for trial in trials if trial.batch == batch]
        for text, number in (("mean", mean_likelihood), ("final", final_likelihood)):
            cells = columns[f"batch {batch}, {text}"] = {}
            for method in methods_of(group):
                found = difference(group, number, method, BASELINE)
                own = bootstrap(numbers(group, number, BASELINE)).mean
                told = f"({own:.3f})" if method == BASELINE else f"{_signed(found.mean, 3)}{_side(found)}"
                cells[method] = Cell(told if found.count else "–")
    return columns


def selection_seconds(trials: Sequence[Trial]) -> Columns:
    """By posterior and batch, over all rounds, seeds and pools: the median, and that of its share of the training."""
    columns: Columns = {}
    for posterior, batch in sorted({(trial.posterior, trial.batch) for trial in trials}):
        group = [trial for trial in trials if (trial.posterior, trial.batch) == (posterior, batch)]
        cells = columns[f"{posterior}, {batch}"] = {}
        for method in methods_of(group):
            select, training = seconds(group, method)
            if len(select):
                taken, share = float(np.median(select)), float(np.median(select / training))
                cells[method] = Cell(f"{taken:.1f}" if taken >= 1 else f"{taken:.2g}", f"{share:.1%}")
    return columns


# Words


def in_words(trials: Sequence[Trial], default: str | None) -> list[str]:
    """The results of the method with the best rank and of the candidate, as sentences."""
    ranked = ranked_of(trials)
    means = mean_ranks(trials, ranked)
    critical = critical_difference(len(ranked), len(trials))
    near = [method for method in ranked[1:] if means[method] - means[ranked[0]] < critical]
    named = ", ".join(near) if len(near) <= 6 else f"{len(near)} of the others"
    tied = f"statistically tied with it: {named}" if near else "no method is statistically tied with it"
    sentences = [
        f"Of {len(ranked)} methods, {ranked[0]} has the best mean rank over {len(trials)} experiments, "
        f"{means[ranked[0]]:.2f}. The critical difference of ranks is {critical:.2f}; {tied}."
    ]
    for method in dict.fromkeys([ranked[0], *([default] if default else [])]):
        if method == BASELINE:
            continue
        what = f"{method}, the candidate for the default," if method == default else method
        rank = f"has the mean rank {means[method]:.2f}, and " if method in means and method != ranked[0] else ""
        found = difference(trials, mean_accuracy, method, BASELINE)
        interval = f" (95% interval {_interval(found)})" if found.has_interval else ""
        wins, ties, losses = wins_ties_losses(trials, method, BASELINE)
        sentences.append(
            f"{what} {rank}differs from {BASELINE} by {_signed(100 * found.mean, 2)} percentage points of mean "
            f"accuracy{interval}: better in {wins} experiments, statistically tied in {ties}, worse in {losses}."
        )
    return sentences


def in_percent(found: Estimate) -> str:
    """A difference of accuracies, and its interval where it has one."""
    interval = f" [{_interval(found)}]" if found.has_interval else ""
    return f"{_signed(100 * found.mean, 2)}{interval}"


def _points(found: Estimate) -> str:
    """A difference of accuracies in percent, and on which side of zero its interval lies."""
    return f"{_signed(100 * found.mean, 2)}{_side(found)}"


def _points_and_interval(found: Estimate) -> Cell:
    return Cell(_points(found), f"[{_interval(found)}]" if found.has_interval else "")


def _interval(found: Estimate) -> str:
    return f"{_signed(100 * found.low, 2)}, {_signed(100 * found.high, 2)}"


def percent(found: Estimate) -> str:
    """A share, its interval where it has one, and on which side of zero that lies."""
    interval = f" [{_signed(100 * found.low, 0)}, {_signed(100 * found.high, 0)}]" if found.has_interval else ""
    return f"{_signed(100 * found.mean, 0)}%{interval}{_side(found)}"


def _side(found: Estimate) -> str:
    return " ▲" if found.low > 0 else " ▼" if found.high < 0 else ""


def _signed(value: float, digits: int) -> str:
    return f"{value:+z.{digits}f}".replace("-", "−")
