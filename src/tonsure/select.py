"""The front door: from predictions, features and labels to the rows to label next."""

from collections.abc import Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tonsure.arguments import refusal, shown, whole_number
from tonsure.errors import InputError
from tonsure.methods import DEFAULT, DEFAULT_FEATURES_ALONE, DEFAULT_WITH_FEATURES, Method, Score
from tonsure.objectives import GivenScores, Pointwise
from tonsure.objectives.base import Objective
from tonsure.optimizers import Optimizer
from tonsure.predictions.arrays import Array
from tonsure.predictions.open import Numbers, Whole, numbers, open_features, open_predictions, whole_numbers
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store import Store
from tonsure.search.backend import Backend
from tonsure.search.plan import as_bytes, as_text, plan
from tonsure.selection import Selection, search, warn_of_saturation
from tonsure.strategies.base import WHERE, PoolState, Strategy, as_reader
from tonsure.surroundings import selecting, usable_device


@dataclass(frozen=True, eq=False)
class PoolInputs:
    """What a method may look at, checked.

    Attributes:
        N: the number of rows of the pool.
        predictions: of all rows, [N, K, C]; None if there are none.
        scores: of all rows, [N, 1], in place of predictions.
        features: of all rows, [N, D].
        last_layer: the inputs of the last layer of the model, [N, D]; None if these are the features.
        labeled_rows: in the order given.
        labels_m: their classes; None if they are unknown.
        unlabeled_rows: all other rows, ascending.
        candidate_rows: those that may be chosen, ascending.
    """

    N: int
    predictions: PoolReader | None
    scores: PoolReader | None
    features: PoolReader | None
    last_layer: PoolReader | None
    labeled_rows: Tensor
    labels_m: Tensor | None
    unlabeled_rows: Tensor
    candidate_rows: Tensor


def select(
    predictions: Array | list[Any] | tuple[Any, ...] | Store | None = None,
    method: Objective[Any, Any] | Strategy | Score | Method | str | None = None,
    k: Whole | None = None,
    *,
    features: Array | Store | None = None,
    last_layer: Array | Store | None = None,
    labeled: Numbers | None = None,
    labels: Numbers | None = None,
    candidates: Numbers | None = None,
    optimizer: Optimizer | str | None = None,
    seed: Whole = 0,
    samples: Numbers | None = None,
    memory: int | str | None = None,
    device: str | torch.device | None = None,
    backend: Backend | None = None,
) -> Selection:
    """Chooses the k rows of a pool to label next.

    The same arguments give the same rows, whatever the memory, the number of parts or machines, and the storage type.
    The inputs are not modified. The memory plan is logged to the logger ``tonsure``.

    Args:
        predictions: log p(y = c | x_i, θ_k) in nats, [N, K, C], for N rows, K posterior samples and C classes: a tensor
            or an array in float16, bfloat16, float32 or float64, on the CPU or a GPU; −inf is an impossible class. Or a
            list of such parts, in the order of the pool, on one device. Or a ``Store``, which is read block by block.
            Arrays of other libraries, reversed ones and those of a foreign byte order are converted in memory.
            Or scores [N], for methods that use predictions only through a score. None for methods that use neither.
        method: an objective such as ``LargeBatchBALD()``, a strategy such as ``BADGE()``, a score function such as
            ``bald``, or a name (see ``Method``). None is the default: with features ``FacilityLocation()``, with
            predictions alone ``PredictionCoverage()``, the best of their kind in docs/evidence.md; with features alone
            ``FacilityLocation(score=None)``; with scores alone the largest.
        k: the number of rows, from 1 to the number of candidates. Required.
        features: [N, D], by which items are compared: those of a pretrained encoder, or the penultimate activations of
            the model (``tonsure.features``). A memory-mapped array is read block by block. None: those of the store, if
            ``predictions`` is a store that has them.
        last_layer: [N, D], the penultimate activations of the model, where ``features`` are those of an encoder: the
            default compares items by both. None: those of the store, as above.
        labeled: the rows whose labels are known, as numbers or as a mask. They are not chosen, and methods that use
            features count what is near them as covered.
        labels: the classes of ``labeled``, numbered from 0, in the same order (of a mask: ascending), for methods that
            use them.
        candidates: the rows that may be chosen, as numbers or as a mask; None is all that are not labeled. The other
            rows still count as part of the pool.
        optimizer: how an objective is searched, as an object or a name; None is the one that suits it: ``LazyGreedy()``
            where gains depend on the batch, ``TopK()`` where they do not, a uniform draw for ``Random()``.
        seed: of all random choices. (``BatchBALD`` has its own seed for its estimates.)
        samples: the posterior samples to use, from 0 to K − 1; None is all of them.
        memory: the memory that the selection may hold beyond its inputs, in bytes or as text ("4GB"). None is the notes
            of all rows, one block of items, and up to 1 GiB for prepared items or similarities.
        device: where the work is done; None is where the inputs are.
        backend: runs the passes over the pool, for example on a Ray cluster; None is this process.

    Returns:
        The rows in the order chosen, with their gains.

    Raises:
        InputError: an input has another type, shape or range than described (the message shows the first offending
            row); the method needs something that is missing, or does not support ``memory`` or ``backend``; K is too
            small for the method; or the memory is too small (the message states the minimum).
        OutOfMemoryError: the machine has less memory than the selection takes.

    Warns:
        SelectionWarning: some of the rows have no positive gain, or the batch already carries nearly all information
            that K posterior samples can (log K nats); or the predictions are a list of parts of the same length with
            one sample, which may be the members of an ensemble.
    """
    with selecting():
        where = checked_device(device)
        pool = open_pool(predictions, features, last_layer, labeled, labels, candidates, samples, where)
        chosen = method_for(pool, method, optimizer)
        budget = None if memory is None else as_bytes(memory)
        return choose(pool, chosen, k, seed=seed, memory=budget, backend=backend)


