"""StepwisePowerSample: a batch drawn one by one, each in proportion to a power of the gain that is left."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from tonsure.errors import InputError
from tonsure.optimizers.optimizer import Optimizer, gumbel_noise, power_key
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class StepwisePowerSample(Optimizer):
    """x_t ~ p(x) ∝ max(gain(x | S_{t−1}), 0)^β: a new draw at every step, from the gains of the moment.

    ``PowerSample`` draws its noise once and keeps it, which is the same where gains are fixed; where they fall, an item
    that was lucky once stays so there. Here a step knows of the batch by the gains alone; it costs O(N), for new noise.
    Items without a gain come last, in random order. β = 1 with ``Spread()`` is the seeding of k-means++.
    Source: sequential sampling; the draw by Gumbel noise (Gumbel 1954).

    Args:
        beta: the power, from 0 (uniform) to inf (greedy, in effect).
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.beta < float("inf"):
            raise InputError(f"StepwisePowerSample: beta is {self.beta}, expected a finite number of at least 0")

    def search(self, candidates: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        for _ in range(k):
            candidates.rank_by(partial(power_key, beta=self.beta), gumbel_noise(len(candidates), generator))
            row = candidates.best()
            yield row, candidates.choose(row)
