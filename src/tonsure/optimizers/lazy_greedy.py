"""LazyGreedy: the rows of Greedy, without computing the gains of rows that cannot win."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tonsure.optimizers.optimizer import Optimizer
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class LazyGreedy(Optimizer):
    """The rows of ``Greedy``, computed faster: for submodular objectives an earlier gain is an upper bound.

    Modular objectives need one pass. With all other objectives, all gains are computed at every step.
    Source: Minoux 1978.
    """

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        yield from space.picks(k)
