"""Upper bounds on the memory of strategies, from the shapes of what they are given."""

from dataclasses import dataclass

from tonsure.predictions.reader import rows_at_once
from tonsure.search.plan import FIXED
from tonsure.strategies.base import (
    PoolState,
    as_reader,
    row_bytes_of_means,
    row_bytes_of_scores,
    samples_and_classes,
)
from tonsure.strategies.distances import rows_by_centers

DOUBLE = 8
SINGLE = 4

LIBRARIES = 96 * 2**20
"""Bytes of scikit-learn and SciPy, which are loaded when they are first used."""


@dataclass(frozen=True)
class Sizes:
    """The numbers of rows, features, posterior samples and classes of a pool; 0 for what is not there.

    Attributes:
        copied: bytes of the features in memory, where they are gathered from several pieces, files or devices.
        item: bytes of one number of the features as they are stored.
        stored: the same for predictions.
    """

    N: int
    m: int
    n: int
    c: int
    D: int
    K: int
    C: int
    copied: int
    item: int
    stored: int

    @property
    def rows(self) -> int:
        """Bytes of a few numbers for each row, and of what does not depend on the pool."""
        return FIXED + 24 * DOUBLE * self.N

    def means(self, rows: int) -> int:
        """Bytes of the mean predictions of so many rows, while they are computed."""
        return 2 * rows * self.C * DOUBLE + block_bytes(rows, row_bytes_of_means(self.K, self.C, self.stored))

    @property
    def score(self) -> int:
        """Bytes of the score of a block of rows, for scores like those of ``tonsure.scores``."""
        return block_bytes(self.n, row_bytes_of_scores(self.K, self.C))


def sizes(state: PoolState) -> Sizes:
    """The sizes of what a strategy is given."""
    D = copied = item = stored = K = C = 0
    if state.features_N_D is not None:
        reader = as_reader(state.features_N_D)
        D, item = reader.width, reader.dtype.itemsize
        copied = 0 if reader.whole is not None else 2 * len(reader) * D * item
    if state.log_probs_n_K_C is not None:
        predictions = as_reader(state.log_probs_n_K_C)
        stored, (K, C) = predictions.dtype.itemsize, samples_and_classes(predictions)
    m, n = len(state.labeled_rows), len(state.unlabeled_rows)
    return Sizes(m + n, m, n, len(state.choosable_rows), D, K, C, copied, item, stored)


def of_centers(at: Sizes, rows: int) -> int:
    """Bytes of so many rows and of the labeled ones in double precision, and of the distances of a block of them."""
    distances = min(rows, rows_by_centers(at.m)) * (5 * at.m + at.D) * DOUBLE
    return at.copied + (rows + at.m) * at.D * (at.item + 2 * DOUBLE) + distances


def of_clusters(at: Sizes, clusters: int) -> int:
    """Bytes that k-means takes beside the features: copies of them, distances to some centers, and the centers."""
    return LIBRARIES + 3 * at.N * at.D * SINGLE + 24 * DOUBLE * at.N + 8 * clusters * (at.D + 1024) * DOUBLE


def block_bytes(rows: int, row_bytes: int) -> int:
    """Bytes of the rows that are worked on at a time."""
    return min(rows, rows_at_once(row_bytes)) * row_bytes if row_bytes else 0
