"""Prediction coverage: rows whose labels cover the uncertainty of the pool, by the similarity of predictions."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.arguments import real, setting
from tonsure.errors import InputError
from tonsure.predictions.reader import PoolReader, as_log_probs, rows_at_once
from tonsure.shapes import Rows
from tonsure.strategies.base import PoolState, row_bytes_of_scores, samples_and_classes
from tonsure.strategies.coverage import CoveragePlan
from tonsure.strategies.facility_location import FacilityLocation
from tonsure.strategies.sphere import SAMPLED, FeatureRows

WIDTH = 512
"""Logits of a row, unless those of one sample are more."""

DIRECTIONS = 128
"""Directions of the logits that are compared: fully whitened, those of the smallest variance would be noise alone."""

ROWS_PER_DIRECTION = 16
"""So many rows at least for each of them: whitened by as many directions as rows, all rows are equally far apart."""

PLACE_BYTES = 16
"""Where the predictions of a row are."""

LEAST_DIRECTIONS = 8
"""Directions of the smallest pools."""

LEAST_LOG_PROB = -12.0
"""Log-probabilities below it count as equal: classes that a sample rules out."""


@dataclass(frozen=True, repr=False)
class PredictionCoverage(FacilityLocation):
    """f(S) = Σ_j score(x_j) · max_{z ∈ L ∪ S} exp(−‖h_j − h_z‖² / r²), with h the logits of the posterior samples

    h_jrc = Σ_k b_rk (ℓ_jkc − 1/C Σ_c' ℓ_jkc'),   r = 1, …, R,   with  ℓ_jkc = max(log p(y = c | x_j, θ_k), −12)

    This is ``FacilityLocation`` for predictions without features: rows are similar if the model, and what is uncertain
    in it, say the same of them. The logits of a sample are a linear image of what its last layer sees, so those of
    several samples carry a part of what features say. They are centered, whitened and divided by their lengths: what
    all samples share has the largest variance by far, and what they differ in tells rows apart too. The 128 directions
    of the largest variance count; in pools of less than 2,048 rows, one for 16 rows, and at least 8.

    Of few samples and classes all logits are used: R = K, and b is the identity. Of many, the R = max(1, 512 // C)
    slowest cosines over the samples, of which the first is their mean. One sample is enough.

    Cost: a pass over the predictions for the score, O(K·C·R) for the logits of each row that is looked at, and the
    search of ``FacilityLocation`` with at most 128 features. Memory: that of the search, 16·N bytes, and the logits of
    a pool of at most 32,768 rows.

    Source: f as in ``FacilityLocation``; of predictions in place of features, docs/methods/prediction-coverage.md.

    Args:
        score: as for ``FacilityLocation``.
        radius: a factor of r².
        whitening: from 0 to 1, as for ``FacilityLocation``.
        most: as for ``FacilityLocation``.

    Raises:
        InputError: as ``FacilityLocation``.
    """

    whitening: float = setting(real(least=0, most=1), 1.0)
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
        planned = super()._plan(state, k)
        held = 2 * 8 * len(state) * sum(self._widths(state)) if len(state) <= SAMPLED else 0  # and while they are made
        return replace(planned, least=planned.least + PLACE_BYTES * len(state) + held)

    def _directions(self, state: PoolState) -> int:
        return min(DIRECTIONS, max(LEAST_DIRECTIONS, len(state) // ROWS_PER_DIRECTION))

    def _widths(self, state: PoolState) -> list[int]:
        return [Logits(state).width]

    def _features(self, state: PoolState) -> list[FeatureRows]:
        logits = Logits(state)
        if len(state) > SAMPLED:
            return [logits]
        return [PoolReader([logits.stored(torch.arange(len(state)))])]  # they are looked at several times


class Logits:
    """The mixed logits of a pool, [N, R·C], computed of its predictions when they are read."""

    def __init__(self, state: PoolState) -> None:
        self._unlabeled, self._labeled = state.prediction_reader(), state.labeled_prediction_reader()
        if len(state.labeled_rows) and samples_and_classes(self._labeled) != samples_and_classes(self._unlabeled):
            shapes = (
                f"{K} samples and {C} classes" for K, C in map(samples_and_classes, (self._labeled, self._unlabeled))
            )
            raise InputError("predictions of labeled rows have {}, those of the others {}".format(*shapes))
        self._labeled_N = torch.zeros(len(state), dtype=torch.bool)
        self._labeled_N[state.labeled_rows] = True
        self._place_N = torch.empty(len(state), dtype=torch.int64)
        for rows in (state.unlabeled_rows, state.labeled_rows):
            self._place_N[rows] = torch.arange(len(rows))

    def __len__(self) -> int:
        return len(self._place_N)

    @property
    def width(self) -> int:
        K, C = samples_and_classes(self._unlabeled)
        return _mixtures(K, C) * C

    @property
    def works_on(self) -> torch.device:
        return self._unlabeled.works_on

    def stored(self, rows: Rows) -> Float[Tensor, "n D"]:
        logits_n_D = torch.empty(len(rows), self.width, dtype=torch.float64, device=self.works_on)
        for reader, there_n in ((self._unlabeled, ~self._labeled_N[rows]), (self._labeled, self._labeled_N[rows])):
            if there_n.any():
                logits_n_D[there_n] = _logits(reader, self._place_N[rows[there_n]]).to(self.works_on)
        return logits_n_D


def _mixtures(K: int, C: int) -> int:
    """The number R of mixtures of samples."""
    return min(K, max(1, WIDTH // C))


def _mixing(K: int, R: int) -> Float[Tensor, "R K"]:
    """The first R rows of the discrete cosine transform of K samples, which are orthonormal."""
    samples, waves_R_1 = torch.arange(K, dtype=torch.float64) + 0.5, torch.arange(R, dtype=torch.float64)[:, None]
    mixing_R_K = (math.pi / K * samples * waves_R_1).cos() * math.sqrt(2 / K)
    mixing_R_K[0] = 1 / math.sqrt(K)
    return mixing_R_K


def _logits(reader: PoolReader, rows: Rows) -> Float[Tensor, "n D"]:
    """The mixed logits of some rows of a reader, block by block.

    In double precision: whitened, a direction in which all rows are alike must not be what rounding leaves of it.
    """
    K, C = samples_and_classes(reader)
    R = _mixtures(K, C)
    mixing_R_K = _mixing(K, R).to(reader.works_on)
    found = []
    for some in rows.split(rows_at_once(row_bytes_of_scores(K, C))):
        log_probs_n_K_C = as_log_probs(reader.stored(some), torch.float32).clamp_min(LEAST_LOG_PROB).double()
        if R < K:
            log_probs_n_K_C = mixing_R_K @ log_probs_n_K_C
        found.append((log_probs_n_K_C - log_probs_n_K_C.mean(2, keepdim=True)).flatten(1))
    return torch.cat(found)
