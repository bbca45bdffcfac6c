"""Discounted: a score of single items, times the share of their information that the batch leaves open."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tonsure.arguments import real, score_function, setting
from tonsure.objectives.base import NoNotes, Objective, Structure
from tonsure.objectives.gram import as_square, as_vector, bald_and_gram, matrix_bytes, samples_of, trace_of
from tonsure.scores import OF_DISAGREEMENT, margin, score_of

STRONGEST = 1e9
"""With a larger strength, what no item has observed is lost in the rounding of what one has."""


@dataclass(frozen=True, repr=False)
class Discounted(Objective[Tensor, NoNotes]):
    """gain(x_i | S) = score(x_i) · ⟨G_i, P_S⟩ / tr G_i, with P_S = (I + strength · Σ_{j∈S} s_j G_j)⁻¹.

    G_i (K × K) is that of ``SecondOrderLBB``, s_j = 2 I(y_j; θ) / tr G_j, and P_S the posterior covariance of θ after a
    batch of Gaussian observations, in the space of the K samples. The second factor lies in [0, 1]. The score may be
    any uncertainty; redundancy is measured by the posterior samples. With ``bald`` this is the derivative of
    ``LogDet``, ½ log det(I + Σ s_j G_j), for a small part of the item. An item on which all samples agree keeps its
    score, so with K = 1 nothing is discounted.

    The state is one K × K matrix, and a step costs O(N·K²), for any batch size and number of classes. Gains have the
    unit of the score, never increase, and are never negative. The gain of a step is defined, so the value of a batch
    depends on the order in which its items were chosen. With few samples (an ensemble of five has four directions) all
    directions are soon observed, and the discount is the same for all items.

    Source: the product of a score and a diversity term is that of determinantal point processes with quality and
    diversity (Kulesza & Taskar 2012; for batches Bıyık et al. 2019, arXiv 1906.07975). The share of an item's matrix in
    the space of the samples is ours (docs/methods/log-det.md).

    Args:
        score: a function of ``log_probs_n_K_C`` that gives [n] numbers of at least 0.
        strength: the number of labels that a chosen item counts for; larger values spread batches further, 0 is
            ``Pointwise(score)``.

    Raises:
        InputError: the score is no function, or the strength is out of range.
    """

    score: Callable[[Tensor], Tensor] = setting(score_function, margin)
    strength: float = setting(real(least=0, most=STRONGEST), 1.0)
    structure: ClassVar[Structure] = Structure.SUBMODULAR
    updates_notes: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"Discounted({getattr(self.score, '__name__', self.score)}, strength={self.strength})"

    @property
    def samples_needed(self) -> int:
        return 2 if self.score in OF_DISAGREEMENT else 1

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        """The score, I(y_i; θ), and the upper triangle of G_i / tr G_i: [n, 2 + D]."""
        K = log_probs_n_K_C.shape[1]
        items_n_D = bald_and_gram(log_probs_n_K_C)
        trace_n_1 = trace_of(items_n_D, K)[:, None]
        # The samples never differ along 11ᵀ, so that of this direction nothing is ever told.
        nowhere_D = as_vector(torch.full((K, K), 1 / K, dtype=items_n_D.dtype, device=items_n_D.device))
        told = trace_n_1 > torch.finfo(items_n_D.dtype).tiny
        shape_n_D = torch.where(told, items_n_D[:, 1:] / torch.where(told, trace_n_1, 1), nowhere_D[1:])
        score_n_1 = score_of(self.score, log_probs_n_K_C).to(items_n_D.dtype)[:, None]
        return torch.cat([score_n_1, items_n_D[:, :1], shape_n_D], 1)

    def init_state(self, like: Tensor) -> Tensor:
        """I + strength · Σ_{j∈S} s_j G_j, and its inverse, as ``bald_and_gram`` writes a matrix: [2, 1 + D]."""
        identity_K_K = torch.eye(samples_of(like[:, 1:]), dtype=torch.float64, device=like.device)
        return as_vector(identity_K_K).expand(2, -1)

    def update_state(self, state: Tensor, chosen_1: Tensor) -> Tensor:
        bald, shape_D = chosen_1[0, 1].double(), chosen_1[0, 2:].double()
        precision_D = state[0].clone()
        precision_D[1:] += self.strength * 2 * bald * shape_D
        left_K_K = torch.linalg.inv(as_square(precision_D, samples_of(chosen_1[:, 1:])))
        return torch.stack([precision_D, as_vector((left_K_K + left_K_K.T) / 2)])

    def gain(self, state: Tensor, notes: NoNotes, items: Tensor) -> Tensor:
        left_n = items[:, 2:] @ state[1, 1:].to(items.dtype)
        return items[:, 0].double() * left_n.clamp_(0, 1).double()

    def working_bytes(self, like: Tensor, k: int) -> int:
        return matrix_bytes(like)
