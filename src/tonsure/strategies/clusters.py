"""Clusters of features, by k-means."""

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tonsure.errors import MissingExtraError

SMALL = 50
"""Up to so many clusters are found by all items in every step, more by a part of them at a time (arXiv 2202.02794)."""

MINIBATCH = 5000
"""So many items at a time."""


def clusters_of(features_N_D: Float[Tensor, "N D"], count: int, generator: torch.Generator) -> Int[Tensor, " N"]:
    """The cluster of each item, 0 to count − 1; where fewer items differ, some clusters are empty.

    On one thread: sums over several come in any order, and k-means amplifies what rounding does to them.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans, MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise MissingExtraError("k-means", "datasets") from error
    seed = int(torch.randint(2**31, (), generator=generator))
    kmeans = (
        KMeans(count, n_init=1, random_state=seed)
        if count <= SMALL
        else MiniBatchKMeans(count, n_init=1, batch_size=MINIBATCH, random_state=seed)
    )
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer items differ than there are clusters
        return torch.from_numpy(kmeans.fit(features_N_D.float().cpu().numpy()).labels_).long()
