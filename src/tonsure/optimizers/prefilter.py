"""Prefilter: a search among the rows with the largest initial gains."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tonsure.arguments import instance, setting, whole
from tonsure.errors import InputError
from tonsure.optimizers.lazy_greedy import LazyGreedy
from tonsure.optimizers.optimizer import Optimizer
from tonsure.optimizers.stochastic_greedy import StochasticGreedy
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class Prefilter(Optimizer):
    """Two stages: find the ``first`` rows with the largest gains before anything is chosen, then search among them.

    With ``LargeBatchBALD`` the first stage is BALD. An approximation, never used unless requested: a row with a small
    initial gain is dropped even if it would have the largest gain late in a large batch.
    Source: filtering by uncertainty, as in Wei, Iyer & Bilmes 2015 and Zhdanov 2019, arXiv 1901.05954.

    Args:
        first: the number of rows for the second stage; at least k.
        optimizer: the optimizer of the second stage; it must not restrict the pool itself.

    Raises:
        InputError: ``first`` is no number from 1 on, or below k in a search; or the optimizer is none, or restricts the
            pool itself.
    """

    first: int = setting(whole(1), 10_000)
    optimizer: Optimizer = setting(instance(Optimizer, "LazyGreedy()"), LazyGreedy())

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.optimizer, Prefilter | StochasticGreedy):
            raise InputError(
                f"Prefilter: optimizer is {self.optimizer}, which restricts the pool itself; expected another optimizer"
            )

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        if self.first < k:
            raise InputError(f"Prefilter: first is {self.first}, but {k} rows are to be chosen")
        best = space.largest(min(self.first, len(space)))
        space.restrict(torch.tensor([row for row, _ in best]))
        yield from self.optimizer.search(space, k, generator)
