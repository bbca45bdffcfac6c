"""Prefilter: a search among the rows that gain most alone."""

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
    """Two stages: the ``first`` rows that gain most before anything is chosen; then another search among these.

    With ``LargeBatchBALD`` the first stage is BALD. It leaves out what gains little alone but would gain most late in
    a large batch. An approximation: it never is the default.

    Args:
        first: how many rows the second stage may choose from; at least as many as are to be chosen.
        by: the second stage.
    """

    first: int = 10_000
    optimizer: Optimizer = field(default_factory=LazyGreedy)

    def __post_init__(self) -> None:
        if self.first < 1:
            raise InputError(f"Prefilter: first is {self.first}, expected at least 1")
        if isinstance(self.optimizer, Prefilter | StochasticGreedy):
            raise InputError(
                f"Prefilter: by is {self.optimizer}, which narrows the pool itself; expected another search"
            )

    def search(self, candidates: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        if self.first < k:
            raise InputError(f"Prefilter: first is {self.first}, but {k} rows are to be chosen")
        best = candidates.largest(min(self.first, len(candidates)))
        candidates.restrict(torch.tensor([row for row, _ in best]))
        yield from self.optimizer.search(candidates, k, generator)
