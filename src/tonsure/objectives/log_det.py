"""LogDet: the joint information of a batch of Gaussian observations, calibrated for each item."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.information import bald_of, deviations
from tonsure.objectives.base import NoNotes, Objective, Structure
from tonsure.objectives.gram import matrix_bytes

HALVINGS = 60


@dataclass(frozen=True)
class LogDet(Objective[Tensor, NoNotes]):
    """f(S) = ½ log det(I + Σ_{i∈S} s_i G_i), with s_i such that ½ log det(I + s_i G_i) = I(y_i; θ).

    G_i = Z_i Z_iᵀ (K × K) is that of ``SecondOrderLBB``. If the deviations of the samples were Gaussian, this would be
    the joint information I(y_S; θ) in nats, with redundancy of all orders. Its Taylor series in the G_i, cut after the
    second order, is ``SecondOrderLBB``. The scale s_i makes the value of a single item exact; without it, items whose
    samples are confident and disagree are too large. Unlike the information of K samples, it is not bounded by log K.
    Gains never increase and are never negative.

    A step costs O(N·K·D·(K + D)) with D = min(K, C), for rows that may win. Needs K ≥ 2.
    Source: the Gaussian channel (Cover & Thomas 2006, section 9.4). Log determinants of covariances of predictions for
    batches: Kirsch 2023, arXiv 2302.08981 (regression); Ober et al. 2024, arXiv 2501.08223 (classification). The
    calibration and the K × K form are ours (docs/methods/log-det.md).
    """

    structure: ClassVar[Structure] = Structure.SUBMODULAR
    updates_notes: ClassVar[bool] = False

    @property
    def samples_needed(self) -> int:
        return 2

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        """√s_i · Z_i, or another root of s_i G_i if that has fewer columns: [n, K, D]."""
        return calibrated_roots(log_probs_n_K_C)

    def init_state(self, like: Tensor) -> Tensor:
        """(I + Σ_{i∈S} s_i G_i)⁻¹: the posterior covariance of θ, in the space of the samples, [K, K]."""
        return torch.eye(like.shape[1], dtype=torch.float64, device=like.device)

    def update_state(self, state: Tensor, chosen_1: Tensor) -> Tensor:
        return remaining(state, chosen_1)

    def gain(self, state: Tensor, notes: NoNotes, items: Tensor) -> Tensor:
        return 0.5 * log_det_of(inner(state, items))

    def working_bytes(self, like: Tensor, k: int) -> int:
        return matrix_bytes(like)


def calibrated_roots(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, "n K D"]:
    """R_i with R_i R_iᵀ = s_i G_i and ½ log det(I + s_i G_i) = I(y_i; θ)."""
    probs_n_K_C = log_probs_n_K_C.exp()
    mean_n_C = probs_n_K_C.mean(1)
    root_n_K_D = deviations(probs_n_K_C, mean_n_C)
    K, C = root_n_K_D.shape[1:]
    if C > K:
        value_n_D, vector_n_K_D = torch.linalg.eigh(root_n_K_D @ root_n_K_D.transpose(1, 2))
        value_n_D = value_n_D.clamp_min(0)
        root_n_K_D = vector_n_K_D * value_n_D.sqrt()[:, None]
    else:
        value_n_D = torch.linalg.eigvalsh(root_n_K_D.transpose(1, 2) @ root_n_K_D).clamp_min(0)
    return (
        root_n_K_D * _scale(value_n_D.double(), bald_of(probs_n_K_C, mean_n_C).double()).to(root_n_K_D)[:, None, None]
    )


def _scale(value_n_D: Float[Tensor, "n D"], bald_n: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """√s with ½ Σ_d log(1 + s λ_d) = I(y; θ), by bisection of log s; 0 for items without information."""
    trace_n = value_n_D.sum(1)
    low_n = (bald_n / trace_n.clamp_min(1e-300)).clamp_min(1e-30).log()  # log(1 + x) ≤ x
    high_n = low_n + 30
    for _ in range(HALVINGS):
        middle_n = (low_n + high_n) / 2
        under_n = 0.5 * (middle_n.exp()[:, None] * value_n_D).log1p().sum(1) < bald_n
        low_n, high_n = torch.where(under_n, middle_n, low_n), torch.where(under_n, high_n, middle_n)
    return torch.where((bald_n > 0) & (trace_n > 0), (low_n / 2).exp(), 0.0)


def inner(covariance_K_K: Float[Tensor, "K K"], root_n_K_D: Float[Tensor, "n K D"]) -> Float[Tensor, "n D D"]:
    """R_iᵀ P R_i."""
    return root_n_K_D.transpose(1, 2) @ (covariance_K_K.to(root_n_K_D) @ root_n_K_D)


def log_det_of(inner_n_D_D: Float[Tensor, "n D D"]) -> Float[Tensor, " n"]:
    """log det(I + A_i) of positive semidefinite A_i."""
    identity = torch.eye(inner_n_D_D.shape[1], dtype=inner_n_D_D.dtype, device=inner_n_D_D.device)
    factor_n_D_D = torch.linalg.cholesky(inner_n_D_D + identity)
    return 2 * factor_n_D_D.diagonal(dim1=1, dim2=2).double().log().sum(1)


def remaining(covariance_K_K: Float[Tensor, "K K"], root_1_K_D: Float[Tensor, "1 K D"]) -> Float[Tensor, "K K"]:
    """(P⁻¹ + R Rᵀ)⁻¹ = P − P R (I + Rᵀ P R)⁻¹ Rᵀ P (Woodbury), exactly symmetric."""
    root_K_D = root_1_K_D[0].double()
    moved_K_D = covariance_K_K @ root_K_D
    inner_D_D = torch.eye(root_K_D.shape[1], dtype=torch.float64, device=root_K_D.device) + root_K_D.T @ moved_K_D
    after_K_K = covariance_K_K - moved_K_D @ torch.linalg.solve(inner_D_D, moved_K_D.T)
    return (after_K_K + after_K_K.T) / 2
