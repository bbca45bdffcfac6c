"""From the records of an experiment to one HTML file: what they show, and how surely.

Every number is first taken per seed. Methods are compared seed by seed: runs of one seed share their data,
their first labels and their test set, and what such a pair has in common cancels in its difference.
"""

import base64
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tonsure import figures
from tonsure.errors import InputError, MissingExtraError, RecordError
from tonsure.records import Record, read_records

Array = np.ndarray[Any, np.dtype[Any]]
Scores = dict[int, float]  # seed -> number

NUMBER = re.compile(r"\d+(?:\.\d+)?")
PICTURED_ROUNDS = (0, 1)
PICTURES_PER_BATCH = 100
REQUIRED = {
    "experiment": {"experiment", "method", "methods", "seed", "text"},
    "round": {"round", "labeled", "metrics", "rows"},
}


def write_report(folder: Path) -> Path:
    """Writes ``report.html``, which needs no other file and no network, and its figures as PNG files.

    Raises:
        InputError: no measured round in the folder, or runs of two experiments.
        RecordError: a file of records is damaged, or does not begin with a header.
        MissingExtraError: the libraries of ``tonsure[report]`` are not installed.
    """
    try:
        import matplotlib  # noqa: F401
        import scipy.stats  # noqa: F401
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("the report", "report") from error

    study = read_study(folder)
    pictures = draw(study, folder)
    for name, png in pictures.items():
        _write(folder / name, png)
    loader = PackageLoader("tonsure")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template("report.html.jinja").render(
        study=study,
        sentences=result_in_words(study),
        provenance=provenance(study),
        images={name: "data:image/png;base64," + base64.b64encode(png).decode() for name, png in pictures.items()},
        pictured=[number for number in PICTURED_ROUNDS if f"batch_{number}.png" in pictures],
        metrics=metrics_table(study),
        labels=labels_table(study),
        costs=costs_table(study),
        positive=positive_table(study),
        warnings=count_warnings(study),
        color=figures.color,
    )
    _write(folder / "report.html", html.encode())
    return folder / "report.html"


# Reading


@dataclass(frozen=True)
class Run:
    """One method with one seed, as far as it has got."""

    path: Path
    header: Record
    rounds: list[Record]

    @property
    def method(self) -> str:
        return str(self.header["method"])

    @property
    def seed(self) -> int:
        return int(self.header["seed"])

    @property
    def finished(self) -> bool:
        return bool(self.rounds) and not self.rounds[-1]["rows"]

    @property
    def labeled(self) -> list[int]:
        return [int(record["labeled"]) for record in self.rounds]

    def curve(self, metric: str, labels: Array) -> Array:
        """The metric at these numbers of labels, linear between measured ones, nan beyond them."""
        points = [(record["labeled"], record["metrics"].get(metric)) for record in self.rounds]
        known = [(x, y) for x, y in points if y is not None]
        if not known:
            return np.full(len(labels), np.nan)
        x, y = np.array(known, dtype=float).T
        return np.interp(labels, x, y, left=np.nan, right=np.nan)


