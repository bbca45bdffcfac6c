"""Distances between items."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

ROUNDING = 1e-12
"""Squared distances below this share of the squared norms are rounding errors of zero."""

RELATIVE_TIE = 1e-9
"""Values that differ by less, relative to the largest, are a tie: the order of a sum changes them by as much."""

BLOCK = 1024
"""Rows that are compared with all others at a time."""


def squared_distances(features_n_D: Float[Tensor, "n D"], others_m_D: Float[Tensor, "m D"]) -> Float[Tensor, "n m"]:
    """‖x_i − z_j‖² = ‖x_i‖² + ‖z_j‖² − 2 ⟨x_i, z_j⟩"""
    norms_n_m = features_n_D.square().sum(1)[:, None] + others_m_D.square().sum(1)
    return without_rounding(norms_n_m - 2 * (features_n_D @ others_m_D.T), norms_n_m)


def without_rounding(squared: Tensor, norms: Tensor) -> Tensor:
    """Squared distances, given the sums of the squared norms; zero where they are only rounding errors."""
    return squared.where(squared > ROUNDING * norms, 0.0)


def largest(values_n: Float64[Tensor, " n"]) -> int:
    """The position of the largest value; ties go to the first."""
    most = values_n.max()
    return int((values_n >= most - RELATIVE_TIE * most.abs()).nonzero()[0])


def on_the_sphere(features_n_D: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
    """h / ‖h‖, in float32; a zero vector stays zero."""
    features_n_D = features_n_D.float()
    # Before they are squared, as squares of float32 overflow and underflow soon.
    features_n_D = features_n_D / features_n_D.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return features_n_D / features_n_D.norm(dim=1, keepdim=True).clamp_min(0.5)


def normalized(features_n_D: Float64[Tensor, "n D"]) -> Float64[Tensor, "n D"]:
    """h / ‖h‖ in double precision; zero stays zero."""
    # Divided by the largest number first, as squares overflow and underflow soon.
    scaled_n_D = features_n_D / features_n_D.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return scaled_n_D / scaled_n_D.norm(dim=1, keepdim=True).clamp_min(0.5)
