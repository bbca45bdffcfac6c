"""Greedy: the item with the largest gain, k times."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tonsure.optimizers.optimizer import Optimizer
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class Greedy(Optimizer):
    """x_t = arg max_x f(S_{t−1} + x) − f(S_{t−1}), with all gains computed at every step; ties go to the lowest row.

    For a monotone submodular f the value is at least 1 − 1/e of the value of the best batch. Costs N gains per step.
    Source: Nemhauser, Wolsey & Fisher 1978.
    """

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        for _ in range(k):
            space.refresh()
            row = space.best()
            yield row, space.choose(row)
