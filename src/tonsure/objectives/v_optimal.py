"""VOptimal: the decrease of the expected uncertainty about target inputs by a batch."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tonsure.objectives.base import NoNotes, Structure
from tonsure.objectives.epig import mean_gram
from tonsure.objectives.log_det import calibrated_roots, inner, remaining
from tonsure.objectives.with_targets import WithTargets


@dataclass(frozen=True, eq=False, repr=False)
class VOptimal(WithTargets[Tensor, NoNotes]):
    """f(S) = ½ tr M_T − ½ tr(M_T (I + Σ_{i∈S} s_i G_i)⁻¹), with M_T = mean_t G_t.

    To second order, ½ tr M_T is the mean mutual information of the targets' labels and θ, in nats. The second term is
    what remains of it once the batch is labeled, if the K samples have Gaussian deviations. G_i and s_i are those of
    ``LogDet``. Gains are not negative, but may increase while the batch grows.

    A step costs O(N·K·D·(K + D)) with D = min(K, C), for every row.
    Source: the V-optimal design of Bayesian linear regression; the criterion of BAIT (Ash et al. 2021, arXiv
    2106.09675), there in the space of the last layer's weights. The space of the samples is ours
    (docs/methods/targets.md).
    """

    structure: ClassVar[Structure] = Structure.GENERAL
    updates_notes: ClassVar[bool] = False

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        return calibrated_roots(log_probs_n_K_C)

    def init_state(self, like: Tensor) -> Tensor:
        """The posterior covariance and M_T: [2, K, K]."""
        identity_K_K = torch.eye(like.shape[1], dtype=torch.float64, device=like.device)
        return torch.stack([identity_K_K, mean_gram(self.targets_like(like))])

    def update_state(self, state: Tensor, chosen_1: Tensor) -> Tensor:
        return torch.stack([remaining(state[0], chosen_1), state[1]])

    def gain(self, state: Tensor, notes: NoNotes, items: Tensor) -> Tensor:
        covariance_K_K, targets_K_K = state
        seen_n_D_D = inner(covariance_K_K @ targets_K_K @ covariance_K_K, items)
        identity = torch.eye(items.shape[2], dtype=items.dtype, device=items.device)
        after_n_D_D = torch.linalg.solve(inner(covariance_K_K, items) + identity, seen_n_D_D)
        return 0.5 * after_n_D_D.diagonal(dim1=1, dim2=2).double().sum(1)

    def ceiling(self, like: Tensor) -> float:
        return 0.5 * float(mean_gram(self.targets_like(like)).trace())