def open_pool(
    predictions: object,
    features: object,
    last_layer: object,
    labeled: object,
    labels: object,
    candidates: object,
    samples: Numbers | None,
    device: torch.device | None,
) -> PoolInputs:
    """The inputs of ``select``, checked; raises InputError as it does."""
    reader = None if predictions is None else open_predictions(predictions, samples, device)
    if predictions is None and samples is not None:
        raise InputError("samples selects posterior samples of the predictions, but there are no predictions")
    there = device or _device_of(reader)
    of_store = predictions.feature_reader(device) if isinstance(predictions, Store) else None
    feature_reader = of_store if features is None else open_features(features, reader, there)
    if last_layer is None:
        last_reader = None if features is None or features is predictions else of_store
    elif features is None:
        raise InputError(
            f"last_layer is {shown(last_layer)}, but there are no features beside it: without those of an encoder, "
            "give it as the features"
        )
    else:
        there = there or _device_of(feature_reader)
        last_reader = open_features(last_layer, reader or feature_reader, there, "last_layer")
    if reader is None and feature_reader is None:
        raise InputError(f"there is no pool to choose from: expected {WHERE['predictions']}, scores [N], or features=")
    N = len(reader) if reader is not None else len(feature_reader)  # type: ignore[arg-type]  # then it is there
    if isinstance(labeled, Set) and labels is not None:
        raise refusal("labeled", labeled, "a list, as the labels are in its order")
    labeled_rows = numbers("labeled", [] if labeled is None else labeled, N, empty=True)
    unlabeled_N = torch.ones(N, dtype=torch.bool)
    unlabeled_N[labeled_rows] = False
    unlabeled_rows = unlabeled_N.nonzero()[:, 0]
    if candidates is None:
        candidate_rows = unlabeled_rows
    else:
        candidate_rows = numbers("candidates", candidates, N).sort().values
        both = candidate_rows[~unlabeled_N[candidate_rows]]
        if len(both):
            raise InputError(f"row {int(both[0])} is both labeled and a candidate")
    if len(candidate_rows) == 0:
        raise InputError(f"all {N} rows are labeled: there is nothing to choose")
    is_scores = reader is not None and reader.pieces[0].ndim == 2
    return PoolInputs(
        N,
        None if is_scores else reader,
        reader if is_scores else None,
        feature_reader,
        last_reader,
        labeled_rows,
        _checked_labels(labels, labeled is not None, len(labeled_rows)),
        unlabeled_rows,
        candidate_rows,
    )


