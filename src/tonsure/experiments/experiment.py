"""Running experiments: one file of records per method and seed."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import SupportsIndex

from tonsure.arguments import as_path, instance, refusal, shown, whole_number
from tonsure.datasets import Loader as Loader
from tonsure.durable_files import folder_to_make
from tonsure.errors import InputError
from tonsure.experiments.data import Datasets
from tonsure.experiments.one_run import recorded, run_one
from tonsure.experiments.records import Record
from tonsure.experiments.scheduler import Run, run_all
from tonsure.experiments.settings import Experiment as Experiment
from tonsure.experiments.settings import seeds_of_runs
from tonsure.surroundings import usable_device


def run(
    experiment: Experiment,
    folder: str | PathLike[str],
    *,
    seeds: Iterable[SupportsIndex],
    methods: Sequence[str] | None = None,
    jobs: SupportsIndex = 1,
) -> None:
    """Runs an experiment, seed by seed; records go to ``folder``, one file for each method and seed.

    Finished runs are not repeated. An interrupted run continues after its last complete line and gives the same
    records. Several processes may share a folder.

    Args:
        experiment: the experiment.
        folder: of the records; created if needed.
        seeds: of the runs, in this order, at most 10,000.
        methods: the names of some methods; None is all of them.
        jobs: the number of runs at a time, each in its own process. The processes import the parts of the experiment,
            as with ``multiprocessing``: a script that calls this needs ``if __name__ == "__main__":``.

    Raises:
        InputError: an argument is of another type or out of range, a method does not exist, the device cannot be used,
            the data do not suit the experiment, or the experiment cannot be sent to other processes.
        FileError: the folder cannot be written.
        ExperimentError: some runs failed, for example because training diverged, or a file of records is damaged,
            belongs to another experiment, or is being written by another process. All other runs are done.
        MissingExtraError: filelock is not installed (the extra ``experiments``).
    """
    instance(Experiment, "tonsure.Experiment(…)")("experiment", experiment)
    run_several(
        [(experiment, as_path("folder", folder), seeds)], partial(list, [experiment]), methods=methods, jobs=jobs
    )


def run_several(
    planned: Sequence[tuple[Experiment, Path, Iterable[SupportsIndex]]],
    make: Callable[[], Sequence[Experiment]],
    *,
    methods: Sequence[str] | None = None,
    jobs: SupportsIndex = 1,
) -> None:
    """Runs several experiments, first all with their first seed, then all with their second, and so on.

    Args:
        planned: experiments with different names, each with its folder and seeds.
        make: returns these experiments; called once in each process, so it must be picklable if ``jobs`` is above 1.
        methods: the names of some methods, of which an experiment may lack some; None is all of them.
        jobs: as for ``run``.

    Raises:
        InputError, FileError, ExperimentError, MissingExtraError: as ``run`` does.
    """
    count = whole_number("jobs", jobs, 1)
    seeds_of = {experiment.name: seeds_of_runs("seeds", seeds) for experiment, _, seeds in planned}
    for _, folder, _ in planned:
        folder_to_make(folder)
    datasets = _checked([experiment for experiment, _, _ in planned], methods)
    if count > 1:
        _check_can_be_sent(make)
        datasets = Datasets()  # every process loads its own, so these need not be kept
    by_place = [
        (place, Run(experiment.name, name, seed, experiment.rounds, recorded(folder, name, seed)))
        for experiment, folder, _ in planned
        for place, seed in enumerate(seeds_of[experiment.name])
        for name in (experiment.methods if methods is None else methods)
        if name in experiment.methods
    ]
    runs = [run for _, run in sorted(by_place, key=lambda pair: pair[0])]
    folders = {experiment.name: folder for experiment, folder, _ in planned}
    run_all(runs, partial(_Start, make, folders, datasets), jobs=count)


def _checked(experiments: Sequence[Experiment], methods: Sequence[str] | None) -> Datasets:
    """Checks the experiments before anything runs, and returns the data that were loaded for it."""
    known = list(dict.fromkeys(name for experiment in experiments for name in experiment.methods))
    if methods is not None:
        listed = isinstance(methods, Sequence) and not isinstance(methods, str)
        if not listed or not methods or not all(isinstance(name, str) for name in methods):
            raise refusal("methods", methods, "a list of names of methods, or None for all")
        if len(set(methods)) < len(methods):
            raise refusal("methods", methods, "each name once")
        for name in methods:
            if name not in known:
                raise InputError(f"no experiment has a method {shown(name)}; there are {', '.join(known)}")
    datasets = Datasets()
    for experiment in experiments:
        usable_device(experiment.device)
        total = len(datasets(experiment.dataset, experiment.validation, experiment.features).dataset.train_labels)
        if experiment.initial_labels > total:
            raise InputError(
                f"experiment {experiment.name} starts with {experiment.initial_labels:,} labels, but its pool has "
                f"{total:,} items"
            )
    return datasets


def _check_can_be_sent(make: Callable[[], Sequence[Experiment]]) -> None:
    try:
        pickle.dumps(make)
    except Exception as error:  # of many kinds
        raise InputError(
            f"the experiment cannot be sent to other processes ({error}): define its parts at the top level of a "
            "module, or run it as a file: tonsure run FILE --jobs"
        ) from error


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
        data = self._datasets(experiment.dataset, experiment.validation, experiment.features)
        return run_one(experiment, data, self._folders[run.experiment], run.method, run.seed)
