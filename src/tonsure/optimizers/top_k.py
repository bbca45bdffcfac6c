"""TopK: the k items that gain most alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tonsure.optimizers.optimizer import Optimizer
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class TopK(Optimizer):
    """The k largest gains before anything is chosen: exact where gains are fixed, blind to redundancy elsewhere.

    The gains it gives are those that the items have alone.
    """

    def search(self, candidates: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        for row, gain in candidates.largest(k):
            candidates.choose(row)
            yield row, gain
