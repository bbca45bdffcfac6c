"""Scores: one number per item, larger is better to label. A score of your own is a function like these.

The information scores are in nats, the others have no unit; none looks at the other items of the pool or the batch.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.information import bald as bald
from tonsure.information import entropy as entropy


def least_confidence(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, " n"]:
    """1 − max_c m_ic, with m_ic = mean_k p_ikc; called MaxProb in the LBB paper (Lewis and Gale 1994)."""
    return 1 - log_probs_n_K_C.exp().mean(1).amax(-1)


def margin(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, " n"]:
    """1 − (m_i(1) − m_i(2)), one minus the lead of the likeliest class over the next (Scheffer 2001)."""
    top_n_2 = log_probs_n_K_C.exp().mean(1).topk(2).values
    return 1 - (top_n_2[:, 0] - top_n_2[:, 1])


def variation_ratio(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, " n"]:
    """1 − (votes for the commonest class) / K, where every posterior sample votes for its likeliest class.

    A sample that is undecided between classes votes for the first of them. (Freeman 1965; Gal 2016, section 3.3.)
    """
    votes_n_K = log_probs_n_K_C.argmax(-1)
    K = log_probs_n_K_C.shape[1]
    counts_n_C = torch.zeros_like(log_probs_n_K_C[:, 0]).scatter_add_(
        1, votes_n_K, torch.ones_like(log_probs_n_K_C[..., 0])
    )
    return 1 - counts_n_C.amax(-1) / K


def mean_std(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, " n"]:
    """mean_c std_k p_ikc, the standard deviation over the posterior samples (Kampffmeyer 2016; Gal 2017)."""
    return log_probs_n_K_C.exp().std(1, correction=0).mean(-1)


OF_DISAGREEMENT = frozenset({bald, variation_ratio, mean_std})
"""The scores that compare the posterior samples with each other: with K = 1 they are zero for every item."""
