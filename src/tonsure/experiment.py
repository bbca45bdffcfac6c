"""Experiment: methods compared on one dataset and one model; one file of records per method and seed."""

import inspect
import itertools
import math
import os
import platform
import subprocess
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from tonsure.datasets import Dataset
from tonsure.errors import InputError, MissingExtraError, RecordError, SelectionWarning
from tonsure.labels import KnownLabels, balanced_rows
from tonsure.loop import Round, rounds
from tonsure.measures import all_measures
from tonsure.models import BayesianModel
from tonsure.objective import Objective
from tonsure.optimizers import Optimizer
from tonsure.pool import Pool
from tonsure.records import Record, append_record, read_records
from tonsure.training import seeded

PICTURED = 2
"""The batches of so many first rounds are kept as pictures."""


@runtime_checkable
class Loader(Protocol):
    """What gives a dataset, and prints itself into the record, such as ``MNIST()``."""

    def load(self) -> Dataset: ...


@dataclass(frozen=True)
class Method:
    """A name in the report: an objective, and the optimizer that searches for it (None: the default one)."""

    objective: Objective[Any, Any]
    by: Optimizer | None = None


@dataclass(frozen=True)
class Experiment:
    """Which methods learn most from how many labels, on which data, with which model.

    All methods begin with the same labels, class by class the same number, and the same initial weights under a
    seed, so that their differences are paired over seeds.

    Args:
        name: of the folder of records.
        dataset: where the pool and the test set come from.
        model: makes the model; called under the seed of the run, which decides the initial weights.
        methods: by name, in the order of the report.
        first: how many labels to begin with.
        batch: how many labels are added in a round.
        until: the number of labels at which to stop.
        device: where the selection is done; the model knows its own.
    """

    name: str
    dataset: Loader
    model: Callable[[], BayesianModel]
    methods: Mapping[str, Method]
    first: int
    batch: int
    until: int
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.until or self.batch < 1:
            raise InputError(
                f"experiment {self.name}: first = {self.first}, batch = {self.batch}, until = {self.until}; expected "
                "1 <= first <= until and batch >= 1"
            )

    @property
    def rounds(self) -> int:
        """How many times a run fits its model."""
        return 1 + math.ceil((self.until - self.first) / self.batch)


def run(experiment: Experiment, folder: Path, *, seeds: Sequence[int], methods: Sequence[str] | None = None) -> None:
    """Runs what has not been run yet, seed by seed, into ``folder``, one file for each method and seed.

    A run that was interrupted, at any moment, goes on after its last whole line, to the records that it would have
    had; several processes may share a folder.

    Raises:
        InputError: there is no such method; a file of records is damaged in its middle, was made by another
            experiment, or is being written by another process.
        MissingExtraError: filelock is not installed (the extra ``experiments``).
    """
    names = list(experiment.methods) if methods is None else list(methods)
    for name in names:
        if name not in experiment.methods:
            known = ", ".join(experiment.methods)
            raise InputError(f"experiment {experiment.name} has no method {name!r}; it has {known}")
    dataset = experiment.dataset.load()
    total = len(names) * len(seeds) * experiment.rounds
    with tqdm(total=total, desc=experiment.name, unit="round", disable=None) as progress:
        for seed in seeds:
            for name in names:
                for record in run_one(experiment, dataset, folder, name, seed):
                    progress.update()
                    accuracy = record["metrics"]["accuracy"]
                    progress.set_postfix_str(f"{name}, seed {seed}: {record['labeled']} labels, {accuracy:.3f}")


