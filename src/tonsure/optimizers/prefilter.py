"""Prefilter: a search among the rows with the largest gains alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from tonsure.errors import InputError
from tonsure.optimizers.lazy_greedy import LazyGreedy
from tonsure.optimizers.optimizer import Optimizer
from tonsure.optimizers.stochastic_greedy import StochasticGreedy
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class Prefilter(Optimizer):
    """Two stages: the ``first`` rows with the largest gains before anything is chosen; then a search among these.

    With ``LargeBatchBALD`` the first stage is BALD. It drops rows with a small gain alone that would have the largest
    gain late in a large batch. An approximation, never used unless it is named.
    Source: filtering by uncertainty, as in Wei, Iyer & Bilmes 2015 and Zhdanov 2019, arXiv 1901.05954.

    Args:
        first: the number of rows for the second stage; at least k.
        optimizer: the second stage; not one that restricts the pool itself.

    Raises:
        InputError: ``first`` is below 1, or in a search below k; or the optimizer restricts the pool.
    """

    first: int = 10_000
    optimizer: Optimizer = field(default_factory=LazyGreedy)

    def __post_init__(self) -> None:
        if self.first < 1:
            raise InputError(f"Prefilter: first is {self.first}, expected at least 1")
        if isinstance(self.optimizer, Prefilter | StochasticGreedy):
            raise InputError(
                f"Prefilter: optimizer is {self.optimizer}, which narrows the pool itself; expected another search"
            )

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        if self.first < k:
            raise InputError(f"Prefilter: first is {self.first}, but {k} rows are to be chosen")
        best = space.largest(min(self.first, len(space)))
        space.restrict(torch.tensor([row for row, _ in best]))
        yield from self.optimizer.search(space, k, generator)
