"""Facility location: rows whose labels cover the uncertainty of the pool, by the similarity of features."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from tonsure.arguments import optional, real, score_function, setting, whole
from tonsure.scores import margin
from tonsure.selection import Selection
from tonsure.strategies.base import PoolState, Strategy, as_reader, row_bytes_of_scores, samples_and_classes, selected
from tonsure.strategies.coverage import (
    CANDIDATES,
    LABELED,
    CoveragePlan,
    cover,
    plan_coverage,
    to_neighbors,
)
from tonsure.strategies.memory import block_bytes
from tonsure.strategies.sphere import FeatureRows


@dataclass(frozen=True, repr=False)
class FacilityLocation(Strategy):
    """f(S) = Σ_j score(x_j) · max_{z ∈ L ∪ S} exp(−‖h_j − h_z‖² / r²), j over the unlabeled rows

    h = g / ‖g‖ with g = Σ^(−whitening/2) (φ − mean φ), for the features φ and their covariance Σ over the pool

    L are the labeled rows. The score says where the model may be wrong, and the similarity how much a label of z tells
    of x_j. The gain of a row is the score around it that no label covers yet: an outlier has little around it, and a
    copy of a labeled or chosen row is covered.

    Where features of an encoder and those of the model's last layer are both there, h holds both side by side, each of
    them made as above and divided by √2: items are similar if both say so.

    With ``whitening`` 1 all directions of the features have the same variance, with 0 the variance that they have. Half
    of that, the default, lets more directions count than the few largest, and keeps their order.

    r² is ``radius`` times the median squared distance of a row to its (N / (labeled + k))-th neighbor, so that this
    many rows come to each label of the next round. In pools of more than 32,768 rows the neighbors, the mean and Σ are
    those of as many rows, drawn at random.

    f is monotone and submodular. Greedy search reaches at least 1 − 1/e of its maximum (Nemhauser, Wolsey & Fisher
    1978), and is evaluated lazily (Minoux 1978). Gains in double precision decide, ties within 1e-6 go to the lowest
    row. In a pool of more than ``most`` rows, ``most`` rows are drawn in proportion to the score; f is estimated by
    them, and rows are chosen among them.

    Cost: O(n²·D) for the n rows that are looked at, and for Σ O(min(N, 32,768)·D² + D³). Memory: 12·n·D bytes for their
    features, 56·D² for Σ and what is made of it, and their similarities: 12 bytes for each that is above what the
    labeled rows cover, if these fit into the budget; otherwise 4·n bytes for each row, of all n rows or of those that
    were used last. The result does not depend on it. Features are read some rows at a time.

    Source: f is the uncertainty coverage of Uncertainty Herding (Bae, Oliveira & Sutherland, ICLR 2025, arXiv
    2412.20644); without a score it is MaxHerding (Bae, Noh & Sutherland, ECCV 2024, arXiv 2407.12212). Weighted
    facility location for active learning is older: Wei, Iyer & Bilmes 2015; Zhdanov 2019, arXiv 1901.05954. Whitening
    before features are compared is that of Su, Cao, Liu & Ou 2021, arXiv 2103.15316; a part of it, that of Mukundan,
    Tolias, Bursuc, Jégou & Chum, IJCV 2019, arXiv 1811.11147. Ours are its use here, the radius from the number of
    labels of the next round, drawing rows in proportion to the score, and the search with a memory budget
    (docs/methods/facility-location.md).

    Args:
        score: a function of ``log_probs_n_K_C`` that gives [n] numbers of at least 0. None gives every row the score 1,
            and needs no predictions. Scores that are given in place of predictions take its place.
        radius: a factor of r².
        whitening: from 0 to 1.
        most: the number of rows that are looked at; 8·k if that is more. None is 32,768, or 16,384 if fewer than 16
            rows are labeled: then nearly all similarities count, and those of more rows would not fit into 1 GiB.

    Raises:
        InputError: a setting is out of range; when rows are chosen, a score is negative or not finite.
    """

    score: Callable[[Tensor], Tensor] | None = setting(optional(score_function), margin)
    radius: float = setting(real(above=0), 1.0)
    whitening: float = setting(real(least=0, most=1), 0.5)
    most: int | None = setting(optional(whole(1)), None)
    needs_features: ClassVar[bool] = True
    uses_last_layer: ClassVar[bool] = True
    takes_scores: ClassVar[bool] = True
    uses_backend: ClassVar[bool] = True

    @property
    def needs_predictions(self) -> bool:
        return self.score is not None

    @property
    def before_labels(self) -> Strategy | None:
        return replace(self, score=None)

    def __repr__(self) -> str:
        score = getattr(self.score, "__name__", self.score)
        most = "" if self.most is None else f", most={self.most}"
        return f"{type(self).__name__}({score}, radius={self.radius}, whitening={self.whitening}{most})"

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        return selected(self, state, k, self._picks(state, k, generator))

    def memory_needed(self, state: PoolState, k: int) -> int:
        return self._plan(state, k).least

    def _plan(self, state: PoolState, k: int) -> CoveragePlan:
        most = self.most or (CANDIDATES if len(state.labeled_rows) >= LABELED else CANDIDATES // 2)
        planned = plan_coverage(state, k, self._widths(state), most=most, whitened=self.whitening > 0)
        return replace(planned, least=planned.least + self._of_scores(state))

    def _of_scores(self, state: PoolState) -> int:
        """Bytes of a block of rows while their scores are computed."""
        if state.log_probs_n_K_C is None:
            return 0
        return block_bytes(len(state), row_bytes_of_scores(*samples_and_classes(state.prediction_reader())))

    def _directions(self, state: PoolState) -> int | None:
        """How many directions of the features count; None is all."""
        return None

    def _widths(self, state: PoolState) -> list[int]:
        """The number D of features, of each kind."""
        return [reader.width for reader in self._features(state)]

    def _features(self, state: PoolState) -> list[FeatureRows]:
        """What rows are compared by, [N, D], of each kind."""
        last = state.last_layer_N_D
        return [state.feature_reader(), *([] if last is None else [as_reader(last)])]

    def _picks(self, state: PoolState, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        planned = self._plan(state, k)
        planned.log(state)
        features, score_n = self._features(state), state.scores(self.score)
        radius = to_neighbors(self.radius)
        yield from cover(
            state,
            features,
            score_n,
            k,
            generator,
            planned,
            radius,
            whitening=self.whitening,
            directions=self._directions(state),
        )