def run_one(experiment: Experiment, dataset: Dataset, folder: Path, name: str, seed: int) -> Iterator[Record]:
    """The records of one method under one seed, each on the disk before it is given out; raises as ``run`` does."""
    path = folder / f"{name}-seed{seed}.jsonl"
    with _locked(path):
        header = _header(experiment, dataset, name, seed)
        done = read_records(path)
        if done:
            _check_same(path, done[0], header)
        else:
            append_record(path, header)
        done = done[1:]
        yield from done
        if done and not done[-1]["rows"]:
            return

        pool = Pool(dataset.train_inputs)
        first_rows = balanced_rows(dataset.train_labels, experiment.first, seed=seed)
        pool.label(first_rows, dataset.train_labels[first_rows])
        for record in done:
            pool.label(record["rows"], record["labels"])
        with seeded(seed, torch.device("cpu")):
            model = experiment.model()
        method = experiment.methods[name]
        turns = rounds(
            pool,
            model,
            method.objective,
            experiment.batch,
            ask=KnownLabels(dataset.train_labels),
            until=experiment.until,
            by=method.by,
            measure=all_measures(dataset.test_inputs, dataset.test_labels),
            seed=seed,
            device=experiment.device,
        )
        for number in itertools.count(len(done)):
            result = _next_quietly(turns)
            if result is None:
                return
            if number < PICTURED and result.rows and dataset.train_images is not None:
                _keep_pictures(folder, f"{name}-seed{seed}-round{number}", dataset.train_images[result.rows])
            record = _record(number, result)
            append_record(path, record)
            yield record


def _next_quietly(turns: Iterator[Round]) -> Round | None:
    # The warnings are in the records. The filter must not last while a generator waits: it is everybody's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SelectionWarning)
        return next(turns, None)


def _record(number: int, result: Round) -> Record:
    record = asdict(result)
    return {
        "kind": "round",
        "round": number,
        "labeled": record.pop("labeled"),
        "metrics": record.pop("measure"),
    } | record


def _header(experiment: Experiment, dataset: Dataset, name: str, seed: int) -> Record:
    settings = {field.name: getattr(experiment, field.name) for field in fields(experiment)}
    settings["methods"] = {name: experiment.methods[name]}
    return {
        "kind": "experiment",
        "experiment": experiment.name,
        "method": name,
        "methods": list(experiment.methods),
        "seed": seed,
        "data": dataset.description,
        "classes": list(dataset.classes),
        "batch": experiment.batch,
        "text": describe(settings),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("tonsure", "torch", "numpy")},
        },
        "commit": _commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {_device()}",
    }


def describe(value: Any) -> str:
    """The text of a value as a reader would write it: functions by their source, with those that they call."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key} = {describe(entry)}" for key, entry in value.items())
    if isinstance(value, FunctionType):
        return "\n\n".join(textwrap.dedent(inspect.getsource(part)).strip() for part in _with_callees(value))
    return repr(value)


def _with_callees(function: FunctionType) -> list[Any]:
    """The function, and the functions and classes of its file that it names, and those that these name."""
    parts: list[Any] = [function]
    for part in parts:  # it grows on the way
        named = [part.__globals__.get(name) for name in part.__code__.co_names] if hasattr(part, "__code__") else []
        parts += [
            value
            for value in named
            if isinstance(value, FunctionType | type) and value.__module__ == function.__module__ and value not in parts
        ]
    return parts


def _check_same(path: Path, found: Record, expected: Record) -> None:
    for key in ("kind", "experiment", "method", "seed", "data", "text"):
        if found.get(key) != expected[key]:
            raise RecordError(
                f"{path} holds the records of another experiment: its {key} is "
                f"{_first_difference(found.get(key), expected[key])}. Move the folder away, or give another one."
            )
    if found.get("versions") != expected["versions"]:
        warnings.warn(
            f"{path} was begun under {found.get('versions')}, and goes on under {expected['versions']}",
            UserWarning,
            stacklevel=2,
        )


def _first_difference(found: Any, expected: Any) -> str:
    if not isinstance(found, str) or not isinstance(expected, str):
        return f"{found!r}, not {expected!r}"
    lines = zip([*found.splitlines(), ""], [*expected.splitlines(), ""], strict=False)
    old, new = next(((old, new) for old, new in lines if old != new), (found, expected))
    return f"{old!r} where this one's is {new!r}"


def _keep_pictures(folder: Path, stem: str, images_b: Tensor) -> None:
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    beside = pictures / f".{stem}.npy"
    np.save(beside, images_b.numpy())
    beside.replace(pictures / f"{stem}.npy")


def _locked(path: Path) -> Any:
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise MissingExtraError("An experiment", "experiments") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        return lock.acquire(timeout=0)  # a context that releases it
    except Timeout as error:
        raise InputError(f"{path} is being written by another process") from error


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
