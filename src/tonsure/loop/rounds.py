"""Rounds of active learning: fit, measure, predict, select, ask for labels."""

import copy
import inspect
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from tonsure.arguments import function, instance, optional, refusal, whole_number
from tonsure.errors import InputError, SelectionWarning
from tonsure.loop.labels import Oracle
from tonsure.loop.pool import Pool
from tonsure.methods import DEFAULT, DEFAULT_WITH_FEATURES, Method, Score
from tonsure.models import BayesianModel
from tonsure.models.bayesian_model import a_model
from tonsure.models.examples import Inputs, Labels, as_validation, classes
from tonsure.models.features import features
from tonsure.models.predict import predict
from tonsure.objectives.base import Objective
from tonsure.optimizers import Optimizer
from tonsure.search.backend import Backend
from tonsure.search.plan import as_bytes
from tonsure.seeding import derive_seed
from tonsure.select import choose_from
from tonsure.selection import Selection
from tonsure.strategies import PoolState, Strategy
from tonsure.surroundings import modeling, usable_device
from tonsure.training import Examples

HELD_OUT = 0.3
"""The share of the labels that a model is fitted without, for strategies that look at held-out predictions."""

Measurement = Callable[[BayesianModel], Mapping[str, float]]
"""From a fitted model to metrics by name."""


@dataclass(frozen=True)
class Round:
    """The results of one round.

    Attributes:
        labeled: the number of labels that the model was fitted to.
        metrics: of the fitted model, by name.
        rows: the rows selected and labeled after that, in the order selected; empty in the last round.
        labels: their classes, in the same order.
        gains: the gain of each row when it was selected, in nats where the objective is an information, else in the
            unit of the method.
        positive: the number of rows with a positive gain.
        seconds: the time of "fit", "predict" (features included) and "select" (what the method alone needs included,
            as another fit for held-out predictions).
        peak_memory: the largest memory of the process so far, plus that of its GPU, in bytes.
        warnings: the texts of the warnings of ``select``.
    """

    labeled: int
    metrics: Mapping[str, float]
    rows: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    positive: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    warnings: list[str] = field(default_factory=list)


