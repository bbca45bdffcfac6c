"""BAIT: a batch that minimizes the Fisher information of the pool relative to that of the labeled rows."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from tonsure.arguments import flag, optional, real, setting, whole
from tonsure.errors import InputError
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, selected
from tonsure.strategies.distances import largest, unit_of
from tonsure.strategies.memory import DOUBLE, sizes

LARGEST = 4096
"""The largest C · D, the number of weights of the last layer."""

LONGEST = 1e10
"""The largest ‖h‖² / λ: beyond, rounding of the one is as large as the other, where only λ keeps M_S invertible."""

NEGLIGIBLE = 2.0**200
"""λ / ‖h‖² above which the order of all decreases is that of the limit."""

BLOCK = 1024
"""Items at a time, each with as many numbers as the last layer has weights."""


@dataclass(frozen=True, repr=False)
class BAIT(Strategy):
    """min_S tr(M_S⁻¹ F),   M_S = λ 1 + Σ_{x labeled or in S} I(x),   F = 1/n Σ_{x unlabeled} I(x)

    I(x) = (diag(p) − p pᵀ) ⊗ h hᵀ is the Fisher information of the last layer's weights [C·D], without its bias; p is
    the mean prediction and h are the features. Rows are added one by one, each time the one that decreases the trace
    most, until there are ``oversampling`` · k. Then they are removed one by one, each time the one that increases it
    least. Ties go to the lowest row.

    A gain is the decrease of the trace when the row was added, before removals. Computed in float64; the traces are
    updated by Woodbury's identity, O(n·C²·(C + D) + (C·D)²·C) a step. Memory: four matrices [C·D, C·D] and three
    tensors [n, C, C].

    With ``binary``, I(x) = p̂ (1 − p̂) h hᵀ with p̂ = max_c p_c, the information of a binary model of whether ŷ is
    right: one matrix [D, D] for any number of classes. With ``likeliest`` = c, I(x) is the expectation over the c most
    probable classes alone, Σ_y p_y (e_y − p)(e_y − p)ᵀ ⊗ h hᵀ, whose p_y are not divided by their sum (whether the
    paper's are, we do not know): [n, c, c] in place of [n, C, C]. Ties go to the first class. These are "BAIT (Binary)"
    and "BAIT (Exp)" of Huseljic, Hahn, Herde, Rauch & Sick 2024, arXiv 2404.08981.
    Source: Ash, Goel, Krishnamurthy & Kakade 2021, arXiv 2106.09675, algorithm 1. Informations are summed here; the
    released code weights the labeled rows and the batch by shares of their number, with the same λ = 1.

    Args:
        prior: λ, above 0.
        oversampling: the number of rows that are added, in multiples of k, from 1 to 10⁶; with 1 none is removed.
        binary: whether to use the most probable class alone.
        likeliest: the number of most probable classes that the expectation runs over; None, or as many as there are
            classes, is all. Not together with ``binary``.

    Raises:
        InputError: a setting is out of range, or both ``binary`` and ``likeliest`` are set; in ``choose``, C · D is
            above 4,096, or the features of a row are longer than 1e5 · √λ (the message names the row).
    """

    prior: float = setting(real(above=0), 1.0)
    oversampling: float = setting(real(least=1, most=1e6), 2.0)
    binary: bool = setting(flag, False)
    likeliest: int | None = setting(optional(whole(1)), None)
    needs_features: ClassVar[bool] = True
    uses_last_layer: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True
    needs_labeled_predictions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.binary and self.likeliest is not None:
            raise InputError(
                f"BAIT: likeliest is {self.likeliest}, expected None with binary=True, which has one class"
            )

    def __repr__(self) -> str:
        likeliest = "" if self.likeliest is None else f", likeliest={self.likeliest}"
        return f"BAIT(prior={self.prior}, oversampling={self.oversampling}, binary={self.binary}{likeliest})"

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        """As ``Strategy.choose``; the generator is not used."""
        return selected(self, state, k, self._picks(state.of_last_layer(), k))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state.of_last_layer())
        C = 1 if self.binary else at.C
        features = at.copied + (at.N + 2 * at.n + 2 * at.m) * at.D * DOUBLE
        # Of n · C² numbers 14 are in use at once, each; the allocator was seen to hold up to 60, as every step frees
        # tensors of this size and asks for others.
        information = (60 * at.n + 6 * at.m) * C**2 * DOUBLE + 10 * (C * at.D) ** 2 * DOUBLE
        return at.rows + features + at.means(at.N) + information + 2 * max(BLOCK, C) * C * at.D * DOUBLE

    def _picks(self, state: PoolState, k: int) -> Iterator[tuple[int, float]]:
        unit = unit_of(state.features())
        features_N_D = state.features().double() / unit
        prior = self.prior / unit / unit  # in which all is as with the features as they are
        self._check_lengths(features_N_D, prior, unit)
        at_least = min(prior, NEGLIGIBLE)
        probs_n_C, probs_m_C = state.mean_probs(), state.labeled_mean_probs()
        C, D = 1 if self.binary else probs_n_C.shape[1], features_N_D.shape[1]
        if C * D > LARGEST:
            raise InputError(
                f"{self} compares all C · D weights of the last layer with each other: {C} classes · {D} features = "
                f"{C * D:,}, expected at most {LARGEST:,}; BAIT(binary=True) takes all classes for one"
            )
        factor_n_C_c, factor_m_C_c = self._factors(probs_n_C), self._factors(probs_m_C)
        features_n_D = features_N_D[state.unlabeled_rows]
        labeled = _fisher(factor_m_C_c, features_N_D[state.labeled_rows])
        asked = _fisher(factor_n_C_c, features_n_D) / len(features_n_D)
        traces = _Traces(factor_n_C_c, features_n_D, at_least, labeled, asked)
        joined: dict[int, float] = {}
        out_n = ~state.choosable_n.to(features_n_D.device)
        for _ in range(min(len(state.choosable_rows), int(self.oversampling * k))):
            change_n = traces.falls(1).masked_fill(out_n, -torch.inf)
            item = largest(change_n)
            joined[item] = float(change_n[item])
            out_n[item] = True
            traces.update(item, 1)
        traces.keep(torch.tensor(list(joined)))
        while len(joined) > k:
            rest = list(joined)
            place = largest(traces.falls(-1))
            traces.update(place, -1)
            traces.keep(torch.tensor([other for other in range(len(rest)) if other != place]))
            del joined[rest[place]]
        for item, gain in joined.items():
            yield int(state.unlabeled_rows[item]), gain * (at_least / prior) ** 2

    def _check_lengths(self, features_N_D: Float64[Tensor, "N D"], prior: float, unit: float) -> None:
        squared_N = features_N_D.square().sum(1)
        if squared_N.max() > LONGEST * prior:
            row = int(squared_N.argmax())
            length = min(float(squared_N[row].sqrt()) * unit, sys.float_info.max)
            raise InputError(
                f"{self}: the features of row {row} have the length {length:.3g}, expected at most "
                f"{LONGEST**0.5 * self.prior**0.5:.3g} with this prior: divide all features by a number"
            )

    def _factors(self, probs_n_C: Float64[Tensor, "n C"]) -> Float64[Tensor, "n ..."]:
        """U with U Uᵀ = diag(p) − p pᵀ, [n, C, C], or its ``likeliest`` columns; with ``binary`` U² = p̂ (1 − p̂)."""
        if self.binary:
            most_n = probs_n_C.amax(dim=1)
            return (most_n * (1 - most_n)).clamp_min(0).sqrt()[:, None, None]
        root_n_C = probs_n_C.sqrt()
        factor_n_C_C = root_n_C.diag_embed() - probs_n_C[:, :, None] * root_n_C[:, None, :]
        if self.likeliest is None or self.likeliest >= probs_n_C.shape[1]:
            return factor_n_C_C
        likeliest_n_c = probs_n_C.sort(descending=True, stable=True).indices[:, : self.likeliest]
        return factor_n_C_C.take_along_dim(likeliest_n_c[:, None, :], 2)


def _fisher(factor_n_C_c: Float64[Tensor, "n C c"], features_n_D: Float64[Tensor, "n D"]) -> Tensor:
    """Σ_i (U_i U_iᵀ) ⊗ h_i h_iᵀ, [C · D, C · D], with the weights ordered by class."""
    C, D = factor_n_C_c.shape[1], features_n_D.shape[1]
    information_n_C_C = factor_n_C_c @ factor_n_C_c.transpose(1, 2)
    sum_C_D_C_D = features_n_D.new_zeros(C, D, C, D)
    for one in range(C):
        for other in range(one + 1):
            block = (features_n_D * information_n_C_C[:, one, other, None]).T @ features_n_D
            sum_C_D_C_D[one, :, other] = sum_C_D_C_D[other, :, one] = block
    return sum_C_D_C_D.reshape(C * D, C * D)


class _Traces:
    """The decrease of tr(M⁻¹ F) when I(x) = V Vᵀ is added to M or removed from it, for every item x, with V = U ⊗ h.

    U has c columns, one for each class that the expectation runs over.

    With s = 1 for addition and s = −1 for removal, A = Vᵀ M⁻¹ V and B = Vᵀ M⁻¹ F M⁻¹ V::

        (M + s V Vᵀ)⁻¹ = M⁻¹ − W G Wᵀ,   W = M⁻¹ V,   G = (s 1 + A)⁻¹
        tr(M⁻¹ F) − tr((M + s V Vᵀ)⁻¹ F) = tr(G B)

    A and B of all other items are updated from their products with W and M⁻¹ F W, without M.
    """

    def __init__(
        self,
        factor_n_C_c: Float64[Tensor, "n C c"],
        features_n_D: Float64[Tensor, "n D"],
        prior: float,
        labeled: Tensor,
        asked: Tensor,
    ) -> None:
        self._factor_n_C_c, self._features_n_D, self._asked = factor_n_C_c, features_n_D, asked
        self._shape = *factor_n_C_c.shape[1:], features_n_D.shape[1]
        identity = torch.eye(len(labeled), dtype=labeled.dtype, device=labeled.device)
        self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(labeled + prior * identity))
        self._a_n_c_c = self._form(self._inverse)
        self._b_n_c_c = self._form(self._inverse @ asked @ self._inverse)

    def falls(self, sign: int) -> Float64[Tensor, " n"]:
        """The decrease for every item if it is added (1) or removed (−1)."""
        identity = torch.eye(self._shape[1], dtype=torch.float64, device=self._a_n_c_c.device)
        solved_n_c_c = torch.linalg.solve(sign * identity + self._a_n_c_c, self._b_n_c_c)
        return solved_n_c_c.diagonal(dim1=1, dim2=2).sum(dim=1)

    def update(self, item: int, sign: int) -> None:
        """Adds (1) or removes (−1) the item."""
        (C, c, D), factor_C_c = self._shape, self._factor_n_C_c[item]
        identity = torch.eye(c, dtype=torch.float64, device=factor_C_c.device)
        inner = torch.linalg.inv(sign * identity + self._a_n_c_c[item])
        product = (self._inverse.reshape(-1, C, D) @ self._features_n_D[item]) @ factor_C_c  # W
        with_product = self._times(product)
        with_asked = self._times(self._inverse @ (self._asked @ product))
        half = with_product @ inner
        cross = half @ with_asked.transpose(1, 2)
        self._b_n_c_c = (
            self._b_n_c_c - cross - cross.transpose(1, 2) + half @ self._b_n_c_c[item] @ half.transpose(1, 2)
        )
        self._a_n_c_c = self._a_n_c_c - half @ with_product.transpose(1, 2)
        self._inverse = self._inverse - product @ inner @ product.T

    def keep(self, items: Tensor) -> None:
        """Drops all other items."""
        self._factor_n_C_c, self._features_n_D = self._factor_n_C_c[items], self._features_n_D[items]
        self._a_n_c_c, self._b_n_c_c = self._a_n_c_c[items], self._b_n_c_c[items]

    def _times(self, product: Tensor) -> Float64[Tensor, "n c c"]:
        """V_iᵀ Y for every item, Y of shape [C · D, c]."""
        C, c, D = self._shape
        product_D_C_c = product.reshape(C, D, c).transpose(0, 1).reshape(D, C * c)
        return self._factor_n_C_c.transpose(1, 2) @ (self._features_n_D @ product_D_C_c).view(-1, C, c)

    def _form(self, matrix: Tensor) -> Float64[Tensor, "n c c"]:
        """V_iᵀ Y V_i for every item, Y of shape [C · D, C · D]."""
        C, _, D = self._shape
        matrix_D = matrix.reshape(C, D, C, D).transpose(0, 1).reshape(D, C * C * D)
        found = [
            ((features @ matrix_D).view(-1, C * C, D) @ features[:, :, None]).view(-1, C, C)
            for features in self._features_n_D.split(max(1, BLOCK // C))
        ]
        return self._factor_n_C_c.transpose(1, 2) @ torch.cat(found) @ self._factor_n_C_c
