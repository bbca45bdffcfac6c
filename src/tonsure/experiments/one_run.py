"""One run: one method with one seed. Each round is written to disk before it is yielded."""

import itertools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tonsure.errors import InputError, RecordError, SelectionWarning
from tonsure.experiments.data import Data
from tonsure.experiments.older_records import up_to_date
from tonsure.experiments.provenance import commit, machine, versions
from tonsure.experiments.recording import check_same, keep_pictures, locked
from tonsure.experiments.records import Record, append_record, read_records
from tonsure.experiments.settings import Experiment
from tonsure.loop.labels import KnownLabels, balanced_rows
from tonsure.loop.metrics import all_metrics
from tonsure.loop.pool import Pool
from tonsure.loop.rounds import Round, rounds
from tonsure.models import BayesianModel
from tonsure.models.predict import predict
from tonsure.seeding import seeded
from tonsure.shapes import Rows

PICTURED = 2
"""The number of first rounds whose batches are kept as pictures."""


def run_one(experiment: Experiment, data: Data, folder: Path, name: str, seed: int) -> Iterator[Record]:
    """Yields the records of one method with one seed, each after it was written to disk.

    Raises:
        TonsureError: as ``fit``, ``predict`` and ``select``, with the round as a note; or as ``run``, because of
            the file of records.
    """
    path, dataset = _path(folder, name, seed), data.dataset
    with locked(path):
        header = _header(experiment, data, name, seed)
        done = read_records(path)
        if done:
            check_same(path, up_to_date(done[0]), header)
        else:
            append_record(path, header)
        done = done[1:]
        yield from done
        if done and not done[-1]["rows"]:
            return

        pool = Pool(dataset.train_inputs, features=data.features)
        first_rows = _initial_rows(experiment, dataset.train_labels, seed)
        pool.label(first_rows, dataset.train_labels[first_rows])
        for record in done:
            pool.label(record["rows"], record["labels"])
        with seeded(seed, torch.device("cpu")):
            model = experiment.model()
        method = experiment.methods[name]
        turns = rounds(
            pool,
            model,
            method,
            experiment.k,
            oracle=KnownLabels(dataset.train_labels),
            max_labels=experiment.max_labels,
            metrics=partial(_measured, data),
            seed=seed,
            device=experiment.device,
            validation=data.validation,
        )
        for number in itertools.count(len(done)):
            with _noted(f"round {number} ({len(pool.labels):,} labels)"):
                result = _next_quietly(turns)
            if result is None:
                return
            if number < PICTURED and result.rows and dataset.train_images is not None:
                keep_pictures(folder, f"{name}-seed{seed}-round{number}", dataset.train_images[result.rows])
            record = _record(number, result)
            append_record(path, record)
            yield record


def _initial_rows(experiment: Experiment, labels_N: Tensor, seed: int) -> Rows:
    if experiment.balanced:
        return balanced_rows(labels_N, experiment.initial_labels, seed=seed)
    return torch.randperm(len(labels_N), generator=torch.Generator().manual_seed(seed))[: experiment.initial_labels]


def recorded(folder: Path, name: str, seed: int) -> int:
    """The number of rounds of a run on disk."""
    try:
        return max(0, len(read_records(_path(folder, name, seed))) - 1)
    except RecordError:  # the run itself raises it
        return 0


def _path(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name}-seed{seed}.jsonl"


def _measured(data: Data, model: BayesianModel) -> Mapping[str, float]:
    dataset = data.dataset
    found = predict(model, dataset.test_inputs[:1]).shape[2]
    if found != len(dataset.classes):
        raise InputError(f"the network has {found} classes, {dataset.name} has {len(dataset.classes)}")
    return all_metrics(dataset.test_inputs, dataset.test_labels)(model)


@contextmanager
def _noted(note: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise


def _next_quietly(turns: Iterator[Round]) -> Round | None:
    # The warnings are in the records. The filter is global, so it must not last while the generator is suspended.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SelectionWarning)
        return next(turns, None)


def _record(number: int, result: Round) -> Record:
    record = asdict(result)
    return {
        "kind": "round",
        "round": number,
        "labeled": record.pop("labeled"),
        "metrics": record.pop("metrics"),
    } | record


def _header(experiment: Experiment, data: Data, name: str, seed: int) -> Record:
    return {
        "kind": "experiment",
        "experiment": experiment.name,
        "method": name,
        "methods": list(experiment.methods),
        "seed": seed,
        "data": data.dataset.description,
        "classes": list(data.dataset.classes),
        "k": experiment.k,
        "text": experiment.text_of(name),
        "versions": versions(),
        "commit": commit(),
        "machine": machine(),
    }
