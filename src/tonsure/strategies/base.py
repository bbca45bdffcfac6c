"""Strategy: the abstract class of methods that look at features, labels or the pool as a whole."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from tonsure.arguments import Settings, whole_number
from tonsure.errors import InputError
from tonsure.objectives.base import Objective
from tonsure.optimizers import Optimizer
from tonsure.predictions.arrays import as_tensor
from tonsure.predictions.checks import check_features, check_log_probs, check_scores
from tonsure.predictions.open import numbers, whole_numbers
from tonsure.predictions.reader import PoolReader, as_log_probs, rows_at_once
from tonsure.scores import score_of
from tonsure.search.backend import Backend, LocalBackend
from tonsure.selection import Selection, gather, search, warn_of_small_gains
from tonsure.surroundings import selecting

WORKING_COPIES = 6
"""Of predictions in single precision, while scores like those of ``tonsure.scores`` are computed."""

WHERE = {
    "features": "features (tonsure.features(model, inputs) computes them)",
    "predictions": "predictions, log-probabilities [N, K, C] (tonsure.predict(model, inputs) computes them)",
    "labels": "the labels of the labeled rows: labeled=rows, labels=classes",
    "labeled predictions": "predictions of the labeled rows too, log-probabilities [N, K, C] of the whole pool",
    "held-out predictions": "predictions of some labeled rows by a model that has not seen their labels",
}
"""What a strategy may need, with where to get it."""


ROWS = {"labels_m": "a list of classes, numbered from 0"} | dict.fromkeys(
    ("labeled_rows", "unlabeled_rows", "candidate_rows", "held_out_rows"), "a list of rows, numbered from 0"
)
"""The attributes of a pool state that are whole numbers."""

ARRAYS = {
    "features_N_D": "features",
    "last_layer_N_D": "inputs of the last layer",
    "log_probs_n_K_C": "predictions",
    "labeled_log_probs_m_K_C": "predictions of labeled rows",
    "held_out_log_probs_n_K_C": "predictions of held-out rows",
    "scores_n": "scores",
}
"""The attributes that are arrays, in words."""


@dataclass(frozen=True, eq=False)
class PoolState:
    """What a strategy sees: N rows of a pool, of which m are labeled and n are not.

    Attributes:
        labeled_rows: in the order in which the labels were given.
        labels_m: their classes; None if they are unknown.
        unlabeled_rows: all other rows, ascending.
        features_N_D: features of all N rows, by which items are compared: those of a pretrained encoder, or the
            penultimate activations of the fitted network.
        log_probs_n_K_C: log p(y = c | x_i, θ_k) in nats, for ``unlabeled_rows``.
        labeled_log_probs_m_K_C: the same for ``labeled_rows``, of the same posterior samples.
        scores_n: a score of each of ``unlabeled_rows``, given in place of predictions.
        candidate_rows: the unlabeled rows that may be chosen, ascending; None is all of them.
        memory: bytes that the strategy may hold beyond what is given; None is no limit.
        backend: where passes over the pool run; None is this process.
        held_out_rows: some of ``labeled_rows``, in any order: those that a model was fitted without.
        held_out_log_probs_n_K_C: the predictions of that model, for ``held_out_rows``.
        last_layer_N_D: the inputs of the last layer of the fitted network; None if these are the features.

    Whatever the strategy does not need may be None. Tensors may be readers of arrays that are not in memory.

    Raises:
        InputError: the rows are not all rows of a pool, each once; an attribute has another type; a tensor has the
            wrong number of rows; predictions are no log-probabilities; features are nan or infinite; or a held-out row
            is not labeled. The message names the first such row.
    """

    labeled_rows: Tensor
    labels_m: Tensor | None
    unlabeled_rows: Tensor
    features_N_D: Tensor | PoolReader | None = None
    log_probs_n_K_C: Tensor | PoolReader | None = None
    labeled_log_probs_m_K_C: Tensor | PoolReader | None = None
    scores_n: Tensor | None = None
    candidate_rows: Tensor | None = None
    memory: int | None = None
    backend: Backend | None = None
    held_out_rows: Tensor | None = None
    held_out_log_probs_n_K_C: Tensor | PoolReader | None = None
    last_layer_N_D: Tensor | PoolReader | None = None

    @selecting()
    def __post_init__(self) -> None:
        for name, given in list(vars(self).items()):
            if name in ("labeled_rows", "unlabeled_rows") or (name in ROWS and given is not None):
                object.__setattr__(self, name, whole_numbers(name, given, ROWS[name]))
            elif name in ARRAYS and given is not None and not isinstance(given, PoolReader):
                object.__setattr__(self, name, as_tensor(given, ARRAYS[name]))
        m, n, N = len(self.labeled_rows), len(self.unlabeled_rows), len(self)
        if not torch.equal(torch.cat([self.labeled_rows, self.unlabeled_rows]).sort().values, torch.arange(N)):
            raise InputError(
                f"{m} labeled and {n} unlabeled rows are not a pool: expected every row from 0 to {N - 1} once"
            )
        for what, rows, expected in (
            ("labels_m", self.labels_m, m),
            ("features_N_D", self.features_N_D, N),
            ("last_layer_N_D", self.last_layer_N_D, N),
            ("log_probs_n_K_C", self.log_probs_n_K_C, n),
            ("labeled_log_probs_m_K_C", self.labeled_log_probs_m_K_C, m),
            ("scores_n", self.scores_n, n),
        ):
            if rows is not None and (getattr(rows, "ndim", 1) == 0 or len(rows) != expected):
                found = f"the shape {list(rows.shape)}" if isinstance(rows, Tensor) else f"{len(rows)} rows"
                raise InputError(
                    f"{what} has {found}, expected {expected} rows: {m} rows of the pool are labeled and {n} are not"
                )
        for name, features in (("features", self.features_N_D), ("last_layer_N_D", self.last_layer_N_D)):
            if isinstance(features, Tensor):
                check_features(features, name=name)
        for log_probs in (self.log_probs_n_K_C, self.labeled_log_probs_m_K_C, self.held_out_log_probs_n_K_C):
            if isinstance(log_probs, Tensor) and len(log_probs):
                check_log_probs([log_probs])
        if self.scores_n is not None:
            check_scores(self.scores_n)
        if self.candidate_rows is not None:
            rows = numbers("candidate_rows", self.candidate_rows, N)
            labeled = rows[torch.isin(rows, self.labeled_rows)]
            if len(labeled):
                raise InputError(f"row {int(labeled[0])} is labeled and cannot be a candidate")
        if self.held_out_rows is not None or self.held_out_log_probs_n_K_C is not None:
            self._check_held_out()

    def _check_held_out(self) -> None:
        if self.held_out_rows is None or self.held_out_log_probs_n_K_C is None:
            raise InputError("held_out_rows and held_out_log_probs_n_K_C belong together, but one of them is None")
        rows, found = numbers("held_out_rows", self.held_out_rows, len(self), empty=True), self.held_out_log_probs_n_K_C
        if getattr(found, "ndim", 1) == 0 or len(found) != len(rows):
            raise InputError(f"there are {len(rows)} held_out_rows, but held_out_log_probs_n_K_C has another length")
        others = rows[~torch.isin(rows, self.labeled_rows)]
        if len(others):
            raise InputError(f"row {int(others[0])} is held out, but it is not labeled")

    def __len__(self) -> int:
        return len(self.labeled_rows) + len(self.unlabeled_rows)

    @property
    def choosable_rows(self) -> Int[Tensor, " c"]:
        """The rows that may be chosen, ascending."""
        return self.unlabeled_rows if self.candidate_rows is None else self.candidate_rows.sort().values

    @property
    def choosable_n(self) -> Bool[Tensor, " n"]:
        """Which of ``unlabeled_rows`` may be chosen."""
        return torch.isin(self.unlabeled_rows, self.choosable_rows)

    def check_count(self, k: int) -> None:
        """Raises InputError if k is not from 1 to the number of rows that may be chosen."""
        whole_number("k", k, 1, len(self.choosable_rows), ", the number of rows that may be chosen")

    def features(self) -> Float[Tensor, "N D"]:
        """Of every row of the pool; raises InputError if they are not there."""
        return self.feature_reader().in_memory()

    def feature_reader(self) -> PoolReader:
        """The features, not in memory; raises InputError if they are not there."""
        return as_reader(_given("features", self.features_N_D))

    def of_last_layer(self) -> "PoolState":
        """The same with the inputs of the last layer as features, for strategies that look at gradients."""
        if self.last_layer_N_D is None:
            return self
        return replace(self, features_N_D=self.last_layer_N_D, last_layer_N_D=None)

    def predictions(self) -> Float[Tensor, "n K C"]:
        """Of ``unlabeled_rows``; raises InputError if they are not there."""
        return self.prediction_reader().in_memory()

    def prediction_reader(self) -> PoolReader:
        """The predictions of ``unlabeled_rows``, not in memory; raises InputError if they are not there."""
        return as_reader(_given("predictions", self.log_probs_n_K_C))

    def labeled_prediction_reader(self) -> PoolReader:
        """The predictions of ``labeled_rows``; raises InputError if they are not there."""
        return as_reader(_given("labeled predictions", self.labeled_log_probs_m_K_C))

    def labels(self) -> Int[Tensor, " m"]:
        """Of ``labeled_rows``; raises InputError if they are not there."""
        return _given("labels", self.labels_m)

    @selecting()
    def mean_probs(self) -> Float64[Tensor, "n C"]:
        """1/K Σ_k p(y = c | x_i, θ_k) for ``unlabeled_rows``.

        Raises:
            InputError: predictions are not there.
        """
        return _mean_probs(_given("predictions", self.log_probs_n_K_C))

    @selecting()
    def labeled_mean_probs(self) -> Float64[Tensor, "m C"]:
        """The same for ``labeled_rows``."""
        return _mean_probs(_given("labeled predictions", self.labeled_log_probs_m_K_C))

    @selecting()
    def held_out_mean_probs(self) -> Float64[Tensor, "n C"]:
        """The same for ``held_out_rows``, by the model that was fitted without them."""
        return _mean_probs(_given("held-out predictions", self.held_out_log_probs_n_K_C))

    def held_out_labels(self) -> Int[Tensor, " n"]:
        """The labels of ``held_out_rows``; raises InputError if they are not there."""
        rows = _given("held-out predictions", self.held_out_rows)
        order = self.labeled_rows.argsort()
        return self.labels()[order[torch.searchsorted(self.labeled_rows[order], rows)]]

    @selecting()
    def scores(self, score: Callable[[Tensor], Tensor] | None) -> Float[Tensor, " n"]:
        """A score of each of ``unlabeled_rows``: as given in place of predictions, or of predictions, block by block.

        Args:
            score: a function of ``log_probs_n_K_C``; None gives every row the score 1.

        Raises:
            InputError: neither is there, or a score is negative or not finite; the message names the row.
        """
        if score is None:
            return torch.ones(len(self.unlabeled_rows), dtype=torch.float32)
        if self.scores_n is not None:
            score_n = self.scores_n
        else:
            reader = self.prediction_reader()
            score_n = torch.cat((self.backend or LocalBackend()).map(reader, _Scores(score)))
        wrong_n = ~((score_n >= 0) & score_n.isfinite())
        if wrong_n.any():
            place = int(wrong_n.nonzero()[0])
            raise InputError(
                f"the score of row {int(self.unlabeled_rows[place])} is {float(score_n[place])}, expected finite "
                "numbers of at least 0"
            )
        return score_n

    @selecting()
    def search(self, objective: Objective[Any, Any], k: int, optimizer: Optimizer | None, *, seed: int) -> Selection:
        """The k rows that an optimizer finds for an objective; rows are rows of the pool.

        Raises:
            InputError: predictions are not there, or as ``select``.
        """
        self.check_count(k)
        reader = self.prediction_reader()
        if self.candidate_rows is not None:
            places = torch.searchsorted(self.unlabeled_rows, self.choosable_rows)
            reader = reader.at(places)
        found = search(reader, objective, k, optimizer, seed=seed, memory=self.memory, backend=self.backend)
        within = torch.searchsorted(reader.row_numbers(), found.rows)
        return Selection(self.choosable_rows[within], found.gains, found.standard_error)


class Strategy(Settings, ABC):
    """Chooses rows by what it sees of the whole pool. Subclasses are frozen dataclasses.

    An objective sees items and knows no rows. A strategy sees the pool with its features and labels. Wherever a method
    is expected, either may be given; a strategy takes no optimizer.

    To write a strategy: a frozen dataclass with ``choose``, which declares what it needs.
    ``tonsure.testing.check_strategy(mine, state)`` checks that it keeps the contract.
    """

    @property
    def needs_features(self) -> bool:
        """Whether it looks at ``features_N_D``."""
        return False

    @property
    def uses_last_layer(self) -> bool:
        """Whether it looks at ``last_layer_N_D`` too, where the pool has features of its own.

        ``rounds`` gives it where the model has features; otherwise those of the pool stand in for it.
        """
        return False

    @property
    def needs_predictions(self) -> bool:
        """Whether it looks at ``log_probs_n_K_C``."""
        return False

    @property
    def needs_labeled_predictions(self) -> bool:
        """Whether it looks at ``labeled_log_probs_m_K_C``."""
        return False

    @property
    def needs_held_out_predictions(self) -> bool:
        """Whether it looks at ``held_out_log_probs_n_K_C``.

        ``rounds`` then fits the model once more, to 70% of the labels. In ``select`` there is no model: the predictions
        of all labeled rows stand in for them.
        """
        return False

    @property
    def before_labels(self) -> "Strategy | None":
        """What chooses the first batch of ``rounds``, when nothing is labeled and no model is fitted.

        By default the strategy itself, if it looks at no model; else None, for rows that are drawn uniformly.
        """
        looks = (self.needs_predictions, self.uses_last_layer, self.needs_held_out_predictions)
        return None if any(looks) or self.needs_labeled_predictions else self

    takes_scores: ClassVar[bool] = False
    """Whether ``scores_n`` may stand in place of predictions."""

    uses_backend: ClassVar[bool] = False
    """Whether its passes over the pool run on ``backend``."""

    @abstractmethod
    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        """k of the rows that may be chosen, in the order chosen, each with its gain when it was chosen.

        All randomness comes from the generator. Rows are rows of the pool; gains are finite, in the strategy's unit.

        Raises:
            InputError: k is not from 1 to the number of rows that may be chosen, or what the strategy needs is missing.
        """

    def memory_needed(self, state: PoolState, k: int) -> int | None:
        """The smallest memory that ``choose`` needs beyond what it is given, in bytes; None if it is not planned."""
        return None


def selected(strategy: Strategy, state: PoolState, k: int, picks: Iterable[tuple[int, float]]) -> Selection:
    """The first k picks, rows of the pool with their gains; k is checked before the first of them is made.

    Raises:
        InputError: as ``PoolState.check_count``.

    Warns:
        SelectionWarning: some of the rows have no positive gain.
    """
    with selecting():
        state.check_count(k)
        selection = Selection(*gather(picks, k))
    warn_of_small_gains(selection, strategy, stacklevel=6)
    return selection


@dataclass(frozen=True)
class _Scores:
    """The scores of the rows of a reader, [n]; in a class, so that they can be computed in another process."""

    score: Callable[[Tensor], Tensor]

    def __call__(self, reader: PoolReader) -> Tensor:
        blocks = torch.arange(len(reader)).split(rows_at_once(row_bytes_of_scores(*samples_and_classes(reader))))
        return torch.cat([score_of(self.score, as_log_probs(reader.stored(rows), torch.float32)) for rows in blocks])


def samples_and_classes(reader: PoolReader) -> tuple[int, int]:
    """K and C of a reader of predictions."""
    shape = reader.pieces[0].shape
    return int(shape[1]) if reader.samples is None else len(reader.samples), int(shape[2])


def row_bytes_of_scores(K: int, C: int) -> int:
    """Bytes that the score of a row takes, or a few other numbers for each of its classes."""
    return WORKING_COPIES * 4 * K * C


def row_bytes_of_means(K: int, C: int, item: int) -> int:
    """Bytes that the mean prediction of a row takes, read in any order."""
    return 2 * item * K * C + 4 * 8 * C


def _given(name: str, value: Any) -> Any:
    if value is None:
        raise InputError(f"the strategy needs {WHERE[name]}")
    return value


def as_reader(given: Tensor | PoolReader) -> PoolReader:
    """A reader as it is; a tensor as a reader of it."""
    return PoolReader([given]) if isinstance(given, Tensor) else given


def _mean_probs(log_probs_n_K_C: Tensor | PoolReader) -> Float64[Tensor, "n C"]:
    reader = as_reader(log_probs_n_K_C)
    K, C = samples_and_classes(reader)
    mean_n_C = torch.empty(len(reader), C, dtype=torch.float64, device=reader.works_on)
    step = rows_at_once(row_bytes_of_means(K, C, reader.dtype.itemsize))
    for rows in torch.arange(len(reader)).split(step) if len(reader) else ():
        # Sample by sample, so that only one sample is held in double precision.
        total_n_C = mean_n_C[int(rows[0]) : int(rows[-1]) + 1].zero_()
        for log_probs_n_C in reader.stored(rows).unbind(1):
            total_n_C += log_probs_n_C.double().exp()
        total_n_C /= total_n_C.sum(dim=1, keepdim=True)
    return mean_n_C
