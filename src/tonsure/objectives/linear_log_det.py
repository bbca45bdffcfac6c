"""LinearLogDet: how much of an item's information is left, by the covariance that a Gaussian batch leaves."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tonsure.objective import Gains, NoNotes, Objective
from tonsure.objectives.gram import as_square, as_vector, bald_and_gram, samples_of, trace_of


@dataclass(frozen=True)
class LinearLogDet(Objective[Tensor, NoNotes]):
    """gain(x_i | S) = ½ ⟨s_i G_i, (I + Σ_{j∈S} s_j G_j)⁻¹⟩, with s_i = 2 I(y_i; θ) / tr G_i.

    The gain of ``LogDet`` to first order in the item alone: I(y_i; θ) before anything is chosen, and then the share of
    it that the batch has not told yet. The state is one K × K matrix, and a step costs O(N·K²), as with
    ``SecondOrderLBB``, whatever the batch and the number of classes; but redundancy has all orders, so that gains only
    fall and are never negative. It is the gain of a step that is defined: what a batch is worth depends a little on
    the order in which its items joined. With few samples (an ensemble of five has four directions) all directions are
    soon told about, and what is left is in proportion to I(y_i; θ).

    G_i is that of ``SecondOrderLBB``.
    """

    gains: ClassVar[Gains] = Gains.FALLING

    @property
    def samples_needed(self) -> int:
        return 2

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        """The upper triangle of s_i G_i, as ``bald_and_gram`` writes it, after I(y_i; θ): [n, 1 + D]."""
        items_n_D = bald_and_gram(log_probs_n_K_C)
        trace_n = trace_of(items_n_D, log_probs_n_K_C.shape[1])
        tiny = torch.finfo(items_n_D.dtype).tiny
        items_n_D[:, 1:] *= (2 * items_n_D[:, 0] / trace_n.clamp_min(tiny))[:, None]  # at most 2: I(y; θ) ≤ tr G
        return items_n_D

    def first_state(self, like: Tensor) -> Tensor:
        """I + Σ_{j∈S} s_j G_j, and its inverse as an item is written, halved."""
        K = samples_of(like)
        identity_K_K = torch.eye(K, dtype=torch.float64, device=like.device)
        return torch.stack([as_vector(identity_K_K), 0.5 * as_vector(identity_K_K)])

    def next_state(self, state: Tensor, chosen_1: Tensor) -> Tensor:
        precision_D = state[0] + torch.nn.functional.pad(chosen_1[0, 1:].double(), (1, 0))
        covariance_K_K = torch.linalg.inv(as_square(precision_D, samples_of(chosen_1)))
        return torch.stack([precision_D, 0.5 * as_vector((covariance_K_K + covariance_K_K.T) / 2)])

    def gain(self, state: Tensor, notes: NoNotes, items: Tensor) -> Tensor:
        return (items @ state[1].to(items.dtype)).double()
