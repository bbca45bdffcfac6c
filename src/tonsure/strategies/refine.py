"""Refine: several methods filter the pool, and a coverage method chooses from what is left."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tonsure.arguments import real, refusal, setting, whole
from tonsure.errors import SelectionWarning
from tonsure.objectives import Pointwise
from tonsure.objectives.base import Objective
from tonsure.optimizers import Optimizer
from tonsure.scores import margin
from tonsure.search.plan import plan
from tonsure.selection import Selection
from tonsure.shapes import Rows
from tonsure.strategies.badge import BADGE
from tonsure.strategies.base import PoolState, Strategy, as_reader, selected
from tonsure.strategies.facility_location import FacilityLocation
from tonsure.strategies.memory import sizes
from tonsure.strategies.typi_clust import TypiClust
from tonsure.surroundings import selecting

COVERAGE = FacilityLocation()
"""In place of Uncertainty Herding, with the same objective."""

ENSEMBLE = (Pointwise(margin), BADGE(), TypiClust(), FacilityLocation(score=None), COVERAGE)
"""The methods that filter, if none are given."""

EXPECTED = "a strategy, an objective, a score function, or an objective and its optimizer in a tuple"


def _member(name: str, given: object) -> Any:
    """The check of a method."""
    method, optimizer = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    if callable(method) and not isinstance(method, type | Objective | Strategy | Optimizer):
        method = Pointwise(method)
    if isinstance(method, Objective | Strategy) and optimizer is None:
        return method
    if isinstance(method, Objective) and isinstance(optimizer, Optimizer):
        return method, optimizer
    raise refusal(name, given, EXPECTED)


def _members(name: str, given: object) -> tuple[Any, ...]:
    """The check of several methods."""
    if not isinstance(given, list | tuple) or not given:
        raise refusal(name, given, f"a list of methods, each {EXPECTED}")
    return tuple(_member(f"{name}[{place}]", each) for place, each in enumerate(given))


@dataclass(frozen=True)
class Refine(Strategy):
    """C_r = ∪_s ∪_j s(share of C_{r−1}),   r = 1, …, rounds;   ``last`` chooses k rows of C_rounds

    Progressive filtering: C_0 are the rows that may be chosen. In each round, each method s chooses k rows ``batches``
    times, each time from another random share of the rows that are left, and the union of all these is left. A row
    survives if in each round some method finds it worth choosing. ``last`` covers what survives, so that all that the
    methods know as worth has a part in the batch.

    A method sees the labeled rows and its share, as if these were the pool; ``last`` sees the labeled rows and what is
    left. A share has at least k rows, and one of k rows is taken as it is. Gains are those of ``last``.

    Cost: rounds · batches times that of all methods, on shares. After the first round at most batches · k rows for each
    method are left. Memory: the largest that one of the methods needs on a share, or ``last`` on what is left.

    Source: Huseljic, Herde, Rauch, Hahn & Sick, CVPR 2026, arXiv 2511.22344, known here from summaries of the paper:
    the formula, 5 rounds, 10 batches, a share of 0.4, and Uncertainty Herding as the last method. It compares with
    margin, BADGE, TypiClust, MaxHerding, BAIT, AlfaMix, DropQuery and Uncertainty Herding; which of these filter there,
    we did not find. Decided here: the filters are those of them that are fast, and facility location stands for both
    kinds of Herding; ``last`` covers what is left, not the pool; and where only some rows may be chosen, the others
    count without being filtered: a share of them in each choice, and all of them in the last one.

    Args:
        methods: the filters: strategies, objectives, score functions, or pairs of an objective and its optimizer.
            Without one, an objective is searched by the optimizer that suits it.
        rounds: how often the rows are filtered.
        batches: how often each method chooses in a round.
        share: how many of the rows that are left a method sees, above 0 and at most 1.
        last: the method that chooses the batch; as one of ``methods``.

    Raises:
        InputError: a setting is out of range or no method; in ``choose``, as the methods.
        MissingExtraError: in ``choose``, as the methods, of which ``TypiClust`` needs scikit-learn.
    """

    methods: Sequence[Any] = setting(_members, ENSEMBLE)
    rounds: int = setting(whole(1), 5)
    batches: int = setting(whole(1), 10)
    share: float = setting(real(above=0, most=1), 0.4)
    last: Any = setting(_member, COVERAGE)

    @property
    def needs_features(self) -> bool:
        return any(each.needs_features for each in self._all if isinstance(each, Strategy))

    @property
    def uses_last_layer(self) -> bool:
        return any(each.uses_last_layer for each in self._all if isinstance(each, Strategy))

    @property
    def needs_predictions(self) -> bool:
        return any(not isinstance(each, Strategy) or each.needs_predictions for each in self._all)

    @property
    def needs_labeled_predictions(self) -> bool:
        return any(each.needs_labeled_predictions for each in self._all if isinstance(each, Strategy))

    @property
    def _all(self) -> tuple[Any, ...]:
        return *self.methods, self.last

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        with selecting():
            state.check_count(k)
            self._check_needs(state)
            left = self._left(state, k, generator)
            others = state.unlabeled_rows[~state.choosable_n]
            found = _chosen(self.last, self._part(state, left, others), k, generator)
            rows = _rows_of(state, left, others)[found.rows]
        return selected(self, state, k, zip(rows.tolist(), found.gains.tolist(), strict=True))

    def memory_needed(self, state: PoolState, k: int) -> int | None:
        rows, others = state.choosable_rows, state.unlabeled_rows[~state.choosable_n]
        share = self._part(state, rows[: self._size(len(rows), k)], others[: self._size(len(others), 0)])
        left = self._part(state, rows[: len(self.methods) * self.batches * k], others)
        needed = [_needed(each, share, k) for each in self.methods] + [_needed(self.last, left, k)]
        return None if None in needed else sizes(state).rows + max(bytes_ for bytes_ in needed if bytes_ is not None)

    def _check_needs(self, state: PoolState) -> None:
        """Raises InputError if something is missing, also where the method that needs it has nothing to decide."""
        if self.needs_features:
            state.feature_reader()
        if self.needs_predictions:
            state.prediction_reader()
        if self.needs_labeled_predictions:
            state.labeled_prediction_reader()

    def _left(self, state: PoolState, k: int, generator: torch.Generator) -> Rows:
        """The rows that survive all rounds, ascending."""
        left, others = state.choosable_rows, state.unlabeled_rows[~state.choosable_n]
        for _ in range(self.rounds):
            survives_N = torch.zeros(len(state), dtype=torch.bool)
            for method in self.methods:
                for _ in range(self.batches):
                    rows = _drawn(left, self._size(len(left), k), generator)
                    if len(rows) > k:
                        seen = _drawn(others, self._size(len(others), 0), generator)
                        found = _chosen(method, self._part(state, rows, seen), k, generator)
                        rows = _rows_of(state, rows, seen)[found.rows]
                    survives_N[rows] = True
            left = survives_N.nonzero()[:, 0]
        return left

    def _size(self, rows: int, least: int) -> int:
        """The number of rows that a method sees."""
        return max(least, math.ceil(self.share * rows))

    def _part(self, state: PoolState, rows: Tensor, others: Tensor) -> PoolState:
        """The pool of the labeled rows, of ``rows``, which may be chosen, and of ``others``, which may not."""
        pool_rows = _rows_of(state, rows, others)
        unlabeled_rows = torch.cat([rows, others]).sort().values
        features, last, log_probs = state.features_N_D, state.last_layer_N_D, state.log_probs_n_K_C
        return PoolState(
            torch.searchsorted(pool_rows, state.labeled_rows),
            state.labels_m,
            torch.searchsorted(pool_rows, unlabeled_rows),
            None if features is None else as_reader(features).at(pool_rows),
            None
            if log_probs is None
            else as_reader(log_probs).at(torch.searchsorted(state.unlabeled_rows, unlabeled_rows)),
            state.labeled_log_probs_m_K_C,
            candidate_rows=torch.searchsorted(pool_rows, rows) if len(others) else None,
            memory=None if state.memory is None else state.memory - sizes(state).rows,
            last_layer_N_D=None if last is None else as_reader(last).at(pool_rows),
        )


def _rows_of(state: PoolState, rows: Tensor, others: Tensor) -> Tensor:
    """The rows of the whole pool that a part of it has, in its order."""
    return torch.cat([state.labeled_rows, rows, others]).sort().values


def _drawn(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many of the rows, ascending, drawn without replacement."""
    return rows[torch.randperm(len(rows), generator=generator)[:count].sort().values]


def _chosen(method: Any, state: PoolState, k: int, generator: torch.Generator) -> Selection:
    """What a method chooses; that some of its gains are small is of no interest to the caller."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SelectionWarning)
        if isinstance(method, Strategy):
            return method.choose(state, k, generator)
        objective, optimizer = method if isinstance(method, tuple) else (method, None)
        return state.search(objective, k, optimizer, seed=int(torch.randint(2**31, (), generator=generator)))


def _needed(method: Any, state: PoolState, k: int) -> int | None:
    """The memory that a method needs."""
    if isinstance(method, Strategy):
        return method.memory_needed(state, k)
    objective = method[0] if isinstance(method, tuple) else method
    return plan(state.prediction_reader(), objective, k).least
