"""TopK: the k items with the largest gains before anything is chosen."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tonsure.optimizers.optimizer import Optimizer
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class TopK(Optimizer):
    """The k largest gains before anything is chosen. Exact for modular objectives; otherwise it ignores redundancy.

    The gains returned are those before anything is chosen. Costs one pass over the pool.
    """

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        for row, gain in space.largest(k):
            space.choose(row)
            yield row, gain
