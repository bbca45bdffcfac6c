"""Predicts a pool on Ray: workers on several GPUs or machines write the blocks of one store.

A job is a range of rows, for which a worker uses all members of the model. A member can be used only until the next one
is requested, so a job for a single member would have to load all members before it.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from tonsure.arguments import as_path, flag, optional, real, whole, whole_number
from tonsure.backends import ray_cluster
from tonsure.backends.ray_cluster import (
    LostError,
    connected,
    dismiss,
    engage,
    get,
    no_room,
    ray_library,
    slots,
)
from tonsure.durable_files import sync
from tonsure.errors import BackendError, StoreError, TonsureError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.models.blocks import Blocks
from tonsure.models.examples import Inputs
from tonsure.models.predict import (
    FEATURE_DTYPE,
    predict,
    reject_other_features,
    reject_other_model,
    stores_features,
)
from tonsure.networks.forward import as_input_error
from tonsure.predictions.open import Numbers
from tonsure.predictions.store import Draft, Entry, FeatureLayout, FeaturePlace, Layout, Place, Store, write_block
from tonsure.predictions.store.blocks import AnyPlace, crc32_of, read_block, write_feature_block
from tonsure.predictions.store.items import make_table
from tonsure.predictions.store.layout import MANIFEST
from tonsure.predictions.store.manifest import plain
from tonsure.predictions.store.sealing import check_place, writing_to
from tonsure.surroundings import modeling

RANGE_BLOCKS = 64
"""The largest number of blocks in a range, which is predicted again if a worker dies."""

INPUT_BYTES = 2**26
"""The approximate bytes of inputs that are sent with a range."""

RANGES = 4
"""The number of ranges for each worker, so that the others do not wait long for a slow one."""


@modeling()
def predict_on_ray(
    model: BayesianModel,
    inputs: Inputs,
    out: str | PathLike[str],
    rows: Numbers | None = None,
    *,
    address: str | None = None,
    workers: SupportsIndex | None = None,
    cpus_per_worker: float = 1.0,
    gpus_per_worker: float = 0.0,
    retries: int = 3,
    features: bool | None = None,
    ids: Iterable[object] | None = None,
    items: Any = None,
    about: Mapping[str, Any] | None = None,
    block_size: SupportsIndex = 1024,
    dtype: torch.dtype = torch.float16,
) -> Store:
    """``tonsure.predict(model, inputs, rows, out=out, …)`` with several workers: the same store, also resumable.

    The workers write predictions and features to ``out`` themselves, so all machines must share this folder, and have
    tonsure installed. The model is sent once to each machine, and the inputs of a range of rows to the worker that
    predicts it. If a worker dies, its range is given to another. A store that was begun here can be resumed by
    ``predict``, and the reverse. A finished store is compared with the model by this process, as ``predict`` does.

    Args:
        address: of a running cluster, as for ``RayBackend``.
        workers: the number of workers; None is one for each free CPU, or GPU.
        cpus_per_worker: CPUs that Ray reserves for each worker, and the number of its threads.
        gpus_per_worker: GPUs that Ray reserves for each worker; the model itself must be set to use them.
        retries: how often the same range may be lost.
        features: as for ``predict``.

    Raises:
        InputError, StoreError, MissingExtraError: as ``predict``; or the model cannot be sent to workers.
        StoreError: this process does not see what a worker wrote.
        BackendError: the cluster does not answer or has no room, or a range was lost too often.
    """
    count: int | None = optional(whole(1))("workers", workers)
    cpus, gpus = real(least=0)("cpus_per_worker", cpus_per_worker), real(least=0)("gpus_per_worker", gpus_per_worker)
    retries, features = whole_number("retries", retries, 0), optional(flag)("features", features)
    out = as_path("out", out).absolute()
    check_place(out)
    blocks = Blocks.of(model, inputs, rows, block_size)
    table, about = make_table(ids, items, len(blocks.rows)), plain("about", about or {})
    if (out / MANIFEST).exists():
        return predict(
            model,
            inputs,
            rows,
            out=out,
            features=features,
            items=table,
            about=about,
            block_size=block_size,
            dtype=dtype,
        )
    with_features = stores_features(model, features)
    with connected(address, 4 * INPUT_BYTES):
        crew = Crew(model, count or slots(cpus, gpus), cpus, gpus, retries)
        try:
            return _write(crew, blocks, out, dtype, with_features, table, about)
        finally:
            crew.end()


def _write(
    crew: "Crew", blocks: Blocks, out: Path, dtype: torch.dtype, features: bool, table: Any, about: Mapping[str, Any]
) -> Store:
    probe = Job("one item", "sizes", lambda: (blocks.inputs[blocks.rows[:1]], features))
    ((widths, classes, D),) = crew.answers([probe])
    layout = Layout.of(*blocks.shape, classes, dtype)
    feature_layout = FeatureLayout.of(len(blocks.rows), D, FEATURE_DTYPE) if features else None
    fingerprint = {**blocks.fingerprint(), "block_size": blocks.block_size}
    with Draft(out, layout, fingerprint, feature_layout) as draft:
        written: list[Entry] = []
        for entries in crew.answers(list(_jobs(draft, blocks, widths, crew.workers))):
            _confirm(draft, entries[:1])
            for entry in entries:
                draft.record(entry)
            written += entries
        # Again, now that all is written: some file systems lose bytes next to those that another machine writes.
        _confirm(draft, written)
        return draft.finish(items=table, about=about)


@dataclass(frozen=True, eq=False)
class Job:
    """A call of a worker.

    Args:
        what: the job in words.
        method: the name of a method of ``PredictActor``.
        arguments: returns its arguments; called when a worker is free.
    """

    what: str
    method: str
    arguments: Callable[[], tuple[Any, ...]]


def _jobs(draft: Draft, blocks: Blocks, widths: Sequence[int], workers: int) -> Iterator[Job]:
    """The ranges of rows with missing blocks, and always the first, in which the model is compared."""
    N, size = len(blocks.rows), blocks.block_size
    row_bytes = max(1, blocks.inputs[:1].nbytes)
    step = size * max(1, min(RANGE_BLOCKS, -(-N // (size * RANGES * workers)), INPUT_BYTES // (size * row_bytes)))
    first_samples = [sum(widths[:member]) for member in range(len(widths))]
    for first_row in range(0, N, step):
        rows = blocks.rows[first_row : first_row + step]
        starts = [(first_row + start, min(size, len(rows) - start)) for start in range(0, len(rows), size)]
        places: list[AnyPlace] = [
            Place(*start, sample, width)
            for start in starts
            for sample, width in zip(first_samples, widths, strict=True)
        ]
        if draft.features:
            places += [FeaturePlace(*start) for start in starts]
        done = {place for place in places if draft.finished(place)}
        if first_row == 0 or len(done) < len(places):
            yield Job(
                f"the range of rows {first_row} to {first_row + len(rows) - 1}",
                "write",
                lambda rows=rows, first_row=first_row, done=done: (  # type: ignore[misc]
                    (draft.path, draft.layout, draft.features, first_row, blocks.inputs[rows], size, done)
                ),
            )


def _confirm(draft: Draft, entries: Sequence[Entry]) -> None:
    for place, crc in entries:
        if crc32_of(draft.read(place)) != crc:
            raise StoreError(
                f"{draft.path}: rows {place.first_row} to {place.first_row + place.rows - 1} are not what a worker "
                "wrote there: expected a folder that all machines share. The same call continues from here"
            )


class PredictActor:
    """A model in a process of its own."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def load(self, model: BayesianModel) -> None:
        self._model = model

    @modeling()
    def sizes(self, inputs: Tensor, features: bool) -> tuple[list[int], int, int]:
        """The number of samples of each member, C, and D if there are features."""
        found = [log_probs_n_K_C.shape[1:] for _, log_probs_n_K_C in self._predicted(inputs, len(inputs), set(), 0)]
        D = next(self._features(inputs, len(inputs), set(), 0))[1].shape[1] if features else 0
        return [samples for samples, _ in found], found[0][1], D

    @modeling()
    def write(
        self,
        folder: Path,
        layout: Layout,
        features: FeatureLayout | None,
        first_row: int,
        inputs: Tensor,
        block_size: int,
        done: set[AnyPlace],
    ) -> list[Entry]:
        """Writes the blocks of the rows from ``first_row`` on that are not done, and waits until they are on the disk.

        Raises:
            InputError: an output of the model is not a distribution, or features are not finite numbers.
            StoreError: blocks that are done are of another model, or the folder cannot be written to.
        """
        arrays = (layout, features) if features else (layout,)
        with writing_to(folder, sum(array.total_bytes for array in arrays)):
            entries = self._write_predictions(folder, layout, first_row, inputs, block_size, done)
            if features:
                entries += self._write_features(folder, features, first_row, inputs, block_size, done)
            for array in arrays:
                for span in array.spans(first_row, len(inputs)):
                    sync(folder / span.file)
        return entries

    def _write_predictions(
        self, folder: Path, layout: Layout, first_row: int, inputs: Tensor, block_size: int, done: set[AnyPlace]
    ) -> list[Entry]:
        entries = []
        with closing(self._predicted(inputs, block_size, done, first_row)) as predicted:
            for place, log_probs_n_K_C in predicted:
                if place in done:
                    reject_other_model(folder, read_block(folder, layout, place), log_probs_n_K_C)
                else:
                    entries.append(write_block(folder, layout, place.first_row, place.first_sample, log_probs_n_K_C))
        return entries

    def _write_features(
        self, folder: Path, layout: FeatureLayout, first_row: int, inputs: Tensor, block_size: int, done: set[AnyPlace]
    ) -> list[Entry]:
        entries = []
        with closing(self._features(inputs, block_size, done, first_row)) as featured:
            for place, features_n_D in featured:
                if place in done:
                    reject_other_features(folder, read_block(folder, layout, place), features_n_D)
                else:
                    entries.append(write_feature_block(folder, layout, place.first_row, features_n_D))
        return entries

    def _predicted(self, inputs: Tensor, block_size: int, done: set[AnyPlace], first_row: int) -> Any:
        return self._moved(self._blocks(inputs, block_size).predicted, done, first_row)

    def _features(self, inputs: Tensor, block_size: int, done: set[AnyPlace], first_row: int) -> Any:
        return self._moved(self._blocks(inputs, block_size).features, done, first_row)

    def _blocks(self, inputs: Tensor, block_size: int) -> Blocks:
        return Blocks(self._model, inputs, torch.arange(len(inputs)), block_size)

    @staticmethod
    def _moved(blocks: Any, done: set[AnyPlace], first_row: int) -> Any:
        """The blocks of a range, at their places in the pool."""

        def moved(place: AnyPlace) -> AnyPlace:
            return place._replace(first_row=first_row + place.first_row)

        try:
            with closing(blocks(lambda place: moved(place) in done)) as found:
                for place, block in found:
                    yield moved(place), block
        except TonsureError as error:
            error.add_note(f"row 0 of this range is row {first_row} of those to predict")
            raise


