"""Calibration: mean predictions, what a temperature makes of them, and how far their confidence is from accuracy."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def log_mean_probs(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, "n C"]:
    """log 1/K Σ_k p(y = c | x_i, θ_k)"""
    return log_probs_n_K_C.double().logsumexp(dim=1) - math.log(log_probs_n_K_C.shape[1])


def tempered(log_probs_n_C: Float[Tensor, "n C"], temperature: float) -> Float[Tensor, "n C"]:
    """log p_ic^(1/T) / Σ_c' p_ic'^(1/T); an impossible class stays impossible (Guo et al. 2017)."""
    return (log_probs_n_C / temperature).log_softmax(dim=1)


def calibration_error_of(
    log_mean_probs_n_C: Float[Tensor, "n C"], labels_n: Int[Tensor, " n"], bins: int = 15
) -> float:
    """Σ_b n_b/n |accuracy in b − mean confidence in b|,  b = ((j−1)/bins, j/bins]

    The confidence is the probability of the most probable class. Naeini, Cooper & Hauskrecht 2015; Guo et al.
    2017.
    """
    log_confidence_n, predicted_n = log_mean_probs_n_C.max(dim=1)
    confidence_n = log_confidence_n.exp()
    bin_n = (confidence_n * bins).ceil().long().clamp(1, bins) - 1
    # n_b cancels: what is left of a bin is the sum over its items of (right − confidence).
    excess_n = (predicted_n == labels_n).double() - confidence_n
    excess = torch.zeros(bins, dtype=torch.float64).index_add_(0, bin_n, excess_n)
    return float(excess.abs().sum() / len(labels_n))
