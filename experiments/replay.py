"""Checks that recorded runs still select the rows that they selected: replays them and compares round by round.

python experiments/replay.py experiments/digits.py docs/digits --methods LBB,PLBB --seeds 0,1
python experiments/replay.py experiments/paper/mnist.py docs/results/mnist-dropout-10-small.jsonl.xz --scale small

Each round starts from the recorded labels, so that one difference does not cause others in later rounds. Records whose
rows were left out when they were packed are replayed from the start, and their metrics are compared.

The training of a network gives exactly the same numbers only on the same machine with the same number of threads. On
another machine predictions differ slightly, and so may rows whose gains nearly tie. To test a change of the code,
record the runs with the code before the change on the same machine.
"""

import argparse
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from tonsure.errors import InputError, TonsureError
from tonsure.experiments import load
from tonsure.experiments.archive import ENDING, RUNS, read_archive
from tonsure.experiments.data import Data, Datasets
from tonsure.experiments.one_run import run_one
from tonsure.experiments.records import Record, append_record, read_records
from tonsure.experiments.settings import Experiment

PRECISION = 1e-6
"""The largest difference of a metric at which two rounds count as the same, where no rows were recorded."""


@dataclass(frozen=True)
class Comparison:
    """One round as recorded and as replayed.

    Attributes:
        equal_rows: the number of leading rows that are the same in the same order; None where only their number is
            recorded.
        gains_apart: the largest relative difference of the gains of these rows; nan if none are recorded.
        metrics_apart: the largest difference of a metric.
    """

    method: str
    seed: int
    round: int
    rows: int
    equal_rows: int | None
    gains_apart: float
    metrics_apart: float

    @property
    def same(self) -> bool:
        return self.metrics_apart <= PRECISION if self.equal_rows is None else self.equal_rows == self.rows

    def __str__(self) -> str:
        rows = "" if self.equal_rows is None else f"the first {self.equal_rows} of {self.rows} rows are equal, "
        gains = "" if np.isnan(self.gains_apart) else f"their gains differ by at most {self.gains_apart:.1e}, "
        return f"round {self.round}: {rows}{gains}metrics differ by at most {self.metrics_apart:.1e}"


def replay(experiment: Experiment, data: Data, records: Sequence[Record]) -> Iterator[Comparison]:
    """Runs each recorded round again and compares it with its record.

    Args:
        records: of one run, the header first.

    Raises:
        InputError: the experiment has no such method.
        RecordError: the header is that of another experiment.
    """
    header, *rounds = records
    method, seed = header["method"], header["seed"]
    if method not in experiment.methods:
        raise InputError(f"experiment {experiment.name} has no method {method}")
    with_rows = all(isinstance(record["rows"], list) for record in rounds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number, recorded in enumerate(rounds):
            if with_rows or number == 0:
                for record in (header, *rounds[:number]):
                    append_record(folder / str(number) / f"{method}-seed{seed}.jsonl", record)
            if with_rows:
                replayed = next(islice(run_one(experiment, data, folder / str(number), method, seed), number, None))
            else:
                if number == 0:
                    run = run_one(experiment, data, folder / "0", method, seed)
                replayed = next(run)
            yield compare(method, seed, recorded, replayed)


def compare(method: str, seed: int, recorded: Record, replayed: Record) -> Comparison:
    metrics = recorded["metrics"]
    metrics_apart = max((abs(value - replayed["metrics"][name]) for name, value in metrics.items()), default=0.0)
    rows = recorded["rows"]
    if isinstance(rows, int):
        return Comparison(method, seed, recorded["round"], rows, None, np.nan, metrics_apart)
    pairs = list(zip(rows, replayed["rows"], strict=False))
    equal = next((place for place, (one, other) in enumerate(pairs) if one != other), len(pairs))
    if len(rows) != len(replayed["rows"]):
        equal = min(equal, len(pairs) - 1)
    gains = [np.array(record["gains"], dtype=float)[:equal] for record in (recorded, replayed)]
    apart = np.abs(gains[0] - gains[1]) / np.maximum(np.abs(gains[0]), 1e-6)
    gains_apart = float(apart.max()) if len(apart) else np.nan
    return Comparison(method, seed, recorded["round"], len(rows), equal, gains_apart, metrics_apart)


def recorded_runs(place: Path) -> Iterator[list[Record]]:
    """The runs of an archive, or of a folder of records."""
    if place.name.endswith(ENDING):
        yield from read_archive(place).values()
    else:
        yield from (records for path in sorted(place.glob(RUNS)) if (records := read_records(path)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the file of the experiment")
    parser.add_argument("records", type=Path, nargs="+", help="archives or folders of records")
    parser.add_argument("--scale", default=load.FULL)
    parser.add_argument("--methods", help="only these, separated by commas")
    parser.add_argument("--seeds", help="only these, separated by commas")
    parser.add_argument("--threads", type=int, help="threads of torch; by default those of the records")
    words = parser.parse_args()
    warnings.simplefilter("ignore")
    methods, seeds = words.methods and words.methods.split(","), words.seeds and words.seeds.split(",")
    datasets, different, total = Datasets(), 0, 0
    try:
        experiments = {experiment.name: experiment for experiment in load.experiments(words.file, words.scale)}
        for place in words.records:
            for records in recorded_runs(place):
                header = records[0]
                name, method, seed = header["experiment"], header["method"], header["seed"]
                if (methods and method not in methods) or (seeds and str(seed) not in seeds):
                    continue
                threads = re.search(r"(\d+) threads", header["machine"])
                torch.set_num_threads(words.threads or int(threads[1] if threads else 1))
                if name not in experiments:
                    raise InputError(f"{words.file} makes no experiment {name} at the scale {words.scale}")
                experiment = experiments[name]
                data = datasets(experiment.dataset, experiment.validation, experiment.features)
                found = list(replay(experiment, data, records))
                differing = [one for one in found if not one.same]
                different, total = different + len(differing), total + len(found)
                gains = np.nanmax([0.0, *(one.gains_apart for one in found)])
                metrics = max((one.metrics_apart for one in found), default=0.0)
                print(
                    f"{name}, {method}, seed {seed}: {len(found) - len(differing)} of {len(found)} rounds are equal; "
                    f"gains differ by at most {gains:.1e}, metrics by {metrics:.1e}"
                )
                for one in differing:
                    print(f"  {one}", flush=True)
    except TonsureError as error:
        parser.exit(2, f"error: {error}\n")
    print(f"{total - different} of {total} rounds are equal")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
