"""The recorded runs of an experiment, and the metrics of each method and seed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tonsure.errors import InputError
from tonsure.experiments.archive import ENDING, RUNS, read_archive
from tonsure.experiments.older_records import up_to_date
from tonsure.experiments.records import Record, read_records
from tonsure.report.statistics import Array, Scores, mean_height


@dataclass(frozen=True)
class RecordedRun:
    """The records of one method with one seed, finished or not."""

    path: Path
    header: Record
    records: list[Record]

    @cached_property
    def rounds(self) -> list[Record]:
        """Those with a fitted model: all but a first one without labels."""
        return [record for record in self.records if record["labeled"]]

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
        """The metric at these numbers of labels: linear between measured ones, nan outside."""
        points = [(record["labeled"], record["metrics"].get(metric)) for record in self.rounds]
        known = [(x, y) for x, y in points if y is not None]
        if not known:
            return np.full(len(labels), np.nan)
        x, y = np.array(known, dtype=float).T
        return np.interp(labels, x, y, left=np.nan, right=np.nan)


@dataclass(frozen=True)
class Results:
    """All runs of one experiment, at least one of them with a measured round."""

    runs: list[RecordedRun]

    @property
    def name(self) -> str:
        return str(self.runs[0].header["experiment"])

    @property
    def texts(self) -> dict[str, list[str]]:
        """Each configuration as text, and the methods that were run with it."""
        found = [
            (str(run.header["text"]), method) for method in self.places for run in self.runs if run.method == method
        ]
        return {text: list(dict.fromkeys(m for other, m in found if other == text)) for text, _ in found}

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    @cached_property
    def places(self) -> dict[str, int]:
        """Each method and its place in the order of the experiment, by the longest list where lists differ."""
        runs = sorted(self.runs, key=lambda run: -len(run.header["methods"]))
        listed = [str(method) for run in runs for method in [*run.header["methods"], run.method]]
        return {method: place for place, method in enumerate(dict.fromkeys(listed))}

    @cached_property
    def measured(self) -> dict[str, list[RecordedRun]]:
        """The runs of each method with a measured round, by seed."""
        runs = sorted((run for run in self.runs if run.rounds), key=lambda run: run.seed)
        by_method = {method: [run for run in runs if run.method == method] for method in self.places}
        return {method: of_method for method, of_method in by_method.items() if of_method}

    @property
    def baseline(self) -> str:
        return "random" if "random" in self.measured else next(iter(self.measured))

    @cached_property
    def labels(self) -> Array:
        """All numbers of labels at which a model was measured."""
        return np.unique([count for runs in self.measured.values() for run in runs for count in run.labeled])

    @property
    def start(self) -> int:
        return max(run.labeled[0] for runs in self.measured.values() for run in runs)

    @property
    def end(self) -> int:
        """The largest number of labels that every method has reached with at least one seed."""
        return min(max(run.labeled[-1] for run in runs) for runs in self.measured.values())

    def scores(self, number: Callable[[RecordedRun], float]) -> dict[str, Scores]:
        """A number of each run that has reached ``end``, by method and seed, without nan."""
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


def read_results(place: Path) -> Results:
    """The results recorded in a folder or an archive ``.jsonl.xz``.

    A file without a complete first line counts as a missing run.

    Raises:
        InputError: there is no measured round, or runs are of different experiments or recorded twice.
        RecordError: a record is damaged, or holds something else than ``run`` writes.
    """
    runs: dict[tuple[str, int], RecordedRun] = {}
    firsts: dict[str | None, RecordedRun] = {}
    for path, records in _recorded(place).items():
        if not records:
            continue
        run = RecordedRun(path, up_to_date(records[0]), records[1:])
        # The first run of all, and the first of the same method, speak for the others.
        for other in (firsts.setdefault(None, run), firsts.setdefault(run.method, run)):
            _check_same_experiment(run, other)
        other = runs.setdefault((run.method, run.seed), run)
        if other is not run:
            raise InputError(f"{other.path} and {path} both record {run.method} with seed {run.seed}")
    if not any(run.rounds for run in runs.values()):
        raise InputError(
            f"{place} holds no measured round: expected files <method>-seed<seed>.jsonl, as `tonsure run` "
            f"writes them, found {f'{len(runs)} of them without a round' if runs else 'none'}"
        )
    return Results(list(runs.values()))


def _recorded(place: Path) -> dict[Path, list[Record]]:
    if place.name.endswith(ENDING) or place.is_file():
        return {place / name: records for name, records in read_archive(place).items()}
    return {path: read_records(path) for path in sorted(place.glob(RUNS))}


def _check_same_experiment(run: RecordedRun, other: RecordedRun) -> None:
    """Raises InputError if they are not; the texts of different methods may differ."""
    keys = ["experiment", "data", "k"] + ["text"] * (run.method == other.method)
    for key in keys:
        if run.header.get(key) != other.header.get(key):
            raise InputError(f"{other.path} and {run.path} are of two experiments: their {key!r} differs")


def mean_accuracies(results: Results) -> dict[str, Scores]:
    """The mean accuracy along the curve, from the first number of labels to the last that all methods reached."""
    inside = results.labels[(results.labels >= results.start) & (results.labels <= results.end)]
    return results.scores(lambda run: mean_height(inside, run.curve("accuracy", inside)))


def finals(results: Results, metric: str) -> dict[str, Scores]:
    return results.scores(lambda run: float(run.curve(metric, np.array([results.end]))[0]))


def seconds(results: Results, method: str, step: str, number: int | None = None) -> list[float]:
    """The seconds of a step in one round or in all; the last round of a run has "fit" only."""
    records = [r for run in results.measured[method] for r in run.rounds if r["rows"] or step == "fit"]
    taken = [r.get("seconds", {}).get(step) for r in records if number in (None, r["round"])]
    return [float(value) for value in taken if value is not None]
