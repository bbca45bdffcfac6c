"""BatchBALD: the joint mutual information of the labels of a batch and the parameters of the model."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tonsure.arguments import setting, whole
from tonsure.information import blocks, entropy_of_samples, x_log_x
from tonsure.objectives.base import Objective

GROUPS = 16

DECIDED = 1e-6
"""Nats: with a smaller posterior entropy of θ, the gain of a labeling is only rounding."""

MOST = 2**20
"""Labelings: more would not fit into memory, or take days."""

TINY = 1e-300


class Labelings(NamedTuple):
    """Labelings of the chosen items, with the posterior of each and the entropy of θ that remains.

    While there are few labelings, all of them with their probabilities, in one group. Later a sample, in independent
    groups, so that the spread between the groups estimates the error.
    """

    posterior_M_K: Tensor
    weight_M: Tensor
    left: float
    left_G: Tensor
    size: int


class EntropyNotes(NamedTuple):
    entropy_n_K: Tensor


@dataclass(frozen=True)
class BatchBALD(Objective[Labelings, EntropyNotes]):
    """f(S) = I(y_S; θ) = log K − E_{y_S} H[θ | y_S], at most log K.

    Given a labeling m of the chosen items, the gain of an item is I(y; θ | m) = H[Σ_k w_mk p_k] − Σ_k w_mk H[p_k] ≥ 0
    nats, where w_m is the posterior over the K samples. Labelings are enumerated up to ``labelings``. Beyond, as many
    are drawn from their joint distribution by systematic sampling: of the M·C labelings with one more label, M are
    kept, evenly spaced in cumulated probability.

    The remaining entropy of θ is estimated as a product, log K · Π_t ρ_t, where ρ_t = E H[θ | y_≤t] / E H[θ | y_<t].
    Both means are over the same labelings, and the sum over the new label is exact, so ρ_t lies in [0, 1]. The total
    therefore never decreases, never exceeds log K, and is exact (to 1e-6 nats) while all labelings are enumerated.
    Gains from a sample are not comparable between steps, so the structure is general.

    A step costs O(N·M·K·C). Needs K ≥ 2.
    Source: Kirsch, van Amersfoort & Gal 2019, arXiv 1906.08158, section 3; systematic sampling: Kitagawa 1996. The
    estimate of the total is ours (docs/methods/README.md says what we looked for).

    Args:
        labelings: M, the largest number of labelings, from 32 to 2²⁰.
        seed: of the draws; the same seed gives the same gains.

    Raises:
        InputError: a setting is out of range.
    """

    labelings: int = setting(whole(2 * GROUPS, MOST), 2048)
    seed: int = setting(whole(0), 0)
    prepares: ClassVar[bool] = False
    updates_notes: ClassVar[bool] = False
    rounding: ClassVar[float] = 1e-4  # that of the labelings, times how far they fall short of what is left

    @property
    def samples_needed(self) -> int:
        return 2

    def init_state(self, like: Tensor) -> Labelings:
        K = like.shape[1]
        weight_M = torch.ones(1, dtype=torch.float64, device=like.device)
        return Labelings(weight_M.expand(1, K) / K, weight_M, math.log(K), weight_M * math.log(K), 0)

    def update_state(self, state: Labelings, chosen_1: Tensor) -> Labelings:
        log_probs_1_K_C = chosen_1.double()
        probs_K_C = log_probs_1_K_C[0].exp()
        label_probs_M_C = state.posterior_M_K @ probs_K_C
        before_M = torch.special.entr(state.posterior_M_K).sum(1)
        label_entropy_M = state.posterior_M_K @ entropy_of_samples(log_probs_1_K_C)[0]
        after_M = before_M + label_entropy_M - torch.special.entr(label_probs_M_C).sum(1)
        left = state.left - float(self.gain(state, self.init_notes(chosen_1), chosen_1))
        groups = len(state.left_G)
        left_G = state.left_G * _share(
            (after_M * state.weight_M).view(groups, -1).sum(1),
            (before_M * state.weight_M).view(groups, -1).sum(1),
        )

        weight_MC = label_probs_M_C.mul_(state.weight_M[:, None]).flatten()
        if groups > 1 or weight_MC.count_nonzero() > self.labelings:
            kept = self._draw(weight_MC.view(groups, -1), state.size)
            weight_M = weight_MC.new_full(kept.shape, 1 / len(kept))
            left_G = left_G.expand(GROUPS)
        else:
            kept = weight_MC.nonzero()[:, 0]
            weight_M = weight_MC[kept]
        C = probs_K_C.shape[1]
        joint_M_K = state.posterior_M_K[kept // C] * probs_K_C.T[kept % C]
        return Labelings(joint_M_K / joint_M_K.sum(1, keepdim=True), weight_M, left, left_G, state.size + 1)

    def init_notes(self, items: Tensor) -> EntropyNotes:
        return EntropyNotes(entropy_of_samples(items))

    def gain(self, state: Labelings, notes: EntropyNotes, items: Tensor) -> Tensor:
        n, _, C = items.shape
        entropy_M = torch.special.entr(state.posterior_M_K).sum(1)
        undecided = entropy_M > DECIDED
        if not undecided.any():
            return torch.zeros(n, dtype=torch.float64, device=items.device)
        posterior_M_K, weight_M = state.posterior_M_K[undecided], state.weight_M[undecided]
        # The labelings may fall short of, or exceed, the estimate of what is left.
        value_M = weight_M * (state.left / (weight_M @ entropy_M[undecided]))
        gain_n = -notes.entropy_n_K.double() @ (value_M @ posterior_M_K)
        value_M, posterior_M_K = value_M.to(items.dtype), posterior_M_K.to(items.dtype)
        for rows in blocks(n, C * len(value_M), items.device):
            probs_K_nC = items[rows].transpose(0, 1).exp().flatten(1)
            # Some classes at a time, where those of a single item are too many.
            some_K = (probs_K_nC[:, some] for some in blocks(probs_K_nC.shape[1], len(value_M), items.device))
            entropy_nC = -torch.cat([value_M @ x_log_x(posterior_M_K @ probs_K_c) for probs_K_c in some_K])
            gain_n[rows] += entropy_nC.view(-1, C).sum(1)
        return gain_n.clamp_(0, state.left)

    def ceiling(self, like: Tensor) -> float:
        return math.log(like.shape[1])

    def working_bytes(self, like: Tensor, k: int) -> int:
        """Of the labelings with one more label, and of their posteriors."""
        _, K, C = like.shape
        M = min(self.labelings, C ** min(k - 1, 64))  # before the last item
        return 8 * M * (5 * C + 6 * K)

    def standard_error(self, state: Labelings) -> float:
        """s / √G, with s the standard deviation over G groups of labelings; zero while all are enumerated."""
        groups = len(state.left_G)
        return float(state.left_G.std() / math.sqrt(groups)) if groups > 1 else 0.0

    def _draw(self, weight_G_MC: Float[Tensor, "G MC"], step: int) -> Int[Tensor, " M"]:
        """Systematic sampling (Kitagawa 1996, section 2): in each group one random offset and evenly spaced points."""
        generator = torch.Generator().manual_seed((1_000_003 * self.seed + step) % 2**63)
        offset_G_1 = torch.rand(GROUPS, 1, dtype=torch.float64, generator=generator).to(weight_G_MC.device)
        draws = self.labelings // GROUPS
        point_G_m = (torch.arange(draws, device=weight_G_MC.device) + offset_G_1) / draws
        cumulated_G_MC = weight_G_MC.cumsum(1)
        cumulated_G_MC /= cumulated_G_MC[:, -1:].clone()
        first = torch.arange(len(weight_G_MC), device=weight_G_MC.device)[:, None] * weight_G_MC.shape[1]
        one = len(weight_G_MC) == 1  # then all groups are drawn from the same, which is not copied for each
        return (
            torch.searchsorted(cumulated_G_MC[0] if one else cumulated_G_MC, point_G_m, right=True) + first
        ).flatten()


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, in [0, 1]; zero where the whole is zero."""
    return (part / whole.clamp_min(TINY)).clamp(0, 1)
