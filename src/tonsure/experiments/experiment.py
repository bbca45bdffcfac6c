"""Running experiments: one file of records per method and seed."""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tonsure.arguments import shown
from tonsure.datasets import Loader as Loader
from tonsure.errors import InputError
from tonsure.experiments.data import Datasets
from tonsure.experiments.one_run import recorded, run_one
from tonsure.experiments.records import Record
from tonsure.experiments.scheduler import Run, run_all
from tonsure.experiments.settings import Experiment as Experiment

MOST_SEEDS = 10_000
"""Of one experiment: the plan of all runs is held in memory."""


def run(
    experiment: Experiment,
    folder: Path,
    *,
    seeds: Sequence[int],
    methods: Sequence[str] | None = None,
    jobs: int = 1,
) -> None:
    """Runs an experiment, seed by seed; records go to ``folder``, one file for each method and seed.

    Finished runs are not repeated. An interrupted run continues after its last complete line and gives the same
    records. Several processes may share a folder.

    Args:
        experiment: the experiment.
        folder: of the records; created if needed.
        seeds: of the runs, in this order.
        methods: the names of some methods; None is all of them.
        jobs: the number of runs at a time, each in its own process. The processes import the parts of the experiment,
            as with ``multiprocessing``: a script that calls this needs ``if __name__ == "__main__":``.

    Raises:
        InputError: a method does not exist, there are more than ``MOST_SEEDS`` seeds, the data do not suit the
            experiment, or the experiment cannot be sent to other processes.
        ExperimentError: some runs failed, for example because training diverged, or a file of records is damaged,
            belongs to another experiment, or is being written by another process. All other runs are done.
        MissingExtraError: filelock is not installed (the extra ``experiments``).
    """
    make: Callable[[], Sequence[Experiment]] = partial(list, [experiment])
    if jobs > 1:
        try:
            pickle.dumps(make)
        except Exception as error:  # of many kinds
            raise InputError(
                f"experiment {experiment.name} cannot be sent to other processes ({error}): define its parts at the "
                "top level of a module, or run it as a file: tonsure run FILE --jobs"
            ) from error
    planned = [(experiment, folder, seeds)]
    run_several(planned, make, methods=methods, jobs=jobs)


def run_several(
    planned: Sequence[tuple[Experiment, Path, Sequence[int]]],
    make: Callable[[], Sequence[Experiment]],
    *,
    methods: Sequence[str] | None = None,
    jobs: int = 1,
) -> None:
    """Runs several experiments, first all with their first seed, then all with their second, and so on.

    Args:
        planned: experiments with different names, each with its folder and seeds.
        make: returns these experiments; called once in each process, so it must be picklable if ``jobs`` is above 1.
        methods: the names of some methods, of which an experiment may lack some; None is all of them.
        jobs: as for ``run``.

    Raises:
        InputError, ExperimentError, MissingExtraError: as ``run`` does.
    """
    if jobs < 1:
        raise InputError(f"jobs is {jobs}, expected at least 1")
    for experiment, _, seeds in planned:
        if seeds[MOST_SEEDS:]:
            expected = f"expected at most {MOST_SEEDS:,}"
            raise InputError(f"experiment {experiment.name}: the seeds are {shown(seeds)}, {expected}")
    datasets = _checked([experiment for experiment, _, _ in planned], methods)
    if jobs > 1:
        datasets = Datasets()  # every process loads its own, so these need not be kept
    by_place = [
        (place, Run(experiment.name, name, seed, experiment.rounds, recorded(folder, name, seed)))
        for experiment, folder, seeds in planned
        for place, seed in enumerate(seeds)
        for name in (experiment.methods if methods is None else methods)
        if name in experiment.methods
    ]
    runs = [run for _, run in sorted(by_place, key=lambda pair: pair[0])]
    folders = {experiment.name: folder for experiment, folder, _ in planned}
    run_all(runs, partial(_Start, make, folders, datasets), jobs=jobs)


def _checked(experiments: Sequence[Experiment], methods: Sequence[str] | None) -> Datasets:
    """Checks the experiments before anything runs, and returns the data that were loaded for it."""
    known = list(dict.fromkeys(name for experiment in experiments for name in experiment.methods))
    for name in methods or ():
        if name not in known:
            raise InputError(f"no experiment has a method {name!r}; there are {', '.join(known)}")
    datasets = Datasets()
    for experiment in experiments:
        total = len(datasets(experiment.dataset, experiment.validation).dataset.train_labels)
        if experiment.initial_labels > total:
            raise InputError(
                f"experiment {experiment.name} starts with {experiment.initial_labels:,} labels, but its pool has "
                f"{total:,} items"
            )
    return datasets


class _Start:
    """Starts runs; keeps what a process shares between runs."""

    def __init__(
        self, make: Callable[[], Sequence[Experiment]], folders: Mapping[str, Path], datasets: Datasets
    ) -> None:
        self._experiments = {experiment.name: experiment for experiment in make()}
        self._folders = folders
        self._datasets = datasets

    def __call__(self, run: Run) -> Iterator[Record]:
        experiment = self._experiments[run.experiment]
        data = self._datasets(experiment.dataset, experiment.validation)
        return run_one(experiment, data, self._folders[run.experiment], run.method, run.seed)
