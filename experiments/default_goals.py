"""The goals for a default and how far the candidate meets them: sentences of docs/evidence.md."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from default_results_runs import BASELINE, Trial
from default_results_tables import (
    SHARES,
    added_labels,
    best,
    mean_ranks,
    numbers,
    percent,
    ranked_of,
    savings,
    seconds,
)

from tonsure.report.statistics import bootstrap


def goals(
    trials: Sequence[Trial], default: str, saved: Sequence[Trial] = (), pixels: Sequence[Trial] = ()
) -> list[str]:
    """One sentence per goal, over all experiments that have the candidate.

    Args:
        saved: experiments that continue until the baseline has closed the gap.
        pixels: experiments with networks that learn from pixels.
    """
    group = [trial for trial in trials if default in trial.curves]
    saved, pixels = ([t for t in some if default in t.curves] for some in (saved, pixels))
    return [*_ranks(trials, group, default), *_labels(group, default, saved), *_cost(group, default, pixels)]


def _ranks(trials: Sequence[Trial], group: Sequence[Trial], default: str) -> list[str]:
    beaten = [trial.name for trial in group if default not in {best(trial)[0], *best(trial)[1]}]
    above = f"; another method is better in {', '.join(beaten)}" if beaten else ""
    sentences = [f"Best or tied for best in every experiment: {len(group) - len(beaten)} of {len(group)}{above}."]
    means = mean_ranks(trials, ranked_of(trials))
    others = [mean for method, mean in means.items() if method != default]
    if default in means and others:
        sentences.append(f"The best mean rank: {means[default]:.2f}; the best of the others is {min(others):.2f}.")
    return sentences


def _labels(group: Sequence[Trial], default: str, saved: Sequence[Trial]) -> list[str]:
    sentences = []
    with_gap = [trial for trial in group if trial.level(1.0) > 0]
    there = {m: ~np.isnan(numbers(with_gap, partial(added_labels, SHARES[-1]), m)) for m in (default, BASELINE)}
    pairs = int(np.count_nonzero(there[default] & there[BASELINE]))
    if pairs:
        of_all = sum(len(trial.curves[default]) for trial in with_gap)
        sentences.append(
            f"30% fewer labels than {BASELINE} to close {SHARES[-1]:.0%} of the gap: {_saved(with_gap, default)}, over "
            f"the {pairs} of {of_all} pairs of runs in which both do. In "
            f"{np.count_nonzero(there[default] & ~there[BASELINE])} more pairs {default} alone does, in "
            f"{np.count_nonzero(there[BASELINE] & ~there[default])} {BASELINE} alone."
        )
    if saved:
        batches = sorted({trial.batch for trial in saved})
        of_batch = [f"{batch} {_saved([t for t in saved if t.batch == batch], default)}" for batch in batches]
        sentences.append(
            f"The same with runs that continue until {BASELINE} does, in {len(saved)} experiments "
            f"([below](#until-the-gap-is-closed)): {_saved(saved, default)}; in batches of {', of '.join(of_batch)}."
        )
    return sentences


def _saved(trials: Sequence[Trial], default: str) -> str:
    return percent(bootstrap(savings(trials, SHARES[-1], default, BASELINE)))


def _cost(group: Sequence[Trial], default: str, pixels: Sequence[Trial]) -> list[str]:
    select, training = seconds(group, default)
    taken = float(np.median(select))
    share, round_takes = float(np.median(select / training)), float(np.median(training))
    sentences = [
        f"A selection in 5% of the training time of a round (fit and predict): the median share is {share:.0%}. These "
        f"rounds are short, with a median of {round_takes:.2f} s. A selection takes {taken:.2f} s whatever the "
        f"training takes: 5% of a round of {taken / 0.05:.0f} s."
    ]
    if pixels:
        select, training = seconds(pixels, default)
        sentences.append(
            "The same with small convolutional networks that learn from pixels "
            f"([below](#networks-that-learn-from-pixels)): {float(np.median(select / training)):.1%} of a round of "
            f"{float(np.median(training)):.0f} s."
        )
    return sentences
