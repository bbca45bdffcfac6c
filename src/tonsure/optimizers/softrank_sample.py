"""SoftrankSample: a batch drawn in proportion to a power of the rank."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tonsure.arguments import real, setting
from tonsure.optimizers.optimizer import MOST, Optimizer, gumbel_noise
from tonsure.search.ranking import largest
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class SoftrankSample(Optimizer):
    """The k largest −β · log rank(x) + g_x, with one draw g_x of Gumbel noise for every row.

    Rows are drawn without replacement with p(x) ∝ rank(x)^−β. The largest gain before anything is chosen has rank 1;
    ties are ranked in pool order. On BALD: SoftrankBALD. The gains returned are those before anything is chosen. Costs
    one pass over the pool.
    Source: Kirsch et al. 2023, arXiv 2106.12059.

    Args:
        beta: the power, at least 0: 0 is uniform; large values approach top-k.

    Raises:
        InputError: ``beta`` is out of range.
    """

    beta: float = setting(real(least=0, most=MOST), 1.0)

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        gain_N = space.gains()
        rank_N = torch.empty_like(gain_N)
        order = gain_N.sort(descending=True, stable=True).indices
        rank_N[order] = torch.arange(1, len(order) + 1, dtype=rank_N.dtype)
        key_N = gumbel_noise(len(space), generator) - self.beta * rank_N.log()
        key_N[gain_N.isneginf()] = -torch.inf  # rows that cannot win
        for row in largest(key_N, k):
            space.choose(row)
            yield row, float(gain_N[row])
