"""Predicting a pool on Ray: workers on several GPUs or machines write the blocks of one store.

Work is given out in ranges of rows, and a worker walks all members of the model over its range: a member can be used
only until the next is asked for, so single members could not be given out without loading all before them.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from tonsure.errors import BackendError, InputError, StoreError, TonsureError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.models.blocks import Blocks
from tonsure.models.predict import predict, refuse_another
from tonsure.predictions.store import Draft, Entry, Layout, Place, Store, write_block
from tonsure.predictions.store.blocks import crc32_of, read_block
from tonsure.predictions.store.items import make_table
from tonsure.predictions.store.layout import MANIFEST
from tonsure.predictions.store.manifest import plain
from tonsure.predictions.store.sealing import sync

RANGE_BLOCKS = 64
"""A range has so many blocks at most: what is predicted again when a worker dies."""

INPUT_BYTES = 2**26
"""About the bytes of inputs that travel with a range."""

RANGES = 4
"""Ranges for each worker, so that a slow one holds up the others little."""


def predict_on_ray(
    model: BayesianModel,
    inputs: Tensor,
    out: str | PathLike[str],
    rows: Sequence[int] | Tensor | None = None,
    *,
    address: str | None = None,
    workers: int | None = None,
    cpus_per_worker: float = 1.0,
    gpus_per_worker: float = 0.0,
    retries: int = 3,
    ids: Iterable[object] | None = None,
    items: Any = None,
    about: Mapping[str, Any] | None = None,
    block_size: int = 1024,
    dtype: torch.dtype = torch.float16,
) -> Store:
    """``tonsure.predict(model, inputs, rows, out=out, …)`` by several workers: the same store, and resumable as that.

    The workers write to ``out`` themselves, so all machines must see this folder, and have tonsure installed. The
    model travels once to each machine, the inputs of a range of rows to the worker that predicts it. What a worker
    that dies had in hand is given to another. A store begun here may be gone on with by ``predict``, and the reverse.
    If it is complete, this process compares it with the first block of each member, as ``predict`` does.

    Args:
        address: of a running cluster, as for ``RayBackend``.
        workers: how many; None is one for each free CPU, or GPU.
        cpus_per_worker: CPUs that Ray reserves for each, and its threads.
        gpus_per_worker: GPUs that Ray reserves for each; the model itself says that it uses them.
        retries: how often the same range may be lost.

    Raises:
        InputError, StoreError, MissingExtraError: as ``predict`` does.
        StoreError: what a worker wrote is not seen by this process.
        BackendError: the cluster does not answer or has no room, or a range was lost too often.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}, expected at least 1")
    out = Path(out).absolute()
    blocks = Blocks(model, inputs, torch.arange(len(inputs)) if rows is None else torch.as_tensor(rows), block_size)
    table, about = make_table(ids, items, len(blocks.rows)), plain("about", about or {})
    if (out / MANIFEST).exists():
        return predict(model, inputs, rows, out=out, items=table, about=about, block_size=block_size, dtype=dtype)
    with connected(address, 4 * INPUT_BYTES):
        crew = Crew(
            model, workers or slots(cpus_per_worker, gpus_per_worker), cpus_per_worker, gpus_per_worker, retries
        )
        try:
            return _write(crew, blocks, out, dtype, table, about)
        finally:
            crew.end()


def _write(crew: "Crew", blocks: Blocks, out: Path, dtype: torch.dtype, table: Any, about: Mapping[str, Any]) -> Store:
    probe = Job("one item", "sizes", lambda: (blocks.inputs[blocks.rows[:1]],))
    ((widths, classes),) = crew.answers([probe])
    layout = Layout.of(*blocks.shape, classes, dtype)
    with Draft(out, layout, {**blocks.fingerprint(), "block_size": blocks.block_size}) as draft:
        written: list[Entry] = []
        for entries in crew.answers(list(_jobs(draft, blocks, widths, crew.workers))):
            _confirm(draft, entries[:1])
            for entry in entries:
                draft.record(entry)
            written += entries
        # Once more, now that all is written: some file systems lose bytes beside which another machine writes.
        _confirm(draft, written)
        return draft.finish(items=table, about=about)


@dataclass(frozen=True, eq=False)
class Job:
    """A call of a worker.

    Args:
        what: in words.
        method: of ``PredictActor``.
        arguments: makes them, no sooner than a worker is free.
    """

    what: str
    method: str
    arguments: Callable[[], tuple[Any, ...]]


