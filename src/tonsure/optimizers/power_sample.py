"""PowerSample: a batch drawn in proportion to a power of the gain, with one draw of noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from tonsure.arguments import real, setting
from tonsure.optimizers.optimizer import MOST, Optimizer, gumbel_noise, power_key
from tonsure.search.space import SearchSpace


@dataclass(frozen=True)
class PowerSample(Optimizer):
    """x_t = arg max_x β · log max(gain(x), 0) + g_x, with one draw g_x of Gumbel noise for every row.

    With modular gains, rows are drawn without replacement with p(x) ∝ gain(x)^β: ``Pointwise(bald)`` with
    ``PowerSample()`` is PowerBALD. With gains that depend on the batch, the noise is kept and the gains are updated:
    ``LargeBatchBALD()`` with ``PowerSample(beta=5)`` is Power LBB. Items without a positive gain come last, in random
    order. The cost is that of ``LazyGreedy``.
    Source: Kirsch et al. 2023, arXiv 2106.12059; Rubashevskii et al. 2023, arXiv 2301.05490.

    Args:
        beta: the power, at least 0: 0 is uniform; large values approach greedy search.

    Raises:
        InputError: ``beta`` is out of range.
    """

    beta: float = setting(real(least=0, most=MOST), 1.0)

    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        space.rank_by(partial(power_key, beta=self.beta), gumbel_noise(len(space), generator))
        yield from space.picks(k)
