"""Strategy: how a batch is chosen where predictions for the unlabeled rows are not all that is looked at."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tonsure.checks import check_features, check_log_probs
from tonsure.errors import InputError, SelectionWarning
from tonsure.select import Selection, gathered


@dataclass(frozen=True, eq=False)
class View:
    """What a strategy sees of a round: N rows of a pool, of which m are labeled and n are not.

    Attributes:
        labeled_rows: in the order in which the labels were given.
        labels_m: their classes.
        unlabeled_rows: all others, ascending; those that may be chosen.
        features_N_D: what the last layer of the fitted network is given, for every row of the pool.
        log_probs_n_K_C: log p(y = c | x_i, θ_k) in nats, for ``unlabeled_rows``.
        labeled_log_probs_m_K_C: the same for ``labeled_rows``, by the same posterior samples.

    What the strategy does not need may be None.

    Raises:
        InputError: the rows are not all rows of a pool, each once, something has not one row for each of them, or
            features are nan or infinite; the message names the first such row.
    """

    labeled_rows: Tensor
    labels_m: Tensor
    unlabeled_rows: Tensor
    features_N_D: Tensor | None = None
    log_probs_n_K_C: Tensor | None = None
    labeled_log_probs_m_K_C: Tensor | None = None

    def __post_init__(self) -> None:
        m, n, N = len(self.labeled_rows), len(self.unlabeled_rows), len(self)
        if not torch.equal(torch.cat([self.labeled_rows, self.unlabeled_rows]).sort().values, torch.arange(N)):
            raise InputError(
                f"{m} labeled and {n} unlabeled rows are no pool: expected every row from 0 to {N - 1} once"
            )
        for what, tensor, expected in (
            ("labels_m", self.labels_m, m),
            ("features_N_D", self.features_N_D, N),
            ("log_probs_n_K_C", self.log_probs_n_K_C, n),
            ("labeled_log_probs_m_K_C", self.labeled_log_probs_m_K_C, m),
        ):
            if tensor is not None and len(tensor) != expected:
                raise InputError(
                    f"{what} has the shape {list(tensor.shape)}, expected {expected} rows: {m} rows of the pool are "
                    f"labeled and {n} are not"
                )
        if self.features_N_D is not None:
            check_features(self.features_N_D)

    def __len__(self) -> int:
        return len(self.labeled_rows) + len(self.unlabeled_rows)

    def check_count(self, k: int) -> None:
        """Refuses a batch that is empty or larger than what is left.

        Raises:
            InputError: k is not from 1 to n.
        """
        n = len(self.unlabeled_rows)
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= n:
            raise InputError(f"k is {k!r}, expected a whole number from 1 to {n}, as so many rows are not labeled")

    def features(self) -> Float[Tensor, "N D"]:
        """Of every row of the pool.

        Raises:
            InputError: they are not there.
        """
        return _given("features_N_D", self.features_N_D)

    def predictions(self) -> Float[Tensor, "n K C"]:
        """Of ``unlabeled_rows``.

        Raises:
            InputError: they are not there.
        """
        return _given("log_probs_n_K_C", self.log_probs_n_K_C)

    def mean_probs(self) -> Float64[Tensor, "n C"]:
        """1/K Σ_k p(y = c | x_i, θ_k) for ``unlabeled_rows``.

        Raises:
            InputError: predictions are not there, or are no log-probabilities.
        """
        return _mean_probs(self.predictions())

    def labeled_mean_probs(self) -> Float64[Tensor, "m C"]:
        """The same for ``labeled_rows``."""
        return _mean_probs(_given("labeled_log_probs_m_K_C", self.labeled_log_probs_m_K_C))


class Strategy(ABC):
    """From what is seen of a round to the rows that are labeled next; final ones are frozen dataclasses.

    An objective sees items and knows no rows; a strategy sees the whole pool, with its labels. In ``rounds`` and in
    ``Method`` it stands where an objective may stand, and needs no optimizer.
    To write one: a frozen dataclass with ``choose``, and what it needs;
    ``tonsure.testing.check_strategy(mine, view)`` checks that it keeps the contract.
    """

    needs_features: ClassVar[bool] = False
    """Whether it looks at ``features_N_D``."""

    needs_predictions: ClassVar[bool] = False
    """Whether it looks at ``log_probs_n_K_C``."""

    needs_labeled_predictions: ClassVar[bool] = False
    """Whether it looks at ``labeled_log_probs_m_K_C``."""

    @abstractmethod
    def choose(self, view: View, k: int, generator: torch.Generator) -> Selection:
        """k of the view's unlabeled rows, in the order chosen, with what each was worth when it joined.

        All chance comes from the generator. Rows are rows of the pool; gains are finite, in the strategy's own unit.

        Raises:
            InputError: k is not from 1 to the number of unlabeled rows, or what the strategy needs is not there.
        """


def selected(strategy: Strategy, view: View, k: int, picks: Iterable[tuple[int, float]]) -> Selection:
    """The first k picks, rows of the pool with their gains; k is checked before the first of them is made.

    Raises:
        InputError: as ``View.check_count``.

    Warns:
        SelectionWarning: some of the picks had no positive gain.
    """
    view.check_count(k)
    selection = gathered(picks, k)
    if selection.positive < k:
        warnings.warn(
            f"only {selection.positive} of the {k} picks have a positive gain under {strategy}: by its measure the "
            "others add nothing to the batch. Label fewer.",
            SelectionWarning,
            stacklevel=3,
        )
    return selection


def _given(name: str, tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise InputError(f"the strategy looks at what this view does not have: {name} is None")
    return tensor


def _mean_probs(log_probs_n_K_C: Tensor) -> Float64[Tensor, "n C"]:
    if len(log_probs_n_K_C) == 0:
        return log_probs_n_K_C.new_zeros(0, log_probs_n_K_C.shape[2], dtype=torch.float64)
    check_log_probs([log_probs_n_K_C])
    # Sample by sample: what stands beside the predictions is one sample of them.
    total_n_C = torch.zeros_like(log_probs_n_K_C[:, 0], dtype=torch.float64)
    for log_probs_n_C in log_probs_n_K_C.unbind(1):
        total_n_C += log_probs_n_C.double().exp()
    return total_n_C / total_n_C.sum(dim=1, keepdim=True)
