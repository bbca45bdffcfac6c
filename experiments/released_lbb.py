"""ReleasedLBB: a baseline, the score that the code released with the LBB paper computes (not Large BatchBALD)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

import tonsure as tn
from tonsure.predictions.reader import as_log_probs
from tonsure.selection import Selection
from tonsure.strategies import PoolState, Strategy
from tonsure.strategies.base import selected

BLOCK = 1024
"""The number of consecutive unlabeled items that are compared with each other."""


@dataclass(frozen=True)
class ReleasedLBB(Strategy):
    """Selects by the score s_i = I(y_i; θ) + Σ_c A_ic [log(1 + A_ic) − log(1 + B_ic)].

    A_ic = Σ_{j≠i} mean_k p_ikc p_jkc and B_ic = Σ_{j≠i} m_ic m_jc, where j runs over the item's block of 1,024
    unlabeled items in the order of the pool. The score rewards redundancy, ignores what has been chosen, and depends on
    the order of the pool; it is needed to reproduce results as published. Since Σ_j mean_k p_ikc p_jkc =
    mean_k p_ikc Σ_j p_jkc, it costs O(N·K·C) and not O(N²·K·C).

    Source: the behavior of the code released with arXiv 2301.05490; none of that code is used.

    Args:
        optimizer: searches the scores. None is the k largest, LBB in that code; ``PowerSample(beta=5)`` is its PLBB.
    """

    optimizer: tn.Optimizer | None = None
    needs_predictions: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        state.check_count(k)
        score_n = released_scores(state.predictions())
        score_n = score_n[state.choosable_n.to(score_n.device)]
        # The optimizer gets the random numbers that it would get in a search of its own under this seed.
        found = tn.select(score_n, k=k, optimizer=self.optimizer, seed=generator.initial_seed())
        rows = state.choosable_rows[found.rows]
        return selected(self, state, k, zip(rows.tolist(), found.gains.tolist(), strict=True))


def released_scores(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float64[Tensor, " n"]:
    """The scores of consecutive unlabeled items.

    Raises:
        InputError: K is 1, where no score tells items apart.
    """
    K = log_probs_n_K_C.shape[1]
    if K < 2:
        raise tn.InputError(f"ReleasedLBB compares posterior samples and needs at least 2, but K = {K}")
    return torch.cat([_scores_of_block(block_n_K_C) for block_n_K_C in log_probs_n_K_C.split(BLOCK)])


def _scores_of_block(stored_n_K_C: Float[Tensor, "n K C"]) -> Float64[Tensor, " n"]:
    log_probs_n_K_C = as_log_probs(stored_n_K_C, torch.float64)
    probs_n_K_C = log_probs_n_K_C.exp()
    mean_n_C = probs_n_K_C.mean(1)
    together_n_C = (probs_n_K_C * (probs_n_K_C.sum(0) - probs_n_K_C)).mean(1)
    apart_n_C = mean_n_C * (mean_n_C.sum(0) - mean_n_C)
    extra_n = (together_n_C * (together_n_C.log1p() - apart_n_C.log1p())).sum(1)
    return tn.bald(log_probs_n_K_C) + extra_n
