"""SoftmaxSample: a batch drawn in proportion to the exponential of the gain."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tonsure.arguments import real, setting
from tonsure.optimizers.optimizer import MOST, Optimizer, gumbel_noise
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class SoftmaxSample(Optimizer):
    """x_t = arg max_x β · gain(x) + g_x, with one draw g_x of Gumbel noise for every row.

    With modular gains, rows are drawn without replacement with p(x) ∝ exp(β · gain(x)): on BALD, SoftmaxBALD. With
    gains that depend on the batch, the noise is kept and the gains are updated. The cost is that of ``LazyGreedy``.
    Source: Kirsch et al. 2023, arXiv 2106.12059.

    Args:
        beta: the inverse temperature, at least 0, in the inverse of the unit of the gains: 0 is uniform; large values
            approach greedy search.

    Raises:
        InputError: ``beta`` is out of range.
    """

    beta: float = setting(real(least=0, most=MOST), 1.0)

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        space.rank_by(lambda gain_n, noise_n: self.beta * gain_n + noise_n, gumbel_noise(len(space), generator))
        yield from space.picks(k)