class Crew:
    """Workers that hold a model. A job is given to a free worker, and to another one if that one dies."""

    def __init__(self, model: BayesianModel, workers: int, cpus: float, gpus: float, retries: int) -> None:
        self.workers = workers
        self._size = (cpus, gpus)
        self._retries = retries
        with as_input_error("the model cannot be sent to workers"):
            self._model = ray_library().put(model)
        self._free: list[Any] = []
        self._running: dict[Any, tuple[Any, Job | None]] = {}
        for _ in range(workers):
            self._hire()

    def answers(self, jobs: Sequence[Job]) -> Iterator[Any]:
        """The answers of the workers to the jobs, in the order in which they arrive.

        Raises:
            BackendError: there is no room for any worker, or the same job was lost too often.
            Exception: an error that a worker raised.
        """
        waiting, left, lost = deque(jobs), len(jobs), Counter[Job | None]()
        while left:
            while self._free and waiting:
                worker, job = self._free.pop(), waiting.popleft()
                self._running[getattr(worker, job.method).remote(*job.arguments())] = (worker, job)
            working = any(job for _, job in self._running.values())
            done, _ = ray_library().wait(list(self._running), timeout=None if working else ray_cluster.ROOM)
            if not done:
                raise no_room(self.workers, *self._size)
            worker, ended = self._running.pop(done[0])
            try:
                answer = get(done[0])
            except LostError as error:
                lost[ended] += 1
                if lost[ended] > self._retries:
                    what = ended.what if ended else "a worker without work"
                    raise BackendError(f"{what} was lost {lost[ended]} times; the last time: {error}") from error
                dismiss([worker])
                self._hire()
                if ended:
                    waiting.appendleft(ended)
                continue
            self._free.append(worker)
            if ended:
                left -= 1
                yield answer

    def end(self) -> None:
        dismiss([*self._free, *(worker for worker, _ in self._running.values())])

    def _hire(self) -> None:
        worker = engage(PredictActor, *self._size)
        self._running[worker.load.remote(self._model)] = (worker, None)
