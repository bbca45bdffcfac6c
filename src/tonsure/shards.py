"""Where the shards of a pool live, and how they are asked: in this process, or behind a backend."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tonsure.objective import Objective
from tonsure.parts import Part
from tonsure.plan import Plan
from tonsure.shard import Bid, Shard


class Shards(ABC):
    """The shards of a pool, in order: asked, by the name of a method of ``Shard``, one of them or all at once."""

    sizes: list[int]
    """The rows of each."""

    @abstractmethod
    def one(self, place: int, method: str, *arguments: Any) -> Any:
        """What the shard at this place answers."""

    @abstractmethod
    def all(self, method: str, *arguments: Any) -> list[Any]:
        """What each of them answers."""

    def bids(self, apart: float) -> list[Bid]:
        """What each of them knows of its largest key."""
        return self.all("bid", -torch.inf, apart)

    def lowest(self, bid: Bid) -> Iterator[tuple[int | None, bool]]:
        """The lowest row of each that may tie with the largest key; one asks no further than the first that has one."""
        return (self.one(place, "lowest", bid) for place in range(len(self.sizes)))


class Backend(ABC):
    """What runs the shards of a pool; final ones are frozen dataclasses."""

    @abstractmethod
    def start(self, part: Part, objective: Objective[Any, Any], plan: Plan) -> AbstractContextManager[Shards]:
        """Brings a pool into motion, and leaves nothing running at the end of the context."""


class LocalShards(Shards):
    """Shards in this process, one after the other."""

    def __init__(self, parts: Sequence[Part], objective: Objective[Any, Any], plan: Plan) -> None:
        self._shards = [Shard(part, objective, block=plan.block, keep=plan.kept_levels) for part in parts]
        self.sizes = list(map(len, parts))

    def one(self, place: int, method: str, *arguments: Any) -> Any:
        return getattr(self._shards[place], method)(*arguments)

    def all(self, method: str, *arguments: Any) -> list[Any]:
        return [getattr(shard, method)(*arguments) for shard in self._shards]

    def bids(self, apart: float) -> list[Bid]:
        bids: list[Bid] = []
        for shard in self._shards:  # what one knows spares the next work
            bids.append(shard.bid(max((bid.known for bid in bids), default=-torch.inf), apart))
        return bids


@dataclass(frozen=True)
class LocalBackend(Backend):
    """This process."""

    @contextmanager
    def start(self, part: Part, objective: Objective[Any, Any], plan: Plan) -> Iterator[Shards]:
        yield LocalShards([part], objective, plan)
