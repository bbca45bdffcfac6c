"""The computation of the code released with Large BatchBALD (arXiv 2301.05490), rewritten from its description.

None of that code is used. ``ReleasedLBB`` in experiments/ documents the score. Here it is computed as that code does:
every product p_ikc · p_jkc of a block of the pool is computed and kept: O(N · 1,024 · K · C) instead of O(N · K · C).
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

import tonsure as tn

BLOCK = 1024
"""Items that are compared with each other, in pool order."""

CHUNK = 256
"""Items of a block whose products with all others of it are held at once."""


def released_batch(log_probs_N_K_C: Float[Tensor, "N K C"], k: int) -> list[int]:
    """The k rows with the largest scores."""
    score_N = torch.cat([_scores(block_n_K_C) for block_n_K_C in log_probs_N_K_C.double().split(BLOCK)])
    return score_N.topk(k).indices.tolist()


def _scores(log_probs_n_K_C: Float64[Tensor, "n K C"]) -> Float64[Tensor, " n"]:
    """s_i = I(y_i; θ) + Σ_c A_ic [log(1 + A_ic) − log(1 + B_ic)], A and B summed over the others of the block."""
    probs_n_K_C = log_probs_n_K_C.exp()
    mean_n_C = probs_n_K_C.mean(1)
    extra: list[Tensor] = []
    for rows in torch.arange(len(probs_n_K_C)).split(CHUNK):
        products_m_n_K_C = probs_n_K_C[rows][:, None] * probs_n_K_C
        together_m_n_C = products_m_n_K_C.mean(2)
        apart_m_n_C = mean_n_C[rows][:, None] * mean_n_C
        itself = torch.arange(len(rows))
        together_m_n_C[itself, rows] = apart_m_n_C[itself, rows] = 0.0
        together_m_C, apart_m_C = together_m_n_C.sum(1), apart_m_n_C.sum(1)
        extra.append((together_m_C * (together_m_C.log1p() - apart_m_C.log1p())).sum(1))
    return tn.bald(log_probs_n_K_C) + torch.cat(extra)