@dataclass(frozen=True)
class Study:
    """All runs of one experiment, at least one of them with a measured round."""

    runs: list[Run]

    @property
    def name(self) -> str:
        return str(self.runs[0].header["experiment"])

    @property
    def texts(self) -> dict[str, list[str]]:
        """Each text of a configuration, and the methods that ran under it."""
        found = [
            (str(run.header["text"]), method) for method in self.places for run in self.runs if run.method == method
        ]
        return {text: list(dict.fromkeys(m for other, m in found if other == text)) for text, _ in found}

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    @cached_property
    def places(self) -> dict[str, int]:
        """Every method and its place in the experiment's own order, by the longest list where lists differ."""
        runs = sorted(self.runs, key=lambda run: -len(run.header["methods"]))
        listed = [str(method) for run in runs for method in [*run.header["methods"], run.method]]
        return {method: place for place, method in enumerate(dict.fromkeys(listed))}

    @cached_property
    def measured(self) -> dict[str, list[Run]]:
        """For each method that has been measured at all: its runs, by seed."""
        runs = sorted((run for run in self.runs if run.rounds), key=lambda run: run.seed)
        by_method = {method: [run for run in runs if run.method == method] for method in self.places}
        return {method: of_method for method, of_method in by_method.items() if of_method}

    @property
    def baseline(self) -> str:
        return "random" if "random" in self.measured else next(iter(self.measured))

    @cached_property
    def labels(self) -> Array:
        """Every number of labels at which something was measured."""
        return np.unique([count for runs in self.measured.values() for run in runs for count in run.labeled])

    @property
    def start(self) -> int:
        return max(run.labeled[0] for runs in self.measured.values() for run in runs)

    @property
    def end(self) -> int:
        """As many labels as every method has reached with one seed at least: so far they can be compared."""
        return min(max(run.labeled[-1] for run in runs) for runs in self.measured.values())

    def scores(self, number: Callable[[Run], float]) -> dict[str, Scores]:
        """For each method, the number of every run that has reached ``end``; those that are nan left out."""
        found = {
            method: {run.seed: number(run) for run in runs if run.labeled[-1] >= self.end}
            for method, runs in self.measured.items()
        }
        return {m: {seed: x for seed, x in of_m.items() if not np.isnan(x)} for m, of_m in found.items()}

    @property
    def unfinished(self) -> list[str]:
        return [
            f"{run.method}, seed {run.seed} (measured up to {f'{run.labeled[-1]:,}' if run.rounds else 'no'} labels)"
            for run in self.runs
            if not run.finished
        ]

    @property
    def missing(self) -> list[str]:
        there = {(run.method, run.seed) for run in self.runs}
        expected = [(method, seed) for method in self.places for seed in self.seeds]
        return [f"{method}, seed {seed}" for method, seed in expected if (method, seed) not in there]


def read_study(folder: Path) -> Study:
    """The runs recorded in ``folder``; a file whose first line was never completed is a run still missing."""
    runs: dict[tuple[str, int], Run] = {}
    for path in sorted(folder.glob("*-seed*.jsonl")):
        records = read_records(path)
        for number, record in enumerate(records):
            _check(path, number, record)
        if not records:
            continue
        run = Run(path, records[0], records[1:])
        for other in runs.values():
            _check_same_experiment(run, other)
        other = runs.setdefault((run.method, run.seed), run)
        if other is not run:
            raise InputError(f"{other.path} and {path} both record {run.method} with seed {run.seed}")
    if not any(run.rounds for run in runs.values()):
        raise InputError(
            f"{folder} holds no measured round: expected files <method>-seed<seed>.jsonl, as `tonsure run` "
            f"writes them, found {f'{len(runs)} of them without a round' if runs else 'none'}"
        )
    return Study(list(runs.values()))


def _check_same_experiment(run: Run, other: Run) -> None:
    """A text may tell of one method only: texts have to agree between the seeds of a method."""
    keys = ["experiment", "data", "batch"] + ["text"] * (run.method == other.method)
    for key in keys:
        if run.header.get(key) != other.header.get(key):
            raise InputError(f"{other.path} and {run.path} are of two experiments, as their {key!r} differs")


def _check(path: Path, number: int, record: Record) -> None:
    kind, where = "round" if number else "experiment", f"{path}, line {number + 1}"
    if record.get("kind") != kind:
        what = "a round" if number else "the header"
        raise RecordError(f"{where}: expected {what}, of kind {kind!r}, found kind {record.get('kind')!r}")
    if absent := sorted(REQUIRED[kind] - set(record)):
        raise RecordError(f"{where}: the {kind} lacks {', '.join(absent)}")
    if number and record["round"] != number - 1:
        raise RecordError(f"{where}: expected round {number - 1}, found round {record['round']!r}")
    if number and not isinstance(record["metrics"].get("accuracy"), float | int):
        raise RecordError(f"{where}: expected an accuracy, found the metrics {record['metrics']!r}")


# Statistics


