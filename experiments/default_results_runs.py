"""From the records of experiments/default.py to the numbers that the page of evidence is made of.

An experiment is called POOL-POSTERIOR-BATCH, such as ag-news-ensemble-100.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tonsure.errors import RecordError
from tonsure.experiments import load
from tonsure.experiments.archive import ENDING, RUNS, pack
from tonsure.experiments.records import read_records
from tonsure.report.results import RecordedRun, Results, read_results
from tonsure.report.statistics import Array, Scores
from tonsure.report.tables import provenance

HERE = Path(__file__).parent
BASELINE = "random"
STEPS = ("fit", "predict", "select")
NAME = re.compile(r"(?P<pool>.+)-(?P<posterior>dropout|ensemble)-(?P<batch>\d+)")
SUPERVISED = re.compile(r"(?P<name>\S+)\s+[\d,]+  (?P<accuracy>[01]\.\d+) ± (?:\d+\.\d+|nan)")
LEAST = 3
"""A method takes part in an experiment from so many seeds on, or from as many as the most complete one has."""

HEADINGS = re.compile(r".*; accuracy ± standard error over \d+ seeds|all of the pool labeled +labels  accuracy")


@dataclass(frozen=True, eq=False)
class Curves:
    """What is used of one run: a number for each round; the last has nothing to select."""

    accuracy: Array  # [rounds]
    negative_log_likelihood: Array  # [rounds], in nats
    select: Array  # [rounds - 1], in seconds
    training: Array  # [rounds - 1], in seconds: fit and predict

    @classmethod
    def of(cls, run: RecordedRun) -> "Curves":
        labels = np.array(run.labeled)
        seconds = [record.get("seconds", {}) for record in run.rounds if record["rows"]]
        steps = {step: np.array([taken.get(step, np.nan) for taken in seconds]) for step in STEPS}
        return cls(
            accuracy=run.curve("accuracy", labels),
            negative_log_likelihood=run.curve("negative_log_likelihood", labels),
            select=steps["select"],
            training=steps["fit"] + steps["predict"],
        )


@dataclass(frozen=True, eq=False)
class Trial:
    """An experiment, its name taken apart, with the finished runs of its methods: of some, with fewer seeds."""

    name: str
    pool: str
    posterior: str
    batch: int
    half: str
    labels: Array  # [rounds]
    curves: Mapping[str, Mapping[int, Curves]]  # method -> seed -> its run
    facts: Mapping[str, Sequence[str]]
    supervised: float = np.nan  # the accuracy with the whole pool labeled

    @property
    def seeds(self) -> list[int]:
        return list(self.curves[BASELINE])

    @cached_property
    def start(self) -> float:
        """The accuracy with the first labels, which all methods share: the mean over the seeds of the baseline."""
        return float(np.mean([one.accuracy[0] for one in self.curves[BASELINE].values()]))

    @property
    def apart(self) -> float:
        """How far the first accuracies of a seed, which should be equal, are from each other."""
        first = [[runs[seed].accuracy[0] for runs in self.curves.values() if seed in runs] for seed in self.seeds]
        return float(max(map(np.ptp, first)))

    def level(self, share: float) -> float:
        """The accuracy at a share of the gap between the start and full supervision; nan where there is no gap."""
        gap = self.supervised - self.start
        return self.start + share * gap if gap > 0 else np.nan

    def scores(self, number: "Number", method: str) -> Scores:
        return {seed: number(self, one) for seed, one in self.curves[method].items()}


Number = Callable[[Trial, Curves], float]
"""What is read off one run."""


@dataclass(frozen=True)
class Evidence:
    """All experiments of a page, and what was left out of it, in words."""

    trials: list[Trial]
    left_out: list[str]
    supervision: list[str]  # what full supervision says of itself


def pools_of(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    return {pool: [trial for trial in trials if trial.pool == pool] for pool in dict.fromkeys(t.pool for t in trials)}


def halves() -> dict[str, str]:
    """Each pool of experiments/default.py, in its order, and the scale that it belongs to."""
    found: dict[str, str] = {}
    for scale in ("choose", "confirm"):
        for experiment in load.experiments(HERE / "default.py", scale):
            if name := NAME.fullmatch(experiment.name):
                found.setdefault(name["pool"], scale)
    return found


def read_further(folder: Path, half_of: Mapping[str, str]) -> list[Trial]:
    """The experiments of a folder inside that of the records; none where there is no such folder."""
    return read_evidence(folder, half_of, True, folder.parent).trials if folder.is_dir() else []


def read_evidence(
    folder: Path, half_of: Mapping[str, str], incomplete: bool = False, beside: Path | None = None
) -> Evidence:
    """All experiments of ``folder``, as archives or as folders of records, by half, pool, posterior and batch.

    Other files, and folders that are not called as an experiment of this page, are passed over.

    Args:
        half_of: the half of each pool; others belong to a half of their own, "other".
        incomplete: keep experiments with methods that have too few seeds, or none at all yet.
        beside: where full_supervision.txt is, if not in the same folder.

    Raises:
        RecordError: nothing can be compared, an experiment is not called as its file, or the runs of one were not
            measured at the same numbers of labels.
        InputError: as ``read_results``.
    """
    supervised, supervision = read_supervision((beside or folder) / "full_supervision.txt")
    trials, left_out = [], []
    never: Counter[str] = Counter()
    for place in sorted(folder.glob("*")):
        found = NAME.fullmatch(name := place.name.removesuffix(ENDING))
        if not found or (place.name == name and not place.is_dir()):
            continue
        if not _measured(place):
            left_out.append(f"{name}, as not one round is measured")
            continue
        results = read_results(place)
        if results.name != name:
            raise RecordError(f"{place} holds the experiment {results.name}, expected {name}")
        pool, posterior = found["pool"], found["posterior"]
        trial = Trial(
            name=name,
            pool=pool,
            posterior=posterior,
            batch=int(found["batch"]),
            half=half_of.get(pool, "other"),
            supervised=supervised.get(f"{pool}-{posterior}", np.nan),
            **_finished(results),
        )
        expected = set.intersection(*(set(run.header["methods"]) for run in results.runs))
        absent = sorted(expected - set(trial.curves), key=list(results.places).index)
        if BASELINE not in trial.curves:
            left_out.append(f"{name}, as there is no finished run of {BASELINE} to compare with")
        elif absent and not incomplete:
            left_out.append(f"{name}, as not yet finished by {', '.join(absent)}")
        else:
            trials.append(trial)
            never.update(method for method in absent if not _has_finished(results, method))
            left_out += [f"of {name}: {runs}" for runs in _runs_left_out(results, trial)]
    if not trials:
        raise RecordError(
            f"{folder} holds nothing to compare: expected archives POOL-POSTERIOR-BATCH{ENDING}, or folders of records "
            f"POOL-POSTERIOR-BATCH, with finished runs of all methods; "
            f"{'left out: ' + '; '.join(left_out) if left_out else 'found none'}"
        )
    if never:
        counted = (f"{method} (in {count} of {len(trials)})" for method, count in never.items())
        left_out.insert(0, f"without any run, though the experiments name them: {', '.join(counted)}")
    halves_of = [*dict.fromkeys(half_of.values()), "other"]
    order = {pool: place for place, pool in enumerate(half_of)}
    trials.sort(
        key=lambda t: (halves_of.index(t.half), order.get(t.pool, len(order)), t.pool, t.posterior, t.batch),
    )
    return Evidence(trials, left_out, supervision)


def _measured(place: Path) -> bool:
    return place.is_file() or any(record.get("labeled") for path in place.glob(RUNS) for record in read_records(path))


def _finished(results: Results) -> dict[str, Any]:
    """The curves of each method, by seed: of the methods that have enough, the seeds that the baseline has too."""
    runs = {m: {r.seed: r for r in found if r.finished} for m, found in results.measured.items()}
    seeds = sorted(runs.get(BASELINE, {}))
    paired = {m: {seed: of_seeds[seed] for seed in seeds if seed in of_seeds} for m, of_seeds in runs.items()}
    enough = min(LEAST, len(seeds))
    runs = {m: of_seeds for m, of_seeds in paired.items() if seeds and len(of_seeds) >= enough}
    used = [run for of_seeds in runs.values() for run in of_seeds.values()]
    for run in used:
        if run.labeled != used[0].labeled:
            raise RecordError(f"{used[0].path} and {run.path} were not measured at the same numbers of labels")
    return {
        "labels": np.array(used[0].labeled if used else [], dtype=float),
        "curves": {m: {seed: Curves.of(run) for seed, run in of_seeds.items()} for m, of_seeds in runs.items()},
        "facts": provenance(replace(results, runs=used)) if used else {},
    }


def _has_finished(results: Results, method: str) -> bool:
    """Whether a run of the method is finished."""
    return any(run.finished for run in results.measured.get(method, ()))


def _runs_left_out(results: Results, trial: Trial) -> Iterator[str]:
    """Runs that were begun and are not among what is compared, by method."""
    for what, wanted in (("unfinished", False), ("finished, but of too few seeds, or without a pair", True)):
        found: dict[str, list[int]] = {}
        for run in results.runs:
            if run.finished == wanted and run.seed not in trial.curves.get(run.method, {}):
                found.setdefault(run.method, []).append(run.seed)
        told = [
            f"{method} (seed{'s' * (len(found[method]) > 1)} {', '.join(map(str, sorted(found[method])))})"
            for method in results.places
            if method in found
        ]
        if told:
            yield f"{what}: {', '.join(told)}"


def read_supervision(path: Path) -> tuple[dict[str, float], list[str]]:
    """POOL-POSTERIOR -> accuracy, and what the headings say; nothing where there is no such file.

    Raises:
        RecordError: a line is not as experiments/full_supervision.py prints it, or a second one of the same name.
    """
    found: dict[str, float] = {}
    headings = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else [], start=1):
        if HEADINGS.fullmatch(line):
            headings.append(line)
            continue
        told = SUPERVISED.fullmatch(line)
        if not told or not 0 < float(told["accuracy"]) <= 1 or told["name"] in found:
            raise RecordError(
                f"{path}, line {number}: expected POOL-POSTERIOR, a number of labels, and an accuracy in (0, 1] with "
                f"its error, each name once; it reads {line!r}"
            )
        found[told["name"]] = float(told["accuracy"])
    return found, [line for line in headings if ";" in line]


def pack_finished(runs: Path, into: Path) -> list[Path]:
    """Packs the finished runs of every experiment of ``runs``; those that are not finished are named and left."""
    packed = []
    for folder in sorted(
        path for path in runs.glob("*") if path.is_dir() and NAME.fullmatch(path.name) and _measured(path)
    ):
        results = read_results(folder)
        if left := results.unfinished + results.missing:
            print(f"not packed, as unfinished or missing in {folder}: {'; '.join(left)}", file=sys.stderr)
        finished = [run.path for run in results.runs if run.finished]
        if not finished:
            continue
        with TemporaryDirectory() as beside:
            for path in finished:
                (Path(beside) / path.name).symlink_to(path.resolve())
            packed.append(into / f"{folder.name}{ENDING}")
            pack(Path(beside), packed[-1], thin=True)
    return packed
