"""Features on the sphere: centered, whitened by a part or as a whole, and divided by their lengths."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tonsure.predictions.reader import rows_at_once
from tonsure.shapes import Rows
from tonsure.strategies.distances import normalized, unit_of

COPIES = 40
"""Bytes of working copies of a feature of rows that are read."""

SAMPLED = 32_768
"""Rows of a larger pool by which it is known: its mean, its covariance, and the neighbors of a row."""

HUGE = 1e150
"""Features of this size are far beyond all others; sums of products of them are finite."""

NO_VARIANCE = 1e-13
"""Variances below this share of the largest are rounding errors of zero."""

LOW = 4
"""With fewer directions, the length of the features would be most of what they say."""

FLAT = 1e-8
"""Variances below this share of the largest count as equal: much smaller ones are rounding errors."""


@runtime_checkable
class FeatureRows(Protocol):
    """Features [N, D] that are read some rows at a time, such as a ``PoolReader``."""

    def __len__(self) -> int: ...

    @property
    def width(self) -> int:
        """The number D of features."""

    @property
    def works_on(self) -> torch.device: ...

    def stored(self, rows: Rows) -> Float[Tensor, "n D"]: ...


@dataclass(frozen=True, eq=False)
class Features:
    """One kind of features in double precision: minus a mean, mapped, divided by their lengths.

    Attributes:
        rows: at most ``SAMPLED`` of all rows, of which the mean and the map are computed; none without a mean.
        unit: that of ``unit_of`` these rows, in which nothing overflows.
        constant: a further feature, the same for all rows, so that of a single direction not the sign alone is left.
    """

    reader: FeatureRows
    rows: Rows
    mean_D: Float64[Tensor, " D"]
    unit: float
    map_D_d: Float64[Tensor, "D d"] | None = None
    constant: float = 0.0

    @classmethod
    def of(
        cls, reader: FeatureRows, whitening: float | None, generator: torch.Generator, directions: int | None = None
    ) -> "Features":
        """As ``cover`` takes them."""
        N, zero_D = len(reader), torch.zeros(reader.width, dtype=torch.float64, device=reader.works_on)
        if whitening is None:
            return cls(reader, torch.arange(0), zero_D, 1.0)
        rows = torch.arange(N) if N <= SAMPLED else torch.randperm(N, generator=generator)[:SAMPLED].sort().values
        sum_D, unit = zero_D, 0.0
        for some in rows.split(rows_at_once(COPIES * reader.width)):
            some_n_D = reader.stored(some).double()
            if not some_n_D.any():  # it has no unit of its own
                continue
            larger = max(unit, unit_of(some_n_D))
            sum_D = sum_D * (unit / larger) + (some_n_D / larger).sum(0)
            unit = larger
        features = cls(reader, rows, sum_D / len(rows), unit or 1.0)
        return features.whitened(whitening, directions) if whitening or directions else features

    @property
    def width(self) -> int:
        return (len(self.mean_D) if self.map_D_d is None else self.map_D_d.shape[1]) + (self.constant > 0)

    def whitened(self, exponent: float, directions: int | None = None) -> "Features":
        """The same as h Σ^(−exponent/2), up to a rotation, where Σ is the covariance; of its largest directions.

        Where there are fewer rows than features, they become as many as there are rows: distances stay the same.
        """
        D = len(self.mean_D)
        few = len(self.rows) < D
        if few:
            rows_n_D = self._centered(self.rows)
            products = rows_n_D @ rows_n_D.T
        else:
            products = self.mean_D.new_zeros(D, D)
            for some in self.rows.split(rows_at_once(COPIES * D)):
                some_n_D = self._centered(some)
                products.addmm_(some_n_D.T, some_n_D)
        values, vectors = torch.linalg.eigh(products)
        del products
        if not values[-1] > 0:  # all rows are the same
            return self
        spread, values = float(values[-1]), values / values[-1]
        there = values > NO_VARIANCE  # the others are rounding errors of zero
        values, vectors = values[there], vectors[:, there]
        if directions is not None:
            values, vectors = values[-directions:], vectors[:, -directions:]
        if few:
            vectors = rows_n_D.T @ (vectors * values**-0.5) / spread**0.5
        map_D_d = vectors * values.clamp_min(FLAT) ** (-exponent / 2)
        constant = (spread / len(self.rows)) ** 0.5 if len(values) < LOW else 0.0
        return replace(self, map_D_d=map_D_d, constant=constant)

    def on_the_sphere(self, rows: Rows) -> Float64[Tensor, "n d"]:
        centered_n_D = self._centered(rows)
        mapped_n_d = centered_n_D if self.map_D_d is None else centered_n_D @ self.map_D_d
        if self.constant:
            mapped_n_d = torch.cat([mapped_n_d, mapped_n_d.new_full((len(rows), 1), self.constant)], dim=1)
        return normalized(mapped_n_d)

    def _centered(self, rows: Rows) -> Float64[Tensor, "n D"]:
        if len(self.rows) == 0:
            return self.reader.stored(rows).double()
        # A row beyond the sample may be so much larger than the unit that it would be infinite.
        scaled_n_D = self.reader.stored(rows).double().div(self.unit).clamp_(-HUGE, HUGE)
        return scaled_n_D.sub_(self.mean_D)


@dataclass(frozen=True, eq=False)
class Sphere:
    """Features of some rows at a time, ascending, with the length 1. Of several kinds, each counts the same."""

    kinds: Sequence[Features]

    def __len__(self) -> int:
        return len(self.kinds[0].reader)

    def at(self, rows: Rows) -> Float64[Tensor, "n D"]:
        found_n_D = self.kinds[0].mean_D.new_empty(len(rows), sum(kind.width for kind in self.kinds))
        for place, features_n_D in self.blocks(rows.sort().values):
            found_n_D[place] = features_n_D
        return found_n_D

    def blocks(self, rows: Rows) -> Iterator[tuple[slice, Float64[Tensor, "n D"]]]:
        """The same for ascending rows, block by block, with where each of them is."""
        step = rows_at_once(COPIES * sum(len(kind.mean_D) for kind in self.kinds))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            features = [kind.on_the_sphere(some) for kind in self.kinds]
            both_n_D = torch.cat(features, dim=1).div_(len(features) ** 0.5) if len(features) > 1 else features[0]
            yield slice(start, start + len(some)), both_n_D


def bytes_of_whitening(N: int, D: int) -> int:
    """Of the products of features, their eigenvectors and the working copies of both; of the rows, if they are few."""
    rows = min(N, SAMPLED)
    return 8 * (6 * D * D if rows >= D else 6 * rows * rows + 3 * rows * D)
