"""The page docs/choose.md: which method for which situation, from the same records as the page of evidence."""

from collections.abc import Callable, Mapping, Sequence

from default_results_runs import BASELINE, HERE, Trial
from default_results_tables import difference, in_percent, mean_accuracy, methods_of

from tonsure.experiments import load
from tonsure.strategies import Strategy

TEXTS = ("ag-news", "ag-news-repeated", "banking77", "clinc150")
COPIES = ("rmnist", "ag-news-repeated")
TAILED = ("cifar10-tailed",)

SITUATIONS: Mapping[str, Callable[[Trial], bool]] = {
    "all": lambda trial: True,
    "batches of 10": lambda trial: trial.batch == 10,
    "batches of 100": lambda trial: trial.batch == 100,
    "batches of 500": lambda trial: trial.batch == 500,
    "dropout, K = 50": lambda trial: trial.posterior == "dropout",
    "an ensemble, K = 5": lambda trial: trial.posterior == "ensemble",
    "images": lambda trial: trial.pool not in TEXTS,
    "texts": lambda trial: trial.pool in TEXTS,
    "ten classes at most": lambda trial: trial.labels[0] == 20,
    "47 to 150 classes, begun with one label of each": lambda trial: trial.labels[0] > 20,
    "a pool full of near copies": lambda trial: trial.pool in COPIES,
    "a long-tailed pool, tested on a balanced set": lambda trial: trial.pool in TAILED,
}

FEATURES, PREDICTIONS = "features", "predictions"


def sees() -> dict[str, str]:
    """What each method of experiments/default.py looks at: features too, or predictions alone."""
    found = {}
    for experiment in load.experiments(HERE / "default.py", "choose"):
        for name, method in experiment.methods.items():
            strategy = method.method
            found[name] = FEATURES if isinstance(strategy, Strategy) and strategy.needs_features else PREDICTIONS
    return found


def situations(trials: Sequence[Trial], kinds: Mapping[str, str]) -> list[dict[str, str]]:
    """A row for every situation that there are experiments of: the best method of each kind, and its ties."""
    rows = []
    for heading, holds in SITUATIONS.items():
        group = [trial for trial in trials if holds(trial)]
        if group:
            best = {kind: _best(group, [m for m in kinds if kinds[m] == kind]) for kind in (FEATURES, PREDICTIONS)}
            rows.append({"situation": heading, "experiments": str(len(group)), **best})
    return rows


def _best(trials: Sequence[Trial], of_kind: Sequence[str]) -> str:
    """The best of the methods that are in all experiments, what it adds to the baseline, and what it is tied with."""
    there = [m for m in methods_of(trials) if m in of_kind and all(m in trial.curves for trial in trials)]
    gains = {m: difference(trials, mean_accuracy, m, BASELINE) for m in there if m != BASELINE}
    if not gains:
        return "–"
    best = max(gains, key=lambda method: gains[method].mean)
    tied = [m for m in gains if m != best and not difference(trials, mean_accuracy, m, best).excludes_zero]
    also = f"<br>≈ {', '.join(tied)}" if tied else ""
    return f"**{best}** {in_percent(gains[best])}{also}"
