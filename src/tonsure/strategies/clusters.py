"""Clusters of features, by k-means."""

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tonsure.errors import MissingExtraError

SMALL = 50
"""With more clusters, k-means uses mini-batches, as in arXiv 2202.02794."""

MINIBATCH = 5000
"""Items in a mini-batch."""


def clusters_of(
    features_N_D: Float[Tensor, "N D"],
    count: int,
    generator: torch.Generator,
    weight_N: Float[Tensor, " N"] | None = None,
    *,
    small: int = SMALL,
) -> Int[Tensor, " N"]:
    """The cluster of each item, 0 to count − 1, by k-means; with fewer distinct items, some clusters are empty.

    Runs on one thread, because k-means amplifies the rounding of sums in another order.

    Args:
        weight_N: what each item counts for, above 0; None is the same for all.
        small: up to so many clusters, k-means looks at all items at every step.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans, MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise MissingExtraError("k-means", "clusters") from error
    seed = int(torch.randint(2**31, (), generator=generator))
    kmeans = (
        KMeans(count, n_init=1, random_state=seed)
        if count <= small
        else MiniBatchKMeans(count, n_init=1, batch_size=MINIBATCH, random_state=seed)
    )
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer items differ than there are clusters
        weights = None if weight_N is None else weight_N.float().cpu().numpy()
        return torch.from_numpy(kmeans.fit(features_N_D.float().cpu().numpy(), sample_weight=weights).labels_).long()