def method_for(pool: PoolInputs, method: object, optimizer: object = None) -> Method:
    """The method, or the default for what the pool has; raises InputError as ``Method`` does."""
    if method is not None:
        return Method(method, optimizer)
    if pool.features is not None:
        found = DEFAULT_FEATURES_ALONE if pool.predictions is None and pool.scores is None else DEFAULT_WITH_FEATURES
    else:
        found = DEFAULT if pool.predictions is not None else Method(Pointwise())
    if optimizer is None:
        return found
    if isinstance(found.method, Strategy):
        raise InputError(f"the default, {found.method}, takes no optimizer, found {shown(optimizer)}")
    return Method(found.method, optimizer)


def choose(
    pool: PoolInputs,
    method: Method,
    k: object,
    *,
    seed: Whole = 0,
    memory: int | None = None,
    backend: Backend | None = None,
) -> Selection:
    """What ``select`` does once its inputs are checked."""
    k = whole_number("k", k, 1, len(pool.candidate_rows), ", the number of rows that may be chosen")
    seed = whole_number("seed", seed, 0, 2**63 - 1)
    if isinstance(method.method, Strategy):
        state = _state(pool, method.method, memory, backend)
        _check_strategy(method.method, state, k)
        with _session(state):
            return method.method.choose(state, k, torch.Generator().manual_seed(seed))
    _check_backend(backend)
    reader, objective = _reader_for(pool, method.method)
    selection = search(reader, objective, k, method.optimizer, seed=seed, memory=memory, backend=backend)
    if not isinstance(objective, GivenScores):
        warn_of_saturation(selection, objective, reader.stored(torch.zeros(1, dtype=torch.int64)), stacklevel=4)
    return selection


def check_fits(pool: PoolInputs, method: Method, k: int, memory: int | None, backend: Backend | None) -> None:
    """Raises InputError if the method cannot choose k rows of this pool within the memory or on the backend."""
    if isinstance(method.method, Strategy):
        _check_strategy(method.method, _state(pool, method.method, memory, backend), k)
        return
    _check_backend(backend)
    reader, objective = _reader_for(pool, method.method)
    if memory is not None:
        plan(reader, objective, k, memory)


def choose_from(state: PoolState, method: Method, k: int, *, seed: int) -> Selection:
    """The rows of a pool that is known as a whole, as ``rounds`` knows it; raises and warns as ``select`` does."""
    with selecting():
        if isinstance(method.method, Strategy):
            _check_strategy(method.method, state, k)
            with _session(state):
                return method.method.choose(state, k, torch.Generator().manual_seed(seed))
        _check_backend(state.backend)
        selection = state.search(method.method, k, method.optimizer, seed=seed)
        warn_of_saturation(selection, method.method, state.predictions()[:1], stacklevel=4)
        return selection


def _session(state: PoolState) -> AbstractContextManager[None]:
    """The passes of a strategy over the pool share one connection to the backend."""
    if state.backend is None:
        return nullcontext()
    seen = (state.features_N_D, state.last_layer_N_D, state.log_probs_n_K_C)
    return state.backend.session([as_reader(each) for each in seen if each is not None])


def _check_backend(backend: object) -> None:
    if backend is not None and not isinstance(backend, Backend):
        raise refusal("backend", backend, "one such as tonsure.backends.RayBackend()")


