"""BADGE: items with large and different gradients."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.distances import HEADROOM, unit_of_rows, without_rounding
from tonsure.strategies.memory import DOUBLE, sizes


@dataclass(frozen=True)
class BADGE(Strategy):
    """p(x_t = x) ∝ min_{z chosen} ‖g(x) − g(z)‖²,   g(x) = (m(x) − e_ŷ(x)) ⊗ h(x)

    g is the gradient of the cross entropy with respect to the weights of the last layer, if the label were
    ŷ = arg max_c m_c; m is the mean prediction, e_ŷ is one at ŷ, and h are the features. The batch is the seeding of
    k-means++ (Arthur & Vassilvitskii 2007). The first row is drawn uniformly, as in the appendix of the paper (its
    released code takes the longest g). Labeled rows have no influence except through the model. When every remaining g
    equals a chosen one, the rest is drawn uniformly.

    A gain is the distance to the nearest chosen g, that of the first row the length of its g. The gradients [n, C·D]
    are not computed, since ⟨a ⊗ h, a′ ⊗ h′⟩ = ⟨a, a′⟩ ⟨h, h′⟩. A pick costs O(n·(C + D)).
    Source: Ash, Zhang, Krishnamurthy, Langford & Agarwal 2020, arXiv 1906.03671, algorithm 1 and appendix A.
    """

    needs_features: ClassVar[bool] = True
    uses_last_layer: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state.of_last_layer(), k, generator))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state.of_last_layer())
        features = at.copied + at.c * at.D * (at.item + 2 * DOUBLE)
        return at.rows + features + at.means(at.n) + 2 * at.c * at.C * DOUBLE

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        rows = state.choosable_rows
        features_N_D = state.features()
        unit = unit_of_rows(features_N_D)
        features_n_D = features_N_D[rows].double().div_(unit).mul_(HEADROOM)
        errors_n_C = state.mean_probs()[state.choosable_n]
        errors_n_C[torch.arange(len(errors_n_C)), errors_n_C.argmax(dim=1)] -= 1
        norms_n = errors_n_C.square().sum(1) * features_n_D.square().sum(1)
        left_n = torch.ones_like(norms_n)
        nearest_n = torch.full_like(norms_n, torch.inf)
        for _ in range(k):
            first = bool(left_n.all())
            chosen = draw(nearest_n if not first and nearest_n.any() else left_n, generator)
            gain = norms_n[chosen] if first else nearest_n[chosen]
            yield int(rows[chosen]), float(gain.sqrt()) / HEADROOM * unit
            product_n = (errors_n_C @ errors_n_C[chosen]) * (features_n_D @ features_n_D[chosen])
            both_n = norms_n + norms_n[chosen]
            nearest_n = nearest_n.minimum(without_rounding(both_n - 2 * product_n, both_n))
            nearest_n[chosen] = left_n[chosen] = 0


def draw(weights_n: Float64[Tensor, " n"], generator: torch.Generator) -> int:
    """One position, drawn with p(i) ∝ w_i; at least one weight must be positive."""
    # On the CPU, where a sum has one order.
    total_n = weights_n.cpu().cumsum(0)
    point = torch.rand((), generator=generator, dtype=torch.float64) * total_n[-1]
    # Where rounding makes of the point the total itself, it is the last that has a weight.
    return min(int(torch.searchsorted(total_n, point, right=True)), int((total_n < total_n[-1]).sum()))