def rounds(
    pool: Pool,
    model: BayesianModel,
    method: Objective[Any, Any] | Strategy | Score | Method | str | None,
    k: SupportsIndex,
    *,
    oracle: Oracle,
    max_labels: SupportsIndex,
    optimizer: Optimizer | str | None = None,
    metrics: Measurement | None = None,
    validation: tuple[Inputs, Labels] | None = None,
    seed: SupportsIndex = 0,
    device: str | torch.device = "cpu",
    memory: int | str | None = None,
    backend: Backend | None = None,
) -> Iterator[Round]:
    """Active learning: fits the model to the labels so far, selects the next k rows, asks for their labels, repeats.

    Where nothing is labeled, there is no model yet. The first batch is then chosen by the method, if it needs none:
    ``FacilityLocation`` without its score, or ``TypiClust``, for example, by the features of the pool. Otherwise it is
    drawn uniformly. Its round has no metrics.

    A round is yielded after its labels have been added to the pool. The seeds of fitting and selecting depend on
    ``seed`` and on the number of labels alone, so a loop that is restarted on the same pool continues as it would have.

    Args:
        pool: with initial labels or none; labels are added in place. Methods that compare items look at the features of
            the pool, if it has its own, else at those of the model.
        model: fitted anew in every round. For a strategy that looks at held-out predictions, a copy of it is fitted to
            70% of the labels, drawn at random; with fewer than three labels none is held out.
        method: as for ``select``; None is the default, ``FacilityLocation()`` if the pool or the model has features.
        k: the number of rows selected in a round; fewer in the last round if ``max_labels`` or the pool end there.
        oracle: called with rows, returns their labels: a person, a file, or ``KnownLabels`` to simulate. The answer is
            checked before any of it is added to the pool.
        max_labels: the number of labels at which to stop, after one more fit and measurement.
        optimizer: as for ``select``.
        metrics: computed of every fitted model, for example ``accuracy(test_inputs, test_labels)``.
        validation: inputs and labels passed to ``model.fit`` for early stopping; None passes nothing.
        seed: of the initial weights, the training and the selection.
        device: where the selection is done; the model has its own.
        memory: as for ``select``.
        backend: as for ``select``.

    Raises:
        InputError: an argument is of another type or out of range, the model takes no validation, its predictions or
            features cannot be used, or the answer of the oracle is not one class for each row.

    Warns:
        SelectionWarning: as ``select``; the round keeps the text too.
    """
    instance(Pool, "tonsure.Pool(inputs, labels)")("pool", pool)
    a_model("model", model)
    function("oracle", oracle)
    optional(function)("metrics", metrics)
    k, max_labels, seed = (
        whole_number("k", k, 1),
        whole_number("max_labels", max_labels, 1),
        whole_number("seed", seed, 0),
    )
    where, budget = usable_device(device), None if memory is None else as_bytes(memory)
    chosen = _default(pool, model) if method is None and optimizer is None else Method(method, optimizer)
    stop_by = _checked_validation(model, validation)
    while True:
        labeled = len(pool.labels)
        seconds = {"fit": 0.0, "predict": 0.0, "select": 0.0}
        unlabeled_rows = pool.unlabeled_rows
        count = min(k, max_labels - labeled, len(unlabeled_rows))
        by: Method | None = chosen
        measured: dict[str, float] = {}
        seen: dict[str, Tensor] = {}
        with modeling():
            if labeled == 0:
                by, seen = _without_model(pool, chosen)
            else:
                with _timed(seconds, "fit"):
                    _fit(model, *pool.labeled(), derive_seed(seed, labeled, 0), stop_by)
                measured = _measured(metrics, model) if metrics else {}
                if count >= 1:
                    with _timed(seconds, "predict"):
                        seen = _look(model, pool, chosen)
        if count < 1:
            yield Round(labeled, measured, seconds=seconds, peak_memory=peak_memory())
            return
        with _timed(seconds, "select"):
            if labeled and isinstance(chosen.method, Strategy) and chosen.method.needs_held_out_predictions:
                with modeling():
                    seen |= _held_out(model, pool, derive_seed(seed, labeled, 2), stop_by)
            there = {name: tensor.to(where) for name, tensor in seen.items()}
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", SelectionWarning)
                state = PoolState(
                    pool.labeled_rows, pool.labels, unlabeled_rows, **there, memory=budget, backend=backend
                )
                drawn_by = derive_seed(seed, labeled, 1)
                selection = choose_from(state, by, count, seed=drawn_by) if by else _drawn(state, count, drawn_by)
        for warning in caught:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        rows = selection.rows
        labels = _checked_answer(oracle(rows.clone()), rows, seen.get("log_probs_n_K_C"))
        pool.label(rows, labels)
        yield Round(
            labeled,
            measured,
            rows.tolist(),
            labels.tolist(),
            selection.gains.tolist(),
            selection.positive,
            seconds,
            peak_memory(),
            [str(warning.message) for warning in caught],
        )


def _checked_validation(model: BayesianModel, validation: object) -> Examples | None:
    if validation is None:
        return None
    parameters = inspect.signature(model.fit).parameters.values()
    if not any(each.name == "validation" or each.kind is each.VAR_KEYWORD for each in parameters):
        raise InputError(f"validation is for early stopping, but {type(model).__name__}.fit takes no validation")
    return as_validation(validation)


def _fit(model: BayesianModel, inputs: Tensor, labels: Tensor, seed: int, validation: Examples | None) -> None:
    # Models may work in place: they are given copies.
    stop_by: dict[str, Any] = {}
    if validation is not None:
        stop_by["validation"] = tuple(each.clone() for each in validation)
    model.fit(inputs, labels, seed=seed, **stop_by)


def _measured(metrics: Measurement, model: BayesianModel) -> dict[str, float]:
    found = metrics(model)
    if not isinstance(found, Mapping):
        raise refusal("what metrics returns", found, "a dict from names to numbers")
    return dict(found)