@dataclass(frozen=True)
class Estimate:
    """The mean x̄ over n seeds, its standard error s/√n, and the 95% interval x̄ ± t(0.975; n - 1) · s/√n.

    The interval takes the seeds' numbers to be independent and about normal (Student 1908, "The probable
    error of a mean"). One seed has a mean only, and none has nothing: what is not there is nan.
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
    def told_from_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def estimate(values: Sequence[float] | Array) -> Estimate:
    """From the numbers of the seeds; those that are nan are left out."""
    from scipy.stats import t

    known = np.array([value for value in values if not np.isnan(value)], dtype=float)
    n = len(known)
    if n < 2:
        return Estimate(mean=float(known[0]), count=1) if n else Estimate()
    mean, error = float(known.mean()), float(known.std(ddof=1)) / n**0.5
    reach = float(t.ppf(0.975, n - 1)) * error
    return Estimate(mean, error, mean - reach, mean + reach, n)


def _over_seeds(scores: Scores) -> Estimate:
    return estimate(list(scores.values()))


def paired(scores: Scores, others: Scores) -> Estimate:
    """The mean difference over the seeds that have both, with the paired t-interval."""
    return estimate([scores[seed] - others[seed] for seed in scores if seed in others])


def mean_height(labels: Array, values: Array) -> float:
    """The mean height of a curve: its area by the trapezoid rule, divided by its width."""
    if len(labels) < 2:
        return float(values[0]) if len(labels) else np.nan
    return float(np.sum((values[1:] + values[:-1]) / 2 * np.diff(labels)) / (labels[-1] - labels[0]))


def labels_needed(labels: Array, values: Array, level: float) -> float:
    """Where the curve, linear between its points, is first as high as ``level``; nan where it never is."""
    reached = np.flatnonzero(values >= level)
    if not len(reached):
        return np.nan
    i = int(reached[0])
    if i == 0:
        return float(labels[0])
    share = (level - values[i - 1]) / (values[i] - values[i - 1])
    return float(labels[i - 1] + share * (labels[i] - labels[i - 1]))


def round_levels(low: float, high: float) -> list[float]:
    """Round accuracies above ``low`` up to ``high``: of the coarsest grid with three, the last five."""
    levels: list[float] = []
    finer = [list(range(step, 1000, step)) for step in (50, 20, 10, 5)]
    for grid in ([*range(100, 1000, 100), 950, 980, 990], *finer):
        levels = [level / 1000 for level in grid if low < level / 1000 <= high]
        if len(levels) >= 3:
            break
    return levels[-5:]


def best_and_tied(scores: Mapping[str, Scores], higher: bool = True) -> tuple[str | None, set[str]]:
    """The method with the best mean, and those that no paired interval without zero tells apart from it."""
    means = {method: _over_seeds(of_seeds).mean for method, of_seeds in scores.items() if of_seeds}
    if len(means) < 2:
        return None, set()
    best = (max if higher else min)(means, key=lambda method: means[method])
    rest = [method for method in means if method != best]
    return best, {method for method in rest if not paired(scores[method], scores[best]).told_from_zero}


def mean_accuracies(study: Study) -> dict[str, Scores]:
    """The mean accuracy along the curve, from the first number of labels to the last that all reached."""
    inside = study.labels[(study.labels >= study.start) & (study.labels <= study.end)]
    return study.scores(lambda run: mean_height(inside, run.curve("accuracy", inside)))


def finals(study: Study, metric: str) -> dict[str, Scores]:
    return study.scores(lambda run: float(run.curve(metric, np.array([study.end]))[0]))


# Tables


@dataclass(frozen=True)
class Cell:
    """A number as text, and a smaller line below it; ``tied`` is not told apart from the column's best."""

    text: str
    note: str = ""
    best: bool = False
    tied: bool = False


Columns = dict[str, dict[str, Cell]]  # heading -> method -> cell


def metrics_table(study: Study) -> Columns:
    columns: Columns = {}
    for heading, scores, higher in (
        ("mean accuracy along the curve", mean_accuracies(study), True),
        ("final accuracy", finals(study, "accuracy"), True),
        ("final negative log likelihood", finals(study, "negative_log_likelihood"), False),
        ("final calibration error", finals(study, "calibration_error"), False),
    ):
        best, tied = best_and_tied(scores, higher)
        columns.setdefault("seeds", {method: Cell(str(len(of_seeds))) for method, of_seeds in scores.items()})
        columns[heading] = {
            method: Cell(
                _with_error(_over_seeds(of_seeds), 3),
                _difference(paired(of_seeds, scores[study.baseline])) if method != study.baseline else "",
                best=method == best,
                tied=method in tied,
            )
            for method, of_seeds in scores.items()
        }
    return columns


