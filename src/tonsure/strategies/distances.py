"""Distances between items, for features of any size."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from tonsure.errors import InputError
from tonsure.predictions.reader import rows_at_once
from tonsure.shapes import Rows

ROUNDING = 1e-12
"""Squared distances below this share of the squared norms are rounding errors of zero."""

RELATIVE_TIE = 1e-9
"""Values that differ by less, relative to the largest, are a tie: the order of a sum changes them by as much."""

NEAR_TIE = 1e-5
"""The same for means of distances among near copies, which rounding changes by more."""

HEADROOM = 2.0**470
"""Features of up to twice this size have squares, and sums of them, that neither overflow nor underflow."""

RANGE = 1e300
"""How many times larger the features of one row may be than those of another."""

BLOCK = 1024
"""Rows that are compared with all others at a time."""

DISTANCE_BYTES = 2**26
"""The most bytes of distances to centers at a time."""


def unit_of(numbers: Tensor) -> float:
    """The largest power of two that is at most the largest number; 1 if all are zero. Division by it is exact.

    What is computed of numbers divided by it is the same to the last bit, wherever it could be computed without.
    """
    least, most = (float(bound) for bound in numbers.aminmax())
    largest = max(-least, most)
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest > 0 else 1.0


def unit_of_rows(features_N_D: Float[Tensor, "N D"]) -> float:
    """``unit_of`` features whose distances are compared, after which they are multiplied by ``HEADROOM``.

    Raises:
        InputError: no unit is large enough for the largest row and small enough for another.
    """
    most_N = _most(features_N_D)[:, 0]
    least = most_N.where(most_N > 0, torch.inf).min()
    if most_N.max() / RANGE > least:
        large, small = int(most_N.argmax()), int((most_N == least).nonzero()[0])
        raise InputError(
            f"the features of row {large} are up to {float(most_N[large]):.3g}, those of row {small} at most "
            f"{float(least):.3g}: distances of both kinds of rows cannot be computed, as they differ by more than "
            f"{RANGE:.0e}"
        )
    return unit_of(most_N)


def squared_distances(features_n_D: Float[Tensor, "n D"], others_m_D: Float[Tensor, "m D"]) -> Float[Tensor, "n m"]:
    """‖x_i − z_j‖² = ‖x_i‖² + ‖z_j‖² − 2 ⟨x_i, z_j⟩"""
    norms_n_m = features_n_D.square().sum(1)[:, None] + others_m_D.square().sum(1)
    return without_rounding(norms_n_m - 2 * (features_n_D @ others_m_D.T), norms_n_m)


@dataclass(frozen=True, eq=False)
class Cloud:
    """Items whose distances to one center after another are asked for, in double precision.

    Attributes:
        features_n_D: in ``unit`` / ``HEADROOM``, so that no distance overflows or underflows.
        norms_n: their squared norms.
        unit: that of ``unit_of_rows``.
    """

    features_n_D: Float64[Tensor, "n D"]
    norms_n: Float64[Tensor, " n"]
    unit: float

    @classmethod
    def of(cls, features_N_D: Float[Tensor, "N D"], rows: Rows) -> "Cloud":
        """Some of the rows; raises InputError as ``unit_of_rows``."""
        unit = unit_of_rows(features_N_D)
        features_n_D = features_N_D[rows].double().div_(unit).mul_(HEADROOM)
        return cls(features_n_D, features_n_D.square().sum(1), unit)

    def squared_to(self, place: int) -> Float64[Tensor, " n"]:
        """The squared distance of each item to one of them."""
        both_n = self.norms_n + self.norms_n[place]
        return without_rounding(both_n - 2 * (self.features_n_D @ self.features_n_D[place]), both_n)

    def nearest(self, centers_m_D: Float[Tensor, "m D"]) -> tuple[Float64[Tensor, " n"], Int64[Tensor, " n"]]:
        """The squared distance of each item to the nearest center, and the place of the center; ties to the first."""
        centers_m_D = centers_m_D.double().div_(self.unit).mul_(HEADROOM)
        nearest_n = torch.empty_like(self.norms_n)
        place_n = torch.empty_like(self.norms_n, dtype=torch.int64)
        # Written in place: small tensors kept between the large ones of each block would split the heap.
        step = rows_by_centers(len(centers_m_D))
        blocks = zip(*(each.split(step) for each in (self.features_n_D, self.norms_n, nearest_n, place_n)), strict=True)
        for block_n_D, norms_n, found_n, first_n in blocks:
            squared_n_m = squared_distances(block_n_D, centers_m_D)
            found_n.copy_(squared_n_m.amin(dim=1))
            first_n.copy_((squared_n_m <= (found_n + tie_of_squared(found_n, norms_n))[:, None]).byte().argmax(dim=1))
        return nearest_n, place_n

    def length(self, squared: Tensor) -> float:
        """A distance in the unit of the features, given its square."""
        return float(squared.sqrt()) / HEADROOM * self.unit


def rows_by_centers(m: int) -> int:
    """Rows that are compared with m centers at a time."""
    return min(BLOCK, rows_at_once(5 * max(1, m) * 8, DISTANCE_BYTES))


def tie_of_squared(squared: Tensor, norms: Tensor) -> Tensor:
    """Squared distances that differ by less are a tie, where the smaller one and the squared norms are given."""
    return RELATIVE_TIE * squared + ROUNDING * norms


def without_rounding(squared: Tensor, norms: Tensor) -> Tensor:
    """Squared distances, given the sums of the squared norms; zero where they are only rounding errors."""
    return squared.where(squared > ROUNDING * norms, 0.0)


def largest(values_n: Float64[Tensor, " n"], tie: float = RELATIVE_TIE) -> int:
    """The position of the largest value; ties, relative to it, go to the first."""
    most = values_n.max()
    return int((values_n >= most - tie * most.abs()).nonzero()[0])


def largest_of_rows(values_n_C: Float64[Tensor, "n C"]) -> Int64[Tensor, " n"]:
    """``largest`` for each row."""
    most_n_1 = values_n_C.amax(1, keepdim=True)
    return (values_n_C >= most_n_1 - RELATIVE_TIE * most_n_1.abs()).int().argmax(1)


def on_the_sphere(features_n_D: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
    """h / ‖h‖, in float32; a zero vector stays zero."""
    if features_n_D.dtype != torch.float64:
        features_n_D = features_n_D.float()
    # Each divided by a power of two before it is rounded, as float32 overflows and underflows soon, and its squares
    # sooner.
    most_n_1 = _longest_side(features_n_D)
    features_n_D = (features_n_D / (most_n_1 / (2 * most_n_1.frexp().mantissa))).float()
    features_n_D = features_n_D / _longest_side(features_n_D)
    return features_n_D / features_n_D.norm(dim=1, keepdim=True).clamp_min(0.5)


def normalized(features_n_D: Float64[Tensor, "n D"]) -> Float64[Tensor, "n D"]:
    """h / ‖h‖ in double precision; zero stays zero."""
    # Divided by the largest number first, as squares overflow and underflow soon.
    scaled_n_D = features_n_D / _longest_side(features_n_D)
    return scaled_n_D / scaled_n_D.norm(dim=1, keepdim=True).clamp_min(0.5)


def _longest_side(features_n_D: Float[Tensor, "n D"]) -> Float[Tensor, "n 1"]:
    """max_d |h_d|; 1 for a zero vector."""
    most_n_1 = _most(features_n_D)
    return most_n_1.where(most_n_1 > 0, 1.0)


def _most(features_n_D: Float[Tensor, "n D"]) -> Float[Tensor, "n 1"]:
    # Without a copy of all features.
    return torch.maximum(features_n_D.amax(1, keepdim=True), -features_n_D.amin(1, keepdim=True))
