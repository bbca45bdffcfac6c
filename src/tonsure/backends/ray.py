"""Selection on Ray: every shard of the pool is an actor, somewhere in a cluster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate

import torch
from torch import Tensor

from tonsure.backends.ray_cluster import (
    LostError,
    connected,
    dismiss,
    engage,
    get,
    have_room,
    no_room,
    ray_library,
    slots,
)
from tonsure.backends.ray_rows import SentRows, StoredRows, own, source
from tonsure.errors import BackendError, InputError, TonsureError
from tonsure.objectives.base import Objective
from tonsure.predictions.reader import PoolReader
from tonsure.search.backend import Answer, Backend, P, Shards
from tonsure.search.plan import Plan
from tonsure.search.shard import Bid, Shard

ROWS = 10_000
"""A shard has so many rows at least, unless the number of shards is given: below, messages cost more than work."""

IN_MESSAGE = 100 * 2**10
"""Bytes up to which Ray sends an argument within the message; what is larger is shared by all that need it."""

SILENT = ("rank_by", "restrict", "refresh", "join")
"""Nobody waits for these: a shard does one thing after the other, and its next answer says what went wrong."""


@dataclass(frozen=True)
class RayBackend(Backend):
    """Actors of a Ray cluster, each with contiguous rows of the pool; the same rows are chosen as in one process.

    From a store each actor reads its rows where they lie, so all machines must see its folder at the same path, and
    have tonsure installed. Predictions in memory are sent once, through Ray's object store. A step exchanges a bid
    of each shard and one chosen item. A shard that is lost is started again and told what has been chosen.

    Args:
        address: of a running cluster: host:6379, ray://host:10001 or auto. None is the Ray of this process, or else
            a new one on this machine, which ends with the selection.
        shards: how many; None is one for each free CPU (or GPU), and at most one for each 10,000 rows.
        cpus_per_shard: CPUs that Ray reserves for each, and its threads.
        gpus_per_shard: GPUs that Ray reserves for each; with any, the work is done there.
        retries: how often the same shard may be lost.

    Raises:
        InputError: a number is out of range.
    """

    address: str | None = None
    shards: int | None = None
    cpus_per_shard: float = 1.0
    gpus_per_shard: float = 0.0
    retries: int = 3

    def __post_init__(self) -> None:
        if self.shards is not None and self.shards < 1:
            raise InputError(f"RayBackend: shards is {self.shards}, expected at least 1")
        for name in ("cpus_per_shard", "gpus_per_shard", "retries"):
            if getattr(self, name) < 0:
                raise InputError(f"RayBackend: {name} is {getattr(self, name)}, expected at least 0")

    @contextmanager
    def start(self, reader: PoolReader, objective: Objective[Any, Any], plan: Plan) -> Iterator[Shards]:
        """Raises, beside what ``Shard`` does:

        BackendError: the cluster does not answer or has no room, or a shard was lost too often.
        MissingExtraError: Ray is not installed.
        """
        if reader.works_on.type != "cpu" and not self.gpus_per_shard:
            raise InputError(f"the work is to be done on {reader.works_on}, expected gpus_per_shard above 0")
        with connected(self.address, _sent_bytes(reader)):
            shards = RayShards(reader, objective, plan, self)
            try:
                shards.begin()
                yield shards
            finally:
                shards.end()

    def session(self, readers: Sequence[PoolReader]) -> AbstractContextManager[None]:
        return connected(self.address, sum(map(_sent_bytes, readers)))

    def map(self, reader: PoolReader, function: Callable[[PoolReader], Answer]) -> list[Answer]:
        """Raises as ``start`` does; a part whose worker is lost is done again, ``retries`` times."""
        with connected(self.address, _sent_bytes(reader)):
            count = self.shards or min(slots(self.cpus_per_shard, self.gpus_per_shard), max(1, len(reader) // ROWS))
            starts = list(range(0, len(reader), shard_rows(len(reader), count)))
            device = torch.device("cuda") if self.gpus_per_shard else None
            sources = [
                source(reader, start, end, device)
                for start, end in zip(starts, [*starts[1:], len(reader)], strict=True)
            ]
            options = {"num_cpus": self.cpus_per_shard, "num_gpus": self.gpus_per_shard, "max_retries": self.retries}
            task = ray_library().remote(_on_part).options(**options)
            try:
                answers: list[Answer] = get([task.remote(each, function, self.cpus_per_shard) for each in sources])
            except LostError as error:
                raise BackendError(f"a part of the pool was lost {self.retries + 1} times; at last: {error}") from error
            return answers


def _sent_bytes(reader: PoolReader) -> int:
    """The bytes that are put into the object store: none of what every machine reads from a store by itself."""
    return 0 if reader.path else len(reader) * reader.stored(torch.tensor([0])).nbytes


def _on_part(source: StoredRows | SentRows, function: Callable[[PoolReader], Any], cpus: float) -> Any:
    torch.set_num_threads(max(1, int(cpus)))
    return function(source.open())


class ShardActor:
    """A shard in a process of its own."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def load(
        self,
        source: StoredRows | SentRows,
        objective: Objective[Any, Any],
        block: int,
        keep: int,
        calls: list[tuple[str, Sequence[Any]]],
    ) -> None:
        """Makes the shard, and repeats what had been called to change it."""
        self._shard = Shard(source.open(), objective, block=block, keep=keep)
        for method, arguments in calls:
            self.ask(method, *arguments)

    def ask(self, method: str, *arguments: Any) -> Any:
        return own(getattr(self._shard, method)(*arguments))


