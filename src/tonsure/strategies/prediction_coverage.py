"""Prediction coverage: rows whose labels cover the uncertainty of the pool, by the similarity of predictions."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.predictions.reader import PoolReader, as_log_probs, rows_at_once
from tonsure.search.backend import LocalBackend
from tonsure.search.plan import FIXED
from tonsure.strategies.base import PoolState, row_bytes_of_scores, samples_and_classes
from tonsure.strategies.coverage import CoveragePlan
from tonsure.strategies.facility_location import FacilityLocation

WIDTH = 128
"""Logits of a row, unless those of one sample are more."""

LEAST_LOG_PROB = -12.0
"""Log-probabilities below it count as equal: classes that a sample rules out."""


@dataclass(frozen=True, repr=False)
class PredictionCoverage(FacilityLocation):
    """f(S) = Σ_j score(x_j) · max_{z ∈ L ∪ S} exp(−‖h_j − h_z‖² / r²), with h the logits of the posterior samples

    h_jrc = Σ_k b_rk (ℓ_jkc − 1/C Σ_c' ℓ_jkc'),   r = 1, …, R,   with  ℓ_jkc = max(log p(y = c | x_j, θ_k), −12)

    This is ``FacilityLocation`` for predictions without features: rows are similar if the model, and what is uncertain
    in it, say the same of them. The logits of a sample are a linear image of what its last layer sees, so those of
    several samples carry a part of what features say. Like features, they are centered, multiplied by Σ^(−1/4), and
    divided by their lengths.

    Of few samples and classes all logits are used: R = K, and b is the identity. Of many, the R = max(1, 128 // C)
    slowest cosines over the samples, of which the first is their mean. One sample is enough.

    Cost: a pass over the predictions, O(N·K·C·R), and the search of ``FacilityLocation`` with D = R·C. Memory: 4·N·R·C
    bytes beyond that of the search.

    Source: f as in ``FacilityLocation``; of predictions in place of features, docs/methods/prediction-coverage.md.

    Args:
        score: as for ``FacilityLocation``.
        radius: a factor of r².
        whitening: as for ``FacilityLocation``.
        most: as for ``FacilityLocation``.

    Raises:
        InputError: as ``FacilityLocation``.
    """

    needs_features: ClassVar[bool] = False
    uses_last_layer: ClassVar[bool] = False
    needs_labeled_predictions: ClassVar[bool] = True
    takes_scores: ClassVar[bool] = False

    @property
    def needs_predictions(self) -> bool:
        return True

    @property
    def before_labels(self) -> None:
        return None

    def _plan(self, state: PoolState, k: int) -> CoveragePlan:
        searched = super()._plan(state, k)
        logits = 4 * len(state) * sum(self._widths(state))
        # Those of unlabeled or of labeled rows are computed before they join the others.
        share = max(len(state.unlabeled_rows), len(state.labeled_rows)) / len(state)
        first = FIXED + math.ceil(share * logits) + self._of_scores(state)
        return replace(searched, least=logits + max(searched.least, first))

    def _widths(self, state: PoolState) -> list[int]:
        K, C = samples_and_classes(state.prediction_reader())
        return [_mixtures(K, C) * C]

    def _features(self, state: PoolState) -> list[PoolReader]:
        reader = state.prediction_reader()
        logits_N_D = torch.empty(len(state), *self._widths(state), device=reader.works_on, dtype=torch.float32)
        first = 0
        for part_n_D in (state.backend or LocalBackend()).map(reader, _logits):
            logits_N_D[state.unlabeled_rows[first : first + len(part_n_D)]] = part_n_D.to(logits_N_D.device)
            first += len(part_n_D)
        del part_n_D
        if len(state.labeled_rows):
            labeled = state.labeled_prediction_reader()
            logits_N_D[state.labeled_rows] = _logits(labeled).to(logits_N_D.device)
        return [PoolReader([logits_N_D])]


def _mixtures(K: int, C: int) -> int:
    """The number R of mixtures of samples."""
    return min(K, max(1, WIDTH // C))


def _mixing(K: int, R: int) -> Float[Tensor, "R K"]:
    """The first R rows of the discrete cosine transform of K samples, which are orthonormal."""
    samples, waves_R_1 = torch.arange(K, dtype=torch.float64) + 0.5, torch.arange(R, dtype=torch.float64)[:, None]
    mixing_R_K = (math.pi / K * samples * waves_R_1).cos() * math.sqrt(2 / K)
    mixing_R_K[0] = 1 / math.sqrt(K)
    return mixing_R_K.float()


def _logits(reader: PoolReader) -> Float[Tensor, "n D"]:
    """The mixed logits of the rows of a reader, block by block."""
    K, C = samples_and_classes(reader)
    R = _mixtures(K, C)
    mixing_R_K = _mixing(K, R).to(reader.works_on)
    logits_n_D = torch.empty(len(reader), R * C, device=reader.works_on, dtype=torch.float32)
    for rows in torch.arange(len(reader)).split(rows_at_once(row_bytes_of_scores(K, C))):
        log_probs_n_K_C = as_log_probs(reader.stored(rows), torch.float32).clamp_min(LEAST_LOG_PROB)
        if R < K:
            log_probs_n_K_C = mixing_R_K @ log_probs_n_K_C
        centered_n_R_C = log_probs_n_K_C - log_probs_n_K_C.mean(2, keepdim=True)
        logits_n_D[int(rows[0]) : int(rows[-1]) + 1] = centered_n_R_C.flatten(1)
    return logits_n_D