def labels_table(study: Study) -> Columns:
    """The number of labels at which each seed's own curve first reaches an accuracy; the mean over seeds."""
    start = max(float(run.rounds[0]["metrics"]["accuracy"]) for runs in study.measured.values() for run in runs)
    end = max(_over_seeds(of_seeds).mean for of_seeds in finals(study, "accuracy").values())
    columns: Columns = {}
    for level in round_levels(start, end):
        needed = {
            method: {run.seed: labels_needed(*_accuracy(run), level) for run in runs}
            for method, runs in study.measured.items()
        }
        # The seeds that got there are the fast ones: who did not with every seed does not compete.
        failed = {method: int(np.isnan(list(of_seeds.values())).sum()) for method, of_seeds in needed.items()}
        best, tied = best_and_tied({m: of_seeds for m, of_seeds in needed.items() if not failed[m]}, higher=False)
        columns[f"{level * 100:.3g}%"] = {
            method: Cell(
                _with_error(_over_seeds(of_seeds), 1 if study.end < 1000 else 0),
                f"not reached in {failed[method]} of {_seeds(len(of_seeds))}" if failed[method] else "",
                best=method == best,
                tied=method in tied,
            )
            for method, of_seeds in needed.items()
        }
    return columns


def costs_table(study: Study) -> Columns:
    """The median over all rounds and seeds of what a step takes, and the most memory any run has used."""
    columns: Columns = {}
    for step in ("fit", "predict", "select"):
        seconds = {method: _seconds(study, method, step) for method in study.measured}
        medians = {method: median(taken) if taken else np.nan for method, taken in seconds.items()}
        least = min((value for value in medians.values() if value > 0), default=1.0)
        digits = int(np.clip(1 - np.floor(np.log10(least)), 2, 4))  # two digits of the least, where four can
        columns[f"{step} (s)"] = {method: Cell(_number(value, digits)) for method, value in medians.items()}
    columns["peak memory (MiB)"] = {}
    for method, runs in study.measured.items():
        peaks = [r["peak_memory"] for run in runs for r in run.rounds if r.get("peak_memory") is not None]
        columns["peak memory (MiB)"][method] = Cell(_number(max(peaks, default=np.nan) / 2**20, 0))
    return columns


def positive_table(study: Study, most: int = 8) -> Columns:
    """How many picks of a batch still had a gain above zero: the median over seeds, from fewest to most."""
    batches = {
        method: [r for run in runs for r in run.rounds if r["rows"] and r.get("positive") is not None]
        for method, runs in study.measured.items()
    }
    numbers = sorted({r["round"] for records in batches.values() for r in records})
    if not numbers:
        return {}
    columns: Columns = {"all rounds": {}}
    for method, records in batches.items():
        total = f"{sum(r['positive'] for r in records):,} of {sum(len(r['rows']) for r in records):,}"
        columns["all rounds"][method] = Cell(total if records else "–")
    shown = dict.fromkeys(numbers[round(i)] for i in np.linspace(0, len(numbers) - 1, most))
    for number in shown:
        counts = {m: [r["positive"] for r in records if r["round"] == number] for m, records in batches.items()}
        columns[f"round {number}"] = {
            method: Cell(f"{median(found):g}", f"{min(found)} to {max(found)}" if len(set(found)) > 1 else "")
            if found
            else Cell("–")
            for method, found in counts.items()
        }
    return columns


