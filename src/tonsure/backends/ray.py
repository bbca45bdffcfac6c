"""Selection on a Ray cluster: every shard of the pool is an actor."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate

import torch
from torch import Tensor

from tonsure.arguments import instance, optional, real, setting, whole
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
"""The smallest number of rows per shard if the number of shards is not given. In smaller shards messages cost more than
the computation."""

IN_MESSAGE = 100 * 2**10
"""The size in bytes up to which an argument is sent in the message; larger arguments go to the object store once."""

SILENT = ("rank_by", "restrict", "refresh", "join")
"""The calls whose results are not awaited: a shard runs its calls in order, so the next answer raises their errors."""


@dataclass(frozen=True)
class RayBackend(Backend):
    """Runs shards as actors of a Ray cluster, each with contiguous rows; the same rows are chosen as in one process.

    All machines must have tonsure installed. Each actor reads its rows of a store from disk, so all machines must see
    the folder of the store at the same path. Predictions in memory are sent once, through Ray's object store. A step
    exchanges one bid per shard and one chosen item. A lost shard is restarted, and the calls that changed it are
    repeated.

    Args:
        address: the address of a running cluster: host:6379, ray://host:10001 or auto. None uses the Ray connection of
            this process, or starts Ray on this machine for the time of the selection.
        shards: the number of shards; None is one per free CPU (or GPU), and at most one per 10,000 rows.
        cpus_per_shard: the number of CPUs reserved for each shard, and of its threads.
        gpus_per_shard: the number of GPUs reserved for each shard; above 0, the work is done on the GPU.
        retries: the number of times that one shard may be lost.

    Raises:
        InputError: a setting is of another type or out of range.
    """

    address: str | None = setting(optional(instance(str, "'ray://host:10001'")), None)
    shards: int | None = setting(optional(whole(1)), None)
    cpus_per_shard: float = setting(real(least=0), 1.0)
    gpus_per_shard: float = setting(real(least=0), 0.0)
    retries: int = setting(whole(0), 3)

    @contextmanager
    def start(self, reader: PoolReader, objective: Objective[Any, Any], plan: Plan) -> Iterator[Shards]:
        """Starts the shards.

        Raises:
            BackendError: the cluster does not answer or has no free resources, or a shard was lost too often.
            MissingExtraError: Ray is not installed.
            TonsureError: raised by ``Shard``.
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
        """As ``Backend.map``; a part whose worker is lost is repeated up to ``retries`` times. Raises as ``start``."""
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
                raise BackendError(
                    f"a part of the pool was lost {self.retries + 1} times; the last error: {error}"
                ) from error
            return answers


def _sent_bytes(reader: PoolReader) -> int:
    """The bytes put into the object store; zero for predictions that the machines read from a store on disk."""
    return 0 if reader.path else len(reader) * reader.stored(torch.tensor([0])).nbytes


def _on_part(source: StoredRows | SentRows, function: Callable[[PoolReader], Any], cpus: float) -> Any:
    torch.set_num_threads(max(1, int(cpus)))
    return function(source.open())


class ShardActor:
    """A shard in its own process."""

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
        """Creates the shard, and repeats the calls that changed an earlier one."""
        self._shard = Shard(source.open(), objective, block=block, keep=keep)
        for method, arguments in calls:
            self.ask(method, *arguments)

    def ask(self, method: str, *arguments: Any) -> Any:
        return own(getattr(self._shard, method)(*arguments))


@dataclass
class History:
    """The calls that determine the present state of a shard."""

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
    """Shards as actors; ``begin`` starts them, ``end`` stops all of them."""

    def __init__(self, reader: PoolReader, objective: Objective[Any, Any], plan: Plan, backend: RayBackend) -> None:
        self._backend = backend
        self._what = (objective, plan.block, plan.kept_precisions)
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
        self._open: list[list[Any]] = []  # calls without an answer yet, per shard

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
        assert not keywords  # the calls of a search have none
        answer: Answer = self._ask([index], method.__name__, arguments)[0]
        return answer

    def all(
        self, method: Callable[Concatenate[Shard, P], Answer], *arguments: P.args, **keywords: P.kwargs
    ) -> list[Answer]:
        assert not keywords
        return self._ask(range(len(self.sizes)), method.__name__, arguments)

    def lowest(self, bid: Bid) -> Iterator[tuple[int | None, bool]]:
        return iter(self.all(Shard.lowest, bid))  # all at once: a round trip costs more than the work it could save

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
                f"shard {index}, rows {start} to {last}, was lost {self._lost[index]} times; the last error: {error}"
            ) from error
        cpus, gpus = self._backend.cpus_per_shard, self._backend.gpus_per_shard
        # The CPUs of a lost machine may be missing for long: then the shard starts without a reserved CPU.
        for reserved in (cpus, 0.0):
            dismiss([self._actors[index]])
            self._actors[index] = engage(ShardActor, reserved, gpus)
            if have_room([self._actors[index]]):
                self._open[index] = [self._load(index)]
                return
        raise no_room(1, 0.0, gpus) from error

    def _load(self, index: int) -> Any:
        return self._actors[index].load.remote(self._sources[index], *self._what, self._histories[index].calls())


def shard_rows(rows: int, shards: int) -> int:
    """The number of rows of each shard; the last shard may have fewer."""
    return -(-rows // shards)


def share(argument: Any) -> Any:
    """The argument in the form that is sent: a reference to the object store for a large tensor."""
    return ray_library().put(argument) if isinstance(argument, Tensor) and argument.nbytes > IN_MESSAGE else argument
