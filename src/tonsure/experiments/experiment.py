"""Running experiments: one file of records per method and seed."""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tonsure.datasets import Loader as Loader
from tonsure.errors import InputError
from tonsure.experiments.data import Datasets
from tonsure.experiments.one_run import recorded, run_one
from tonsure.experiments.records import Record
from tonsure.experiments.scheduler import Run, run_all
from tonsure.experiments.settings import Experiment as Experiment


def run(
    experiment: Experiment,
    folder: Path,
    *,
    seeds: Sequence[int],
    methods: Sequence[str] | None = None,
    jobs: int = 1,
) -> None:
    """Runs what has not been run yet, seed by seed, into ``folder``, one file for each method and seed.

    A run that was interrupted, at any moment, goes on after its last whole line, to the records that it would have
    had; several processes may share a folder.

    Args:
        jobs: how many runs at once, each in a process of its own. These import what the experiment is made of, as
            ``multiprocessing`` does: a script that calls this needs its ``if __name__ == "__main__":``.

    Raises:
        InputError: there is no such method, the data are not fit for the experiment, or it cannot be sent to other
            processes.
        ExperimentError: runs failed; all others are done. A training diverged, say, or a file of records is damaged
            in its middle, was made by another experiment, or is being written by another process.
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
    """Runs experiments of different names, each with its own folder and seeds: first all with their first seed.

    Args:
        methods: only these; an experiment that lacks one of them goes without.
        make: called once in each process, gives these experiments there; picklable if there are several jobs.

    Raises:
        InputError, ExperimentError, MissingExtraError: as ``run`` does.
    """
    if jobs < 1:
        raise InputError(f"jobs is {jobs}, expected at least 1")
    datasets = _checked([experiment for experiment, _, _ in planned], methods)
    if jobs > 1:
        datasets = Datasets()  # every process loads its own: these may go
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
    """Whatever would stop all runs of an experiment is said before anything runs; the data that were loaded for it."""
    known = list(dict.fromkeys(name for experiment in experiments for name in experiment.methods))
    for name in methods or ():
        if name not in known:
            raise InputError(f"no experiment has a method {name!r}; there are {', '.join(known)}")
    datasets = Datasets()
    for experiment in experiments:
        total = len(datasets(experiment.dataset, experiment.validation).dataset.train_labels)
        if experiment.initial_labels > total:
            raise InputError(
                f"experiment {experiment.name} begins with {experiment.initial_labels:,} labels, of a pool of {total:,}"
            )
    return datasets


class _Start:
    """Starts the runs of experiments: all that a process keeps between two of them."""

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
