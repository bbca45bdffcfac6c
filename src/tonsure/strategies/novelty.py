"""Novelty: a score, times the share of the variance of an item's features that no label has removed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.arguments import real, score_function, setting
from tonsure.objectives.discounted import STRONGEST
from tonsure.optimizers.optimizer import MOST, gumbel_noise, power_key
from tonsure.scores import margin
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.distances import unit_of
from tonsure.strategies.memory import DOUBLE, sizes


@dataclass(frozen=True, repr=False)
class Novelty(Strategy):
    """gain(x | S) = score(x) · h_xᵀ P_S h_x / ‖h_x‖², with P_S = (I + strength · Σ_{z labeled or in S} h_z h_zᵀ)⁻¹.

    h_x are the features of x, centered over the pool and divided by their root mean square length. P_S is the posterior
    covariance of a linear layer on them, with a unit prior and unit noise, given the labeled rows and the batch
    (Bayesian linear regression). The second factor, in [0, 1], is the share of the variance of that layer's prediction
    for x that no label has removed. The score measures uncertainty, the features redundancy.

    Rows are drawn in proportion to gain^beta, with one draw of Gumbel noise for every row, as in ``PowerSample``, and
    current gains. A step costs O(N·D + D²). Memory: a copy of the features in float64, and some numbers for each row.
    Source: the second factor, without the ratio, is what MaxDet maximizes at every step (Holzmüller et al. 2023, arXiv
    2203.09410); its product with a score is a step of a determinantal point process with quality and diversity (Kulesza
    & Taskar 2012); the draw is that of Kirsch et al. 2023, arXiv 2106.12059. The combination is ours
    (docs/methods/novelty.md).

    Args:
        score: a function of ``log_probs_n_K_C`` that gives [n] numbers of at least 0.
        strength: the number of labels that a labeled row counts for; larger values spread batches further, 0 is the
            score alone.
        beta: the power, at least 0: 0 is uniform, large values are greedy.

    Raises:
        InputError: the score is no function, or strength or beta is out of range.
    """

    score: Callable[[Tensor], Tensor] = setting(score_function, margin)
    strength: float = setting(real(least=0, most=STRONGEST), 1.0)
    beta: float = setting(real(least=0, most=MOST), 4.0)
    needs_features: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True
    takes_scores: ClassVar[bool] = True

    def __repr__(self) -> str:
        score = getattr(self.score, "__name__", self.score)
        return f"Novelty({score}, strength={self.strength}, beta={self.beta})"

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state, k, generator))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state)
        features = at.copied + (2 * at.N + at.m + 3 * at.c) * at.D * DOUBLE
        return at.rows + features + 6 * at.D**2 * DOUBLE + at.score

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        features_N_D = _scaled(state.features())
        rows = state.choosable_rows
        labeled_m_D, features_n_D = features_N_D[state.labeled_rows], features_N_D[rows]
        score_n = state.scores(self.score)[state.choosable_n].double()
        unit = unit_of(score_n)
        score_n = score_n / unit
        noise_n = gumbel_noise(len(score_n), generator).to(score_n.device)
        precision_D_D = self.strength * (labeled_m_D.T @ labeled_m_D)
        left_D_D = torch.linalg.inv(precision_D_D + torch.eye(len(precision_D_D)).to(precision_D_D))
        left_n = ((features_n_D @ left_D_D) * features_n_D).sum(1)
        length_n = features_n_D.square().sum(1)
        open_n = torch.ones_like(score_n, dtype=torch.bool)
        for _ in range(k):
            # An item without features of its own asks nothing of the layer.
            gain_n = score_n * (left_n / length_n.clamp_min(1e-12)).clamp(0, 1)
            key_n = power_key(gain_n, noise_n, self.beta)
            row = int(torch.where(open_n, key_n, -torch.inf).argmax())
            yield int(rows[row]), float(gain_n[row]) * unit
            open_n[row] = False
            moved_D = left_D_D @ features_n_D[row]
            share = self.strength / (1 + self.strength * float(features_n_D[row] @ moved_D))
            left_n -= share * (features_n_D @ moved_D).square()  # Sherman and Morrison
            left_D_D -= share * torch.outer(moved_D, moved_D)


def _scaled(features_N_D: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    centered_N_D = features_N_D.double() / unit_of(features_N_D)
    centered_N_D = centered_N_D - centered_N_D.mean(0)
    length = centered_N_D.square().sum(1).mean().sqrt()
    return centered_N_D / length.clamp_min(torch.finfo(torch.float64).tiny)
