"""PowerSample: a batch drawn in proportion to a power of the gain."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from tonsure.errors import InputError
from tonsure.optimizers.optimizer import Optimizer, gumbel_noise, power_key
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class PowerSample(Optimizer):
    """x_t = arg max_x β · log max(gain(x), 0) + g_x, with one draw g_x of Gumbel noise for every row.

    Where gains are fixed this draws without replacement with p(x) ∝ gain(x)^β: ``Pointwise(bald)`` by
    ``PowerSample()`` is PowerBALD (Kirsch 2023, arXiv 2106.12059). Where gains fall, the noise stays and the gains
    are those of the moment: ``LargeBatchBALD()`` by ``PowerSample()`` is Power LBB (arXiv 2301.05490, where β = 5).
    Items without a gain come last, in random order.

    Args:
        beta: the power, from 0 (uniform) to inf (greedy, in effect).
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.beta < float("inf"):
            raise InputError(f"PowerSample: beta is {self.beta}, expected a finite number of at least 0")

    def search(self, candidates: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        candidates.rank_by(partial(power_key, beta=self.beta), gumbel_noise(len(candidates), generator))
        yield from candidates.picks(k)
