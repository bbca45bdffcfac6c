"""Backends: where the shards of a pool run, in this process or elsewhere."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch

from tonsure.arguments import Settings
from tonsure.objectives.base import Objective
from tonsure.predictions.reader import PoolReader
from tonsure.search.plan import Plan
from tonsure.search.shard import Bid, Shard

P = ParamSpec("P")
Answer = TypeVar("Answer")


class Shards(ABC):
    """The shards of a pool, in order. They are called by a method of ``Shard`` and its arguments."""

    sizes: list[int]
    """The number of rows of each shard."""

    @abstractmethod
    def one(
        self, index: int, method: Callable[Concatenate[Shard, P], Answer], *arguments: P.args, **keywords: P.kwargs
    ) -> Answer:
        """Calls the method on the shard at this index; returns the result."""

    @abstractmethod
    def all(
        self, method: Callable[Concatenate[Shard, P], Answer], *arguments: P.args, **keywords: P.kwargs
    ) -> list[Answer]:
        """Calls the method on all shards; returns the results in order."""

    def bids(self, slack: float) -> list[Bid]:
        """The bid of each shard; see ``Shard.bid``."""
        return self.all(Shard.bid, -torch.inf, slack)

    def lowest(self, bid: Bid) -> Iterator[tuple[int | None, bool]]:
        """For each shard, the lowest row that may tie with the largest key; the caller stops at the first row."""
        return (self.one(index, Shard.lowest, bid) for index in range(len(self.sizes)))


class Backend(Settings, ABC):
    """Runs the shards of a pool. Subclasses are frozen dataclasses."""

    @abstractmethod
    def start(self, reader: PoolReader, objective: Objective[Any, Any], plan: Plan) -> AbstractContextManager[Shards]:
        """Starts the shards. On exit the context stops everything that it has started."""

    def session(self, readers: Sequence[PoolReader]) -> AbstractContextManager[None]:
        """A context in which several passes over these readers share one connection."""
        return nullcontext()

    @abstractmethod
    def map(self, reader: PoolReader, function: Callable[[PoolReader], Answer]) -> list[Answer]:
        """The function applied to consecutive parts of the pool, in order.

        Args:
            function: picklable, and without side effects: it may run in another process, and more than once.
        """


class LocalShards(Shards):
    """Shards in this process, run one after the other."""

    def __init__(self, readers: Sequence[PoolReader], objective: Objective[Any, Any], plan: Plan) -> None:
        self._shards = [Shard(reader, objective, block=plan.block, keep=plan.kept_precisions) for reader in readers]
        self.sizes = list(map(len, readers))

    def one(
        self, index: int, method: Callable[Concatenate[Shard, P], Answer], *arguments: P.args, **keywords: P.kwargs
    ) -> Answer:
        return method(self._shards[index], *arguments, **keywords)

    def all(
        self, method: Callable[Concatenate[Shard, P], Answer], *arguments: P.args, **keywords: P.kwargs
    ) -> list[Answer]:
        return [method(shard, *arguments, **keywords) for shard in self._shards]

    def bids(self, slack: float) -> list[Bid]:
        bids: list[Bid] = []
        for shard in self._shards:  # the bid of one shard saves work in the next
            bids.append(shard.bid(max((bid.known for bid in bids), default=-torch.inf), slack))
        return bids


@dataclass(frozen=True)
class LocalBackend(Backend):
    """Runs the whole pool as one shard in this process."""

    @contextmanager
    def start(self, reader: PoolReader, objective: Objective[Any, Any], plan: Plan) -> Iterator[Shards]:
        yield LocalShards([reader], objective, plan)

    def map(self, reader: PoolReader, function: Callable[[PoolReader], Answer]) -> list[Answer]:
        return [function(reader)]
