"""StepwisePowerSample: a batch drawn one by one, each in proportion to a power of the current gain."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from tonsure.arguments import real, setting
from tonsure.optimizers.optimizer import MOST, Optimizer, gumbel_noise, power_key
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class StepwisePowerSample(Optimizer):
    """x_t ~ p(x) ∝ max(gain(x | S_{t−1}), 0)^β: a new draw at every step, from the current gains.

    ``PowerSample`` draws noise once for all steps. With modular gains the two distributions are equal; with gains that
    decrease they differ. The noise of a step costs O(N). Items without a positive gain come last, in random order.
    β = 1 with ``Spread()`` is the seeding of k-means++ (Arthur & Vassilvitskii 2007).
    Source: sequential sampling in proportion to a weight, by Gumbel noise (Gumbel 1954).

    Args:
        beta: the power, at least 0: 0 is uniform; large values approach greedy search.

    Raises:
        InputError: ``beta`` is out of range.
    """

    beta: float = setting(real(least=0, most=MOST), 1.0)

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        for _ in range(k):
            space.rank_by(partial(power_key, beta=self.beta), gumbel_noise(len(space), generator))
            row = space.best()
            yield row, space.choose(row)