@dataclass
class History:
    """The calls that made a shard what it is."""

    last: dict[str, Sequence[Any]] = field(default_factory=dict)
    chosen: list[tuple[str, Sequence[Any]]] = field(default_factory=list)

    def add(self, method: str, arguments: Sequence[Any]) -> None:
        if method in ("rank_by", "restrict"):
            self.last[method] = arguments
        elif method in ("close", "join"):
            self.chosen.append((method, arguments))

    def calls(self) -> list[tuple[str, Sequence[Any]]]:
        first, last = ([(name, self.last[name])] if name in self.last else [] for name in ("rank_by", "restrict"))
        return [*first, *self.chosen, *last]


class RayShards(Shards):
    """Shards as actors; ``begin`` starts them, ``end`` leaves none."""

    def __init__(self, reader: PoolReader, objective: Objective[Any, Any], plan: Plan, backend: RayBackend) -> None:
        self._backend = backend
        self._what = (objective, plan.block, plan.kept_levels)
        size = (backend.cpus_per_shard, backend.gpus_per_shard)
        count = backend.shards or min(slots(*size), max(1, len(reader) // ROWS))
        self._starts = list(range(0, len(reader), shard_rows(len(reader), count)))
        ends = [*self._starts[1:], len(reader)]
        self.sizes = [end - start for start, end in zip(self._starts, ends, strict=True)]
        device = torch.device("cuda") if backend.gpus_per_shard else None
        self._sources = [source(reader, start, end, device) for start, end in zip(self._starts, ends, strict=True)]
        self._histories = [History() for _ in self.sizes]
        self._lost = [0] * len(self.sizes)
        self._actors: list[Any] = []
        self._open: list[list[Any]] = []  # what was sent and not answered yet

    def begin(self) -> None:
        cpus, gpus = self._backend.cpus_per_shard, self._backend.gpus_per_shard
        self._actors = [engage(ShardActor, cpus, gpus) for _ in self.sizes]
        if not have_room(self._actors):
            raise no_room(len(self._actors), cpus, gpus)
        self._open = [[self._load(index)] for index in range(len(self.sizes))]

    def end(self) -> None:
        dismiss(self._actors)

    def one(
        self, index: int, method: Callable[Concatenate[Shard, P], Answer], *arguments: P.args, **keywords: P.kwargs
    ) -> Answer:
        assert not keywords  # the messages of a search have none
        answer: Answer = self._ask([index], method.__name__, arguments)[0]
        return answer

    def all(
        self, method: Callable[Concatenate[Shard, P], Answer], *arguments: P.args, **keywords: P.kwargs
    ) -> list[Answer]:
        assert not keywords
        return self._ask(range(len(self.sizes)), method.__name__, arguments)

    def lowest(self, bid: Bid) -> Iterator[tuple[int | None, bool]]:
        return iter(self.all(Shard.lowest, bid))  # all at once: a round trip takes longer than what it may spare

    def _ask(self, indices: Sequence[int], method: str, arguments: Sequence[Any]) -> list[Any]:
        arguments = [own(argument) for argument in arguments]
        sent = [share(argument) for argument in arguments]
        asked = [self._actors[index].ask.remote(method, *sent) for index in indices]
        if method in SILENT:
            for index, reference in zip(indices, asked, strict=True):
                self._open[index].append(reference)
                self._histories[index].add(method, arguments)
            return [None] * len(indices)
        return [self._answer(*each, method, arguments) for each in zip(indices, asked, strict=True)]

    def _answer(self, index: int, asked: Any, method: str, arguments: Sequence[Any]) -> Any:
        while True:
            try:
                *_, answer = get([*self._open[index], asked])
            except LostError as error:
                self._replace(index, error)
                asked = self._actors[index].ask.remote(method, *arguments)
            except TonsureError as error:
                error.add_note(f"row 0 of shard {index} is row {self._starts[index]} of the pool")
                raise
            else:
                self._open[index] = []
                self._histories[index].add(method, arguments)
                return answer

    def _replace(self, index: int, error: LostError) -> None:
        self._lost[index] += 1
        if self._lost[index] > self._backend.retries:
            start, last = self._starts[index], self._starts[index] + self.sizes[index] - 1
            raise BackendError(
                f"shard {index}, rows {start} to {last}, was lost {self._lost[index]} times; at last: {error}"
            ) from error
        cpus, gpus = self._backend.cpus_per_shard, self._backend.gpus_per_shard
        # The CPUs of a machine that is gone may be missing for long: then two shards share one.
        for those in (cpus, 0.0):
            dismiss([self._actors[index]])
            self._actors[index] = engage(ShardActor, those, gpus)
            if have_room([self._actors[index]]):
                self._open[index] = [self._load(index)]
                return
        raise no_room(1, 0.0, gpus) from error

    def _load(self, index: int) -> Any:
        return self._actors[index].load.remote(self._sources[index], *self._what, self._histories[index].calls())


def shard_rows(rows: int, shards: int) -> int:
    """How many rows each shard has; the last one may have fewer."""
    return -(-rows // shards)


def share(argument: Any) -> Any:
    """The argument as it is sent, to one or all: a large tensor is put where all find it."""
    return ray_library().put(argument) if isinstance(argument, Tensor) and argument.nbytes > IN_MESSAGE else argument