def _checked_answer(answer: object, rows: Tensor, log_probs_n_K_C: Tensor | None) -> Tensor:
    """The labels of the rows; raises InputError before anything is recorded."""
    labels = classes("answer of the oracle", answer, f"{len(rows)} classes, numbered from 0")
    if len(labels) != len(rows):
        raise InputError(f"the oracle gave {len(labels)} labels for the {len(rows)} rows {rows.tolist()}")
    if log_probs_n_K_C is not None:
        C = log_probs_n_K_C.shape[2]
        if (labels >= C).any():
            place = int((labels >= C).nonzero()[0])
            raise InputError(
                f"the oracle gave row {int(rows[place])} the label {int(labels[place])}, but the model has {C} "
                f"classes, 0 to {C - 1}"
            )
    return labels


def _default(pool: Pool, model: BayesianModel) -> Method:
    """The default of ``select``: with features if the pool or the model has them."""
    return DEFAULT_WITH_FEATURES if pool.features is not None or model.has_features else DEFAULT


def _without_model(pool: Pool, method: Method) -> tuple[Method | None, dict[str, Tensor]]:
    """What chooses the first batch, and the features that it sees; None where that would take a model."""
    first = method.method.before_labels if isinstance(method.method, Strategy) else None
    if first is None or (first.needs_features and pool.features is None):
        return None, {}
    return Method(first), {} if pool.features is None else {"features_N_D": pool.features}


def _drawn(state: PoolState, k: int, seed: int) -> Selection:
    """k of the unlabeled rows, drawn uniformly; each gain is 0."""
    places = torch.randperm(len(state.unlabeled_rows), generator=torch.Generator().manual_seed(seed))[:k]
    return Selection(state.unlabeled_rows[places], torch.zeros(k, dtype=torch.float64))


def _look(model: BayesianModel, pool: Pool, method: Method) -> dict[str, Tensor]:
    """The features and predictions that the method needs."""
    needs = method.method
    if not isinstance(needs, Strategy):
        return {"log_probs_n_K_C": predict(model, pool.inputs, pool.unlabeled_rows)}
    seen = {}
    if needs.needs_features:
        seen["features_N_D"] = features(model, pool.inputs) if pool.features is None else pool.features
    if needs.uses_last_layer and pool.features is not None and model.has_features:
        seen["last_layer_N_D"] = features(model, pool.inputs)
    if needs.needs_predictions:
        seen["log_probs_n_K_C"] = predict(model, pool.inputs, pool.unlabeled_rows)
    if needs.needs_labeled_predictions:
        seen["labeled_log_probs_m_K_C"] = predict(model, pool.inputs, pool.labeled_rows)
    return seen


def _held_out(model: BayesianModel, pool: Pool, seed: int, validation: Examples | None) -> dict[str, Tensor]:
    """Some labeled rows, drawn at random, with the predictions of a model that is fitted to the others."""
    labels_m = pool.labels
    order = torch.randperm(len(labels_m), generator=torch.Generator().manual_seed(seed))
    # Two classes stay in, where there are two: not every model can be fitted to one.
    others = (labels_m[order] != labels_m[order[0]]).nonzero()[:1, 0]
    first = torch.cat([torch.zeros(1, dtype=torch.int64), others])
    order = torch.cat([order[first], order[~torch.isin(torch.arange(len(order)), first)]])
    fitted = max(min(2, len(order)), len(order) - round(HELD_OUT * len(order)))
    kept, held_out = (pool.labeled_rows[places] for places in (order[:fitted], order[fitted:]))
    if len(held_out) == 0:
        return {"held_out_rows": held_out, "held_out_log_probs_n_K_C": torch.zeros(0, model.samples, 2)}
    other = copy.deepcopy(model)  # the model of the round stays as it is
    _fit(other, pool.inputs[kept], labels_m[order[:fitted]], seed, validation)
    return {"held_out_rows": held_out, "held_out_log_probs_n_K_C": predict(other, pool.inputs, held_out)}


def peak_memory() -> int:
    """The largest memory of this process so far, plus that of its GPU, in bytes."""
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0
    if sys.platform == "win32":
        return gpu
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return gpu + most * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
