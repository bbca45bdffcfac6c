"""DropQuery: one item of each cluster of those whose class the posterior samples dispute."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tonsure.arguments import real, setting
from tonsure.predictions.reader import rows_at_once
from tonsure.search import ranking
from tonsure.selection import Selection
from tonsure.shapes import Rows
from tonsure.strategies.base import PoolState, Strategy, row_bytes_of_means, samples_and_classes, selected
from tonsure.strategies.clusters import clusters_of
from tonsure.strategies.distances import NEAR_TIE, largest, largest_of_rows, normalized, on_the_sphere
from tonsure.strategies.memory import DOUBLE, SINGLE, of_clusters, sizes


@dataclass(frozen=True)
class DropQuery(Strategy):
    """x_g = arg min_{x in G_g} ‖h(x) − mean_{z in G_g} h(z)‖,   G_1 … G_k the k-means clusters of {x : d(x) > share}

    d(x) = 1/K Σ_k 1[arg max_c p(y = c | x, θ_k) ≠ arg max_c m_c(x)] is the share of posterior samples that disagree
    with the mean prediction m, and h are features, divided by their lengths. The largest cluster comes first. Ties of
    classes go to the first class, those of rows, within 1e-5, to the lowest row. Labeled rows have no influence.

    If at most k rows are disputed, all of them are chosen. What the batch lacks then, and where k-means leaves clusters
    empty, are rows by d, those with the same d by the margin of m: with one sample, and with samples that agree, the
    batch is that of the margin.

    In the paper the samples are three passes with dropout of the input features, whose majority has to disagree with a
    pass without dropout. Here the posterior samples stand for the passes and their mean for the pass without. A
    majority of many samples with little dropout seldom disagrees with its mean; ``share`` can be lowered. The lengths
    of the features, the center as the mean of its rows, the order of the batch, and what fills it are our decisions.

    A gain is d(x). Costs two passes over the predictions, and k-means on the disputed rows. Memory: the mean
    predictions, and copies of the features of the disputed rows. The same seed gives the same rows on the same kind of
    processor.
    Source: Gupte, Aklilu, Nirschl & Yeung-Levy, TMLR 2024, arXiv 2401.14555.

    Args:
        share: the share of samples that has to be exceeded, at least 0 and below 1.

    Raises:
        InputError: ``share`` is out of range.
        MissingExtraError: in ``choose``, scikit-learn is not installed.
    """

    share: float = setting(real(least=0, below=1), 0.5)
    needs_features: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state, k, generator))

    def memory_needed(self, state: PoolState, k: int) -> int:
        at = sizes(state)
        features = at.copied + at.c * at.D * (at.item + 3 * DOUBLE) + 2 * at.c * at.D * SINGLE
        return at.rows + max(at.means(at.n) + at.means(at.c), features + of_clusters(at, k))

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        rows, features_N_D = state.choosable_rows, state.features()
        mean_n_C = state.mean_probs()
        share_n = _disagreement(state, mean_n_C)[state.choosable_n]
        top_n_2 = mean_n_C[state.choosable_n].topk(2).values.cpu()
        del mean_n_C
        disputed = (share_n > self.share).nonzero()[:, 0]
        central = _central(features_N_D, rows[disputed], k, generator) if len(disputed) > k else []
        chosen = [int(disputed[place]) for place in central]
        left_n = torch.ones(len(rows), dtype=torch.bool)
        left_n[chosen] = False
        for share in share_n.unique().flip(0):
            if len(chosen) < k:
                places = (left_n & (share_n == share)).nonzero()[:, 0]
                margin_n = top_n_2[places, 1] - top_n_2[places, 0]
                best = ranking.largest(margin_n, min(len(places), k - len(chosen))) if len(places) else []
                chosen += places[best].tolist()
        for place in chosen:
            yield int(rows[place]), float(share_n[place])


def _central(features_N_D: Float[Tensor, "N D"], rows: Rows, count: int, generator: torch.Generator) -> list[int]:
    """The position in ``rows`` of the row nearest to the center of each cluster."""
    features_n_D = features_N_D[rows]
    cluster_n = clusters_of(on_the_sphere(features_n_D), count, generator)
    sizes = cluster_n.bincount()
    clusters = cluster_n.argsort(stable=True).split(sizes[sizes > 0].tolist())
    found = []
    for places in sorted(clusters, key=len, reverse=True):
        # In double precision, as items may be nearer than single precision can tell.
        exact_n_D = normalized(features_n_D[places].double())
        squared_n = (exact_n_D - exact_n_D.mean(0)).square().sum(1)
        found.append(int(places[largest(-squared_n, NEAR_TIE)]))
    return found


def _disagreement(state: PoolState, mean_n_C: Float64[Tensor, "n C"]) -> Float64[Tensor, " n"]:
    """d(x) for ``unlabeled_rows``."""
    reader, predicted_n_1 = state.prediction_reader(), largest_of_rows(mean_n_C)[:, None]
    step = rows_at_once(row_bytes_of_means(*samples_and_classes(reader), reader.dtype.itemsize))
    found = [
        (reader.stored(rows).argmax(2) != predicted_n_1[rows]).double().mean(1)
        for rows in torch.arange(len(reader)).split(step)
    ]
    return torch.cat(found).cpu()
