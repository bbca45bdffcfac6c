"""What was asked of a default, and what the candidate for it does: sentences of the page of evidence."""

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
    """A sentence each, of all experiments that have the candidate.

    Args:
        saved: experiments that go on until the baseline has closed the gap.
        pixels: those of networks that learn from pixels.
    """
    group = [trial for trial in trials if default in trial.curves]
    return [*_ranks(trials, group, default), *_labels(group, default, saved), *_cost(group, default, pixels)]


def _ranks(trials: Sequence[Trial], group: Sequence[Trial], default: str) -> list[str]:
    beaten = [trial.name for trial in group if default not in {best(trial)[0], *best(trial)[1]}]
    above = f"; a method is above in {', '.join(beaten)}" if beaten else ""
    sentences = [f"Best or tied for best in every experiment: {len(group) - len(beaten)} of {len(group)}{above}."]
    means = mean_ranks(trials, ranked_of(trials))
    others = [mean for method, mean in means.items() if method != default]
    if default in means and others:
        sentences.append(f"The best mean rank: {means[default]:.2f}, of the others at best {min(others):.2f}.")
    return sentences


def _labels(group: Sequence[Trial], default: str, saved: Sequence[Trial]) -> list[str]:
    sentences = []
    with_gap = [trial for trial in group if trial.level(1.0) > 0]
    there = {m: ~np.isnan(numbers(with_gap, partial(added_labels, SHARES[-1]), m)) for m in (default, BASELINE)}
    pairs = int(np.count_nonzero(there[default] & there[BASELINE]))
    if pairs:
        counted = f"{pairs} pair{'s' * (pairs != 1)}"
        sentences.append(
            f"30% fewer labels than {BASELINE} to {SHARES[-1]:.0%} of the gap: {_saved(with_gap, default)}, by "
            f"{counted} of runs that both get there, of {sum(len(trial.curves[default]) for trial in with_gap)}. In "
            f"{np.count_nonzero(there[default] & ~there[BASELINE])} more {default} gets there and {BASELINE} does not, "
            f"in {np.count_nonzero(there[BASELINE] & ~there[default])} the other way around."
        )
    if saved:
        batches = sorted({trial.batch for trial in saved})
        of_batch = [f"{batch} {_saved([t for t in saved if t.batch == batch], default)}" for batch in batches]
        sentences.append(
            f"The same where runs go on until {BASELINE} gets there, in {len(saved)} experiments "
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
        f"A selection in 5% of a training round (fit and predict): the median share is {share:.0%}. These rounds are "
        f"short, {round_takes:.2f} s in the median, and a selection takes {taken:.2f} s however long they are: it is "
        f"5% of a round of {taken / 0.05:.0f} s."
    ]
    if pixels:
        select, training = seconds(pixels, default)
        sentences.append(
            f"The same where small convolutional networks learn from pixels ([below](#networks-that-learn-from-pixels))"
            f": {float(np.median(select / training)):.1%} of a round of {float(np.median(training)):.0f} s."
        )
    return sentences
