"""Items of second-order objectives: one K × K matrix each, in the space of the posterior samples."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.information import bald_of, deviations


def bald_and_gram(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Float[Tensor, "n D"]:
    """I(y_i; θ) and the upper triangle of G_i = Z_i Z_iᵀ, [n, 1 + K(K + 1)/2].

    Entries off the diagonal are multiplied by √2, so that inner products of rows are those of the matrices.
    """
    probs_n_K_C = log_probs_n_K_C.exp()
    mean_n_C = probs_n_K_C.mean(1)
    deviations_n_K_C = deviations(probs_n_K_C, mean_n_C)
    bald_n = bald_of(probs_n_K_C, mean_n_C)
    gram_n_KK = (deviations_n_K_C @ deviations_n_K_C.transpose(1, 2)).flatten(1)
    place_D, scale_D = _upper_triangle(probs_n_K_C.shape[1], gram_n_KK.dtype, gram_n_KK.device)
    items_n_D = gram_n_KK.index_select(1, place_D).mul_(scale_D)
    items_n_D[:, 0] = bald_n
    return items_n_D


def trace_of(items_n_D: Float[Tensor, "n D"], K: int) -> Float[Tensor, " n"]:
    """tr G_i of items from ``bald_and_gram``: to second order 2 I(y_i; θ)."""
    row_D, column_D = _places(K, items_n_D.device)
    return items_n_D[:, row_D == column_D][:, 1:].sum(1)


def without_chance(items_n_D: Float[Tensor, "n D"], K: int) -> Float[Tensor, "n D"]:
    """G_i − tr(G_i) / (K − 1) · (I − 11ᵀ / K): each matrix without its isotropic part.

    The inner product of two results is ⟨G_i, G_j⟩ − tr(G_i)·tr(G_j) / (K − 1). The subtracted term is the mean of
    ⟨G_i, G_j⟩ over all permutations of the samples of one item, which make the items independent.
    """
    identity_K_K = torch.eye(K, dtype=items_n_D.dtype, device=items_n_D.device)
    row_D, column_D = _places(K, items_n_D.device)
    _, scale_D = _upper_triangle(K, items_n_D.dtype, items_n_D.device)
    chance_D = ((identity_K_K - 1 / K) / (K - 1))[row_D, column_D] * scale_D
    chance_D[0] = 0
    return items_n_D - trace_of(items_n_D, K)[:, None] * chance_D


def as_square(vector_D: Float[Tensor, " D"], K: int) -> Float[Tensor, "K K"]:
    """The symmetric matrix with this upper triangle, in the layout of ``bald_and_gram``."""
    row_D, column_D = _places(K, vector_D.device)
    _, scale_D = _upper_triangle(K, vector_D.dtype, vector_D.device)
    square_K_K = vector_D.new_zeros(K, K)
    square_K_K[row_D[1:], column_D[1:]] = (vector_D / scale_D)[1:]
    return square_K_K + square_K_K.triu(1).T


def as_vector(square_K_K: Float[Tensor, "K K"]) -> Float[Tensor, " D"]:
    """The inverse of ``as_square``: its inner product with an item is that of the matrices, with 0 · I(y_i; θ)."""
    row_D, column_D = _places(len(square_K_K), square_K_K.device)
    _, scale_D = _upper_triangle(len(square_K_K), square_K_K.dtype, square_K_K.device)
    vector_D = square_K_K[row_D, column_D] * scale_D
    vector_D[0] = 0
    return vector_D


def matrix_bytes(like: Tensor) -> int:
    """Bytes of a dozen matrices of the samples, [K, K]: more than an objective holds at once."""
    return 12 * 8 * like.shape[1] ** 2


def samples_of(items_n_D: Float[Tensor, "n D"]) -> int:
    """K, where D = 1 + K(K + 1)/2."""
    return int(((8 * (items_n_D.shape[1] - 1) + 1) ** 0.5 - 1) / 2 + 0.5)


@lru_cache
def _places(K: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns of the upper triangle. The first place is repeated in front, for I(y_i; θ)."""
    row_D, column_D = torch.nn.functional.pad(torch.triu_indices(K, K, device=device), (1, 0))
    return row_D, column_D


@lru_cache
def _upper_triangle(K: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The places in K · K numbers, and the factors that preserve inner products without the lower triangle."""
    row_D, column_D = _places(K, device)
    scale_D = torch.full(row_D.shape, 2**0.5, dtype=dtype, device=device)
    scale_D[row_D == column_D] = 1
    return row_D * K + column_D, scale_D