def count_warnings(study: Study) -> list[tuple[str, int, str]]:
    """Each warning, in how many rounds it was recorded, and of which methods; the most frequent first.

    Warnings that differ in numbers only are one, with the range of each number: "only 14–17 of the 40 picks".
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for run in study.runs:
        for text in (text for r in run.rounds for text in r.get("warnings") or ()):
            groups.setdefault(NUMBER.sub("0", text), []).append((text, run.method))
    counted = []
    for group in sorted(groups.values(), key=len, reverse=True):
        at_each_place = zip(*(NUMBER.findall(text) for text, _ in group), strict=True)
        spans = ["–".join(dict.fromkeys((min(n, key=float), max(n, key=float)))) for n in at_each_place]
        merged = NUMBER.sub("{}", group[0][0].replace("{", "{{").replace("}", "}}")).format(*spans)
        methods = {method for _, method in group}
        counted.append((merged, len(group), ", ".join(method for method in study.places if method in methods)))
    return counted


def _accuracy(run: Run) -> tuple[Array, Array]:
    labels = np.array(run.labeled, dtype=float)
    return labels, run.curve("accuracy", labels)


def _seconds(study: Study, method: str, step: str, number: int | None = None) -> list[float]:
    """What the step took, in one round or in all; the last round of a run only fits."""
    records = [r for run in study.measured[method] for r in run.rounds if r["rows"] or step == "fit"]
    taken = [r.get("seconds", {}).get(step) for r in records if number in (None, r["round"])]
    return [float(seconds) for seconds in taken if seconds is not None]


# Words


def result_in_words(study: Study) -> list[str]:
    """Two lines that say the result, and then what has to be said with them."""
    scores = {method: of_seeds for method, of_seeds in mean_accuracies(study).items() if of_seeds}
    span = f"mean accuracy along the curve from {study.start:,} to {study.end:,} labels"
    heights = {
        method: f"{_with_error(_over_seeds(of_seeds), 3)}, over {_seeds(len(of_seeds))}"
        for method, of_seeds in scores.items()
    }
    best, tied = best_and_tied(scores)
    if best is None:
        alone = [f"{method} has a {span} of {height}." for method, height in heights.items()]
        return [
            *alone,
            "No two methods have been measured over the same labels: nothing can be compared yet.",
        ]
    sentences = [f"{best} has the highest {span}: {heights[best]}."]
    if best == study.baseline:
        rest = [method for method in scores if method != best]
        following = max(rest, key=lambda method: _over_seeds(scores[method]).mean)
        sentences.append(f"No method is better than {best} on average. {_compare(study, scores, following)}")
    else:
        sentences.append(_compare(study, scores, best))
    if tied:
        names = ", ".join(method for method in scores if method in tied)
        reason = "the paired interval includes zero, or fewer than two seeds are shared"
        sentences.append(f"Not told apart from {best}: {names} ({reason}).")
    if len({tuple(of_seeds) for of_seeds in scores.values()}) > 1:
        sentences.append("Not all methods have the same seeds; a difference is over those that both have.")
    if len(study.seeds) > 1:
        sentences.append(
            "Intervals take the differences to be about normal. Each holds for one comparison alone: nothing "
            f"corrects for the best of {len(scores)} methods being in part the luckiest."
        )
    return sentences


def _compare(study: Study, scores: dict[str, Scores], method: str) -> str:
    """What can be said of one method against the baseline: as much as the interval carries, and no more."""
    baseline = study.baseline
    difference = paired(scores[method], scores.get(baseline, {}))
    if not difference.count:
        return f"{method} cannot be compared with {baseline}: no seed has got as far with both."
    differs = f"{method} minus {baseline}: {_signed(difference.mean)}"
    if not difference.has_interval:
        return f"{differs}, with one seed; what another seed would show, this does not say."
    interval = f"95% interval {_signed(difference.low)} to {_signed(difference.high)}"
    found = f"{differs} ({interval}, paired over {_seeds(difference.count)})"
    if not difference.told_from_zero:
        return f"{found}. The interval includes zero: these runs do not tell the two apart."
    return f"{found}. The interval does not include zero."


def provenance(study: Study) -> dict[str, list[str]]:
    """What the runs say of themselves; where they differ, all that they say."""

    def said(key: str) -> list[str]:
        found = [run.header.get(key) for run in study.runs]
        texts = [", ".join(f"{k} {v}" for k, v in x.items()) if isinstance(x, dict) else str(x or "") for x in found]
        return [text for text in dict.fromkeys(texts) if text]

    finished = sum(run.finished for run in study.runs)
    facts = {
        "Data": said("data"),
        "Seeds": [", ".join(map(str, study.seeds))],
        "Batch": [f"{batch} labels a round" for batch in said("batch")],
        "Runs": [f"{finished} finished of {len(study.places) * len(study.seeds)}"],
        "Machine": said("machine"),
        "Versions": said("versions"),
        "Commit": said("commit"),
    }
    return {name: texts for name, texts in facts.items() if texts}


def _number(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else f"{value:,.{digits}f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _with_error(value: Estimate, digits: int) -> str:
    return _number(value.mean, digits) + (f" ± {value.error:,.{digits}f}" if value.has_interval else "")


def _difference(value: Estimate) -> str:
    if not value.count:
        return "no pair"
    return _signed(value.mean) + (f" [{_signed(value.low)}, {_signed(value.high)}]" if value.has_interval else "")


def _seeds(count: int) -> str:
    return f"{count} seeds" if count != 1 else "1 seed"


# Figures and files


def draw(study: Study, folder: Path) -> dict[str, bytes]:
    """File name -> PNG; a figure for which nothing was recorded is left out."""
    curves = {
        method: {run.seed: run.curve("accuracy", study.labels) for run in runs}
        for method, runs in study.measured.items()
    }
    lines = [_line(study, method, of_seeds) for method, of_seeds in curves.items()]
    pictures = {"learning_curves.png": figures.learning_curves(lines)}

    base, means = curves.pop(study.baseline), mean_accuracies(study)
    gaps = []
    for method, of_seeds in curves.items():
        if pairs := {seed: curve - base[seed] for seed, curve in of_seeds.items() if seed in base}:
            along = _difference(paired(means[method], means[study.baseline]))
            gaps.append(_line(study, method, pairs, f"along the curve {along}"))
    if gaps:
        pictures["differences.png"] = figures.differences(gaps, study.baseline)

    dots = []
    for method, runs in study.measured.items():
        longest = max(len(run.rounds) for run in runs)
        rounds = [_seconds(study, method, "select", number) for number in range(longest)]
        if any(rounds):
            arrays = [np.array(taken) for taken in rounds if taken]
            dots.append(figures.Dots(method, study.places[method], arrays))
    if dots:
        pictures["selection_seconds.png"] = figures.selection_seconds(dots)

    for number in PICTURED_ROUNDS:
        if strips := _strips(study, folder, number):
            pictures[f"batch_{number}.png"] = figures.contact_sheet(strips)
    return pictures


def _line(study: Study, method: str, of_seeds: dict[int, Array], note: str = "") -> figures.Line:
    values = np.stack(list(of_seeds.values()))
    points = [estimate(values[:, i]) for i in range(len(study.labels))]
    mean, low, high, count = np.array([(point.mean, point.low, point.high, point.count) for point in points]).T
    complete = count == len(study.seeds)
    return figures.Line(method, study.places[method], study.labels, values, mean, low, high, complete, note)


def _strips(study: Study, folder: Path, number: int) -> list[figures.Strip]:
    """What each method chose in this round with the first seed, where pictures of it were kept."""
    strips = []
    for run in (run for runs in study.measured.values() for run in runs if run.seed == study.seeds[0]):
        path = folder / "pictures" / f"{run.method}-seed{run.seed}-round{number}.npy"
        if number >= len(run.rounds) or not path.exists():
            continue
        pictures = np.load(path, allow_pickle=False)
        if pictures.dtype != np.uint8 or pictures.ndim not in (3, 4) or not pictures.size:
            found = f"{pictures.dtype} {list(pictures.shape)}"
            raise InputError(f"{path}: expected pictures as uint8 [b, H, W] or [b, H, W, 3], found {found}")
        labels = np.array(run.rounds[number].get("labels") or [], dtype=int)
        counts = np.bincount(labels, minlength=len(run.header.get("classes") or [""]))
        named = run.header.get("classes") or []
        classes = [str(name) for name in (named if len(named) == len(counts) else range(len(counts)))]
        place = study.places[run.method]
        strips.append(figures.Strip(run.method, place, pictures[:PICTURES_PER_BATCH], counts, classes))
    return strips


def _write(path: Path, content: bytes) -> None:
    """Written beside and renamed, so that a reader finds the old file or the new one, never half of one."""
    beside = path.with_name(f"{path.name}.part")
    beside.write_bytes(content)
    os.replace(beside, path)
