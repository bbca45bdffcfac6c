"""TopK: the k items with the largest gains alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tonsure.optimizers.optimizer import Optimizer
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class TopK(Optimizer):
    """The k largest gains before anything is chosen: exact for modular objectives, blind to redundancy otherwise.

    The gains it returns are those of the items alone. Costs one pass over the pool.
    """

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        for row, gain in space.largest(k):
            space.choose(row)
            yield row, gain