def _jobs(draft: Draft, blocks: Blocks, widths: Sequence[int], workers: int) -> Iterator[Job]:
    """The ranges of rows in which something is missing; and the first, where the model is compared in any case."""
    N, size = len(blocks.rows), blocks.block_size
    row_bytes = max(1, blocks.inputs[:1].nbytes)
    step = size * max(1, min(RANGE_BLOCKS, -(-N // (size * RANGES * workers)), INPUT_BYTES // (size * row_bytes)))
    first_samples = [sum(widths[:member]) for member in range(len(widths))]
    for first_row in range(0, N, step):
        rows = blocks.rows[first_row : first_row + step]
        places = [
            Place(first_row + start, min(size, len(rows) - start), sample, width)
            for start in range(0, len(rows), size)
            for sample, width in zip(first_samples, widths, strict=True)
        ]
        done = {place for place in places if draft.finished(place)}
        if first_row == 0 or len(done) < len(places):
            yield Job(
                f"the range of rows {first_row} to {first_row + len(rows) - 1}",
                "write",
                lambda rows=rows, first_row=first_row, done=done: (  # type: ignore[misc]
                    (draft.path, draft.layout, first_row, blocks.inputs[rows], size, done)
                ),
            )


def _confirm(draft: Draft, entries: Sequence[Entry]) -> None:
    for place, crc in entries:
        if crc32_of(draft.read(place)) != crc:
            raise StoreError(
                f"{draft.path}: what a worker wrote of rows {place.first_row} to {place.first_row + place.rows - 1} is "
                "not what lies there now: expected a folder that all machines share. The same call goes on from here"
            )


class PredictActor:
    """A model in a process of its own."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def load(self, model: BayesianModel) -> None:
        self._model = model

    def sizes(self, inputs: Tensor) -> tuple[list[int], int]:
        """How many samples each member has, and C."""
        found = [log_probs_n_K_C.shape[1:] for _, log_probs_n_K_C in self._predicted(inputs, len(inputs), set(), 0)]
        return [samples for samples, _ in found], found[0][1]

    def write(
        self, folder: Path, layout: Layout, first_row: int, inputs: Tensor, block_size: int, done: set[Place]
    ) -> list[Entry]:
        """Predicts the rows from ``first_row`` on, and writes the blocks that are not done; on the disk when it ends.

        Raises:
            InputError: the model gave something else than distributions.
            StoreError: the model is another one than that which some of the blocks are of.
        """
        entries = []
        with closing(self._predicted(inputs, block_size, done, first_row)) as predicted:
            for place, log_probs_n_K_C in predicted:
                if place in done:
                    refuse_another(folder, read_block(folder, layout, place), log_probs_n_K_C)
                else:
                    entries.append(write_block(folder, layout, place.first_row, place.first_sample, log_probs_n_K_C))
        for span in layout.spans(first_row, len(inputs)):
            sync(folder / span.file)
        return entries

    def _predicted(self, inputs: Tensor, block_size: int, done: set[Place], first_row: int) -> Any:
        def moved(place: Place) -> Place:
            return place._replace(first_row=first_row + place.first_row)

        blocks = Blocks(self._model, inputs, torch.arange(len(inputs)), block_size)
        try:
            with closing(blocks.predicted(lambda place: moved(place) in done)) as predicted:
                for place, log_probs_n_K_C in predicted:
                    yield moved(place), log_probs_n_K_C
        except TonsureError as error:
            error.add_note(f"row 0 of this range is row {first_row} of those to predict")
            raise


class Crew:
    """Workers with a model: a job goes to whoever is free, and to another one if that one dies."""

    def __init__(self, model: BayesianModel, workers: int, cpus: float, gpus: float, retries: int) -> None:
        self.workers = workers
        self._size = (cpus, gpus)
        self._retries = retries
        self._model = ray_library().put(model)
        self._free: list[Any] = []
        self._running: dict[Any, tuple[Any, Job | None]] = {}
        for _ in range(workers):
            self._hire()

    def answers(self, jobs: Sequence[Job]) -> Iterator[Any]:
        """What workers answer, as they do.

        Raises:
            BackendError: there is no room for any worker, or the same job was lost too often.
            Exception: what a worker raised.
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
                    raise BackendError(f"{what} was lost {lost[ended]} times; at last: {error}") from error
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
