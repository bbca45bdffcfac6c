"""StochasticGreedy: the item with the largest gain in a random sample of the pool, k times."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from tonsure.arguments import real, setting
from tonsure.optimizers.optimizer import Optimizer
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class StochasticGreedy(Optimizer):
    """x_t = arg max over N/k · log(1/ε) rows, drawn at every step from the rows that are not chosen.

    For a monotone submodular f the expected value is at least 1 − 1/e − ε of the value of the best batch, with
    N · log(1/ε) gains in total for any k. An approximation; never used unless requested. The draws depend on k, so a
    smaller batch is not the beginning of a larger one.
    Source: Mirzasoleiman et al. 2015, arXiv 1409.7938.

    Args:
        epsilon: ε, between 0 and 1; smaller values are slower and closer to greedy.

    Raises:
        InputError: ``epsilon`` is out of range.
    """

    epsilon: float = setting(real(above=0, below=1), 0.01)
    nested: ClassVar[bool] = False

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        N = len(space)
        size = math.ceil(N / k * math.log(1 / self.epsilon))
        left_N = torch.ones(N, dtype=torch.bool)
        for _ in range(k):
            rows = torch.zeros(0, dtype=torch.int64)
            while len(rows) == 0:
                drawn = torch.arange(N) if size >= N else torch.randint(N, (size,), generator=generator).unique()
                rows = drawn[left_N[drawn]]
            space.restrict(rows)
            row = space.best()
            left_N[row] = False
            yield row, space.choose(row)
