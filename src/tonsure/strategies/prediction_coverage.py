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

LEAST_LOG_PROB = -12.0
"""Log-probabilities below it count as equal: classes that a sample rules out."""


@dataclass(frozen=True, repr=False)
class PredictionCoverage(FacilityLocation):
    """f(S) = Σ_j score(x_j) · max_{z ∈ L ∪ S} exp(−‖h_j − h_z‖² / r²), with h the mean logits of the predictions

    h_jc = 1/K Σ_k ℓ_jkc − 1/C Σ_c' 1/K Σ_k ℓ_jkc'  with  ℓ_jkc = max(log p(y = c | x_j, θ_k), −12)

    This is ``FacilityLocation`` for predictions without features: rows are similar if the model says the same of them.
    The logits of a linear last layer are a linear image of its features, so they carry a part of what features say. C
    numbers are held for each row, however many samples there are; one sample is enough. The search, r², the draw from
    large pools, and the settings are those of ``FacilityLocation``.

    Cost: a pass over the predictions, O(N·K·C), and the search of ``FacilityLocation`` with D = C. Memory: 4·N·C bytes
    beyond that of the search.

    Source: f as in ``FacilityLocation``; of predictions in place of features, docs/methods/prediction-coverage.md.

    Args:
        score: as for ``FacilityLocation``.
        radius: a factor of r².
        most: as for ``FacilityLocation``.

    Raises:
        InputError: as ``FacilityLocation``.
    """

    needs_features: ClassVar[bool] = False
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
        logits = 4 * len(state) * self._width(state)
        # Those of unlabeled or of labeled rows are computed before they join the others.
        share = max(len(state.unlabeled_rows), len(state.labeled_rows)) / len(state)
        first = FIXED + math.ceil(share * logits) + self._of_scores(state)
        return replace(searched, least=logits + max(searched.least, first))

    def _width(self, state: PoolState) -> int:
        return samples_and_classes(state.prediction_reader())[1]

    def _features(self, state: PoolState) -> PoolReader:
        reader = state.prediction_reader()
        logits_N_C = torch.empty(len(state), self._width(state), device=reader.works_on, dtype=torch.float32)
        first = 0
        for part_n_C in (state.backend or LocalBackend()).map(reader, _mean_logits):
            logits_N_C[state.unlabeled_rows[first : first + len(part_n_C)]] = part_n_C.to(logits_N_C.device)
            first += len(part_n_C)
        del part_n_C
        if len(state.labeled_rows):
            labeled = state.labeled_prediction_reader()
            logits_N_C[state.labeled_rows] = _mean_logits(labeled).to(logits_N_C.device)
        return PoolReader([logits_N_C])


def _mean_logits(reader: PoolReader) -> Float[Tensor, "n C"]:
    """The centered mean log-probabilities of the rows of a reader, block by block."""
    K, C = samples_and_classes(reader)
    logits_n_C = torch.empty(len(reader), C, device=reader.works_on, dtype=torch.float32)
    for rows in torch.arange(len(reader)).split(rows_at_once(row_bytes_of_scores(K, C))):
        log_probs_n_K_C = as_log_probs(reader.stored(rows), torch.float32)
        mean_n_C = log_probs_n_K_C.clamp_min(LEAST_LOG_PROB).mean(1)
        logits_n_C[int(rows[0]) : int(rows[-1]) + 1] = mean_n_C - mean_n_C.mean(1, keepdim=True)
    return logits_n_C