def _check_strategy(strategy: Strategy, state: PoolState, k: int) -> None:
    """Raises InputError if the strategy does not support the backend or the memory of the state."""
    _check_backend(state.backend)
    if state.backend is not None and not strategy.uses_backend:
        raise InputError(f"{strategy} runs in this process only: expected no backend, found {state.backend}")
    if state.memory is None:
        return
    needed = strategy.memory_needed(state, k)
    if needed is None:
        raise InputError(f"{strategy} does not plan its memory: expected no memory, found {as_text(state.memory)}")
    if needed > state.memory:
        raise InputError(
            f"memory is {as_text(state.memory)}, but {strategy} over {len(state):,} rows needs at least "
            f"{as_text(needed, up=True)} beyond its inputs"
        )


def checked_device(device: str | torch.device | None) -> torch.device | None:
    """The device, if it can be used here.

    Raises:
        InputError: there is none of that name, or it is not available.
    """
    return None if device is None else usable_device(device)


def _reader_for(pool: PoolInputs, objective: Objective[Any, Any]) -> tuple[PoolReader, Objective[Any, Any]]:
    """What an objective reads, the candidates alone; scores become the objective themselves."""
    reader = pool.predictions
    if isinstance(objective, GivenScores):
        if pool.scores is None:
            raise InputError(f"{objective} needs scores [N] in place of predictions")
        reader = pool.scores
    elif reader is None and not objective.needs_predictions:
        reader = pool.scores or pool.features
    elif reader is None and pool.scores is not None and isinstance(objective, Pointwise):
        reader, objective = pool.scores, GivenScores()
    if reader is None:
        hint = "" if pool.scores is None else ": scores [N] may replace them for a score, Pointwise(…), alone"
        raise InputError(f"{objective} needs {WHERE['predictions']}{hint}")
    return reader if len(pool.candidate_rows) == pool.N else reader.at(pool.candidate_rows), objective


def _state(pool: PoolInputs, strategy: Strategy, memory: int | None, backend: Backend | None) -> PoolState:
    if strategy.needs_features and pool.features is None:
        raise InputError(f"{strategy} needs {WHERE['features']}: features=")
    by_score = pool.scores is not None and strategy.takes_scores
    if strategy.needs_predictions and pool.predictions is None and not by_score:
        hint = "; with score=None it needs none" if strategy.takes_scores else ""
        raise InputError(f"{strategy} needs {WHERE['predictions']}{hint}")
    predictions, scores_n = pool.predictions, None
    if pool.scores is not None and by_score:
        scores_n = pool.scores.stored(pool.unlabeled_rows)[:, 0]
    all_unlabeled = len(pool.labeled_rows) == 0
    unlabeled = predictions if predictions is None or all_unlabeled else predictions.at(pool.unlabeled_rows)
    labeled = None if predictions is None else predictions.at(pool.labeled_rows)
    # There is no model to fit without the held-out labels.
    stand_in = strategy.needs_held_out_predictions and labeled is not None
    return PoolState(
        pool.labeled_rows,
        pool.labels_m,
        pool.unlabeled_rows,
        pool.features,
        unlabeled if strategy.needs_predictions else None,
        labeled if strategy.needs_labeled_predictions else None,
        scores_n,
        pool.candidate_rows if len(pool.candidate_rows) < len(pool.unlabeled_rows) else None,
        memory,
        backend,
        pool.labeled_rows if stand_in else None,
        labeled if stand_in else None,
        pool.last_layer if strategy.uses_last_layer else None,
    )


def _checked_labels(labels: object, rows_given: bool, rows: int) -> Tensor | None:
    if labels is None:
        return None
    if not rows_given:
        raise InputError("labels are the classes of the rows in labeled: expected labeled=rows as well")
    found = whole_numbers("labels", labels, "a list of classes, numbered from 0")
    if len(found) != rows:
        raise InputError(f"there are {len(found)} labels for {rows} labeled rows, expected one for each")
    return found


def _device_of(reader: PoolReader | None) -> torch.device | None:
    return None if reader is None else reader.works_on
