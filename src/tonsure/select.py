"""The front door: from predictions to rows."""

import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from tqdm import tqdm

from tonsure.arrays import Predictions, as_tensor, release_mapped
from tonsure.candidates import Candidates
from tonsure.checks import check_features, check_log_probs
from tonsure.errors import InputError, SelectionWarning
from tonsure.facilities import facilities
from tonsure.keys import TIE
from tonsure.objective import Gains, Objective
from tonsure.objectives import Discounted
from tonsure.optimizers import LazyGreedy, Optimizer, PowerSample, TopK
from tonsure.parts import Part, as_log_probs
from tonsure.plan import as_bytes, plan
from tonsure.scores import margin
from tonsure.shards import Backend, LocalBackend
from tonsure.store import Store

logger = logging.getLogger("tonsure")

DEFAULT: Objective[Any, Any] = Discounted(strength=16.0)
DEFAULT_BY: Optimizer = PowerSample(beta=4.0)
"""What is used where no objective is named: the best of predictions alone by docs/evidence.md."""

BEST_FOR = {
    Gains.EQUAL: PowerSample(),
    Gains.FIXED: TopK(),
    Gains.FALLING: LazyGreedy(),
    Gains.FREE: LazyGreedy(),
}
"""The optimizer for an objective when none is named: the exact one that is fastest, or a draw where all are equal."""

SCORED = 4096
"""Rows that are scored at a time where features are given."""

TOLD = 0.98
"""The share of its ceiling at which an objective has nothing left to tell items apart by."""


@dataclass(frozen=True, eq=False)
class Selection:
    """A batch to label.

    Attributes:
        rows: positions in the pool, in the order chosen, [b].
        gains: what each row added when it joined; nats where the objective is an information, [b].
        standard_error: the sampling error of ``gains.sum()``; zero where nothing was sampled.
    """

    rows: Int64[Tensor, " b"]
    gains: Float64[Tensor, " b"]
    standard_error: float = 0.0

    @property
    def positive(self) -> int:
        """How many of the rows still had a positive gain, beyond rounding."""
        return int((self.gains > TIE).sum())

    def __len__(self) -> int:
        return len(self.rows)


def select(
    log_probs_N_K_C: Predictions | Sequence[Predictions] | Store,
    objective: Objective[Any, Any] | None = None,
    k: int | None = None,
    *,
    by: Optimizer | None = None,
    features_N_D: Predictions | None = None,
    seed: int = 0,
    among: Sequence[int] | Tensor | None = None,
    samples: Sequence[int] | Tensor | None = None,
    memory: int | str | None = None,
    device: str | torch.device | None = None,
    backend: Backend | None = None,
    block: int | None = None,
) -> Selection:
    """Chooses the k rows of the pool whose labels, together, are worth most to the objective.

    The same predictions, objective, optimizer and seed give the same rows, whatever the memory, the block size, the
    number of parts or machines, and the storage type. The input is not changed. What is planned to be held in memory
    is logged to the logger ``tonsure``.

    Args:
        log_probs_N_K_C: log p(y = c | x_i, θ_k), nats: a tensor or an array of shape [N, K, C] in float16,
            bfloat16, float32 or float64, on the CPU or a GPU; −inf is an impossible class. Or a list of such parts,
            which together are the pool, in this order, on one device. Or a ``Store``, which is read where it lies.
        objective: what a batch is worth, for example ``LargeBatchBALD()``. None is ``DEFAULT``, the margin of the mean
            prediction times the share of an item that the batch has left: best of the methods that see predictions
            alone, by our evidence (docs/evidence.md).
        k: how many rows, from 1 to N, or to the number of rows that may be chosen; to be given.
        by: the optimizer; by default the one that suits the objective: ``LazyGreedy()`` where gains depend on the
            batch, ``TopK()`` where they do not, a uniform draw for ``Random()``; without an objective ``DEFAULT_BY``.
        features_N_D: what the last layer of the model is given, for every row of the pool; a mapped array is
            read where it lies. With features, and without an objective, it is ``FacilityLocation()`` that chooses, the
            best of all methods by our evidence; rows that may not be chosen (``among``) count as labeled.
        seed: of the optimizer's draws. (``BatchBALD`` has a seed of its own for its estimates.)
        among: the rows that may be chosen; None is all of them. The rows chosen are rows of the whole pool.
        samples: the posterior samples to use, from 0 to K − 1; None is all of them.
        memory: what the selection may hold beyond the predictions, in bytes or as text ("4GB"); None is what the
            notes of all rows and one block of items need, and up to 1 GiB for items as the objective prepares them.
        device: where the work is done; None is where the predictions are. Predictions on the CPU stream through a GPU.
        backend: what runs the shards of the pool; None is this process.
        block: how many rows are read at a time; None for what suits the device and the memory.

    Raises:
        InputError: the predictions are no log-probabilities of this shape (the message names the first offending
            row), K is too small for the objective, k is out of range, a row or sample is not there, or the memory is
            too small (the message says how much is needed). Or features are given together with what cannot use them.

    Warns:
        SelectionWarning: some of the picks had no positive gain, or the batch already told nearly all that K
            posterior samples can be told apart by (log K nats).
    """
    part = checked_part(log_probs_N_K_C, among, samples, device)
    like = part.stored(torch.zeros(1, dtype=torch.int64))
    N, K, C = len(part), *like.shape[1:]
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= N:
        raise InputError(f"k is {k!r}, expected a whole number from 1 to N = {N}")
    if block is not None and block < 1:
        raise InputError(f"block is {block}, expected at least 1")
    if features_N_D is not None:
        for name, given in (("objective", objective), ("by", by), ("memory", memory), ("backend", backend)):
            if given is not None:
                raise InputError(
                    f"with features it is FacilityLocation() that chooses, in this process: expected no {name}, "
                    f"found {given}"
                )
        return _by_features(part, checked_features(features_N_D, part), int(k), seed, block or SCORED)
    if objective is None:
        objective, by = DEFAULT, by or DEFAULT_BY
    if objective.samples_needed > K:
        raise InputError(
            f"{objective} compares posterior samples with each other and needs at least "
            f"{objective.samples_needed}, but the predictions have shape {(N, K, C)}: K = {K}. With one sample use a "
            "score of the mean prediction, such as Pointwise(entropy) or Pointwise(margin)."
        )

    planned = plan(part, objective, int(k), None if memory is None else as_bytes(memory), block)
    logger.info("%s", planned)
    run = backend or LocalBackend()
    with run.start(part, objective, planned) as shards:
        candidates = Candidates(shards, objective)
        search = (by or BEST_FOR[objective.gains]).search(candidates, int(k), torch.Generator().manual_seed(seed))
        found = gathered(search, int(k))
        error = candidates.standard_error()
    selection = Selection(found.rows if part.rows is None else part.rows.cpu()[found.rows], found.gains, error)
    _warn(selection, objective, like)
    return selection


def _by_features(part: Part, features: Part, k: int, seed: int, block: int) -> Selection:
    """What ``FacilityLocation()`` chooses."""
    rows_N = torch.arange(len(features))
    unlabeled_rows = rows_N if part.rows is None else part.rows.cpu()
    labeled_rows = rows_N[~torch.isin(rows_N, unlabeled_rows)]
    scores = [margin(as_log_probs(part.stored(rows), torch.float32)) for rows in torch.arange(len(part)).split(block)]
    generator = torch.Generator().manual_seed(seed)
    selection = gathered(facilities(features, torch.cat(scores), labeled_rows, unlabeled_rows, k, generator), k)
    if selection.positive < k:
        warnings.warn(
            f"only {selection.positive} of the {k} picks have a positive gain: the others cover nothing that is "
            "undecided. Label fewer.",
            SelectionWarning,
            stacklevel=3,
        )
    return selection


def gathered(search: Iterable[tuple[int, float]], k: int) -> Selection:
    """The picks of a search, k of them, as a selection; with progress.

    tqdm writes to a terminal only (disable=None), and only when there is something to wait for.
    """
    picks = list(tqdm(search, total=k, desc="select", unit="row", disable=None, leave=False, delay=1))
    return Selection(
        torch.tensor([row for row, _ in picks]), torch.tensor([gain for _, gain in picks], dtype=torch.float64)
    )


def checked_part(
    predictions: Predictions | Sequence[Predictions] | Store,
    among: Sequence[int] | Tensor | None,
    samples: Sequence[int] | Tensor | None,
    device: str | torch.device | None,
) -> Part:
    """What is to be searched, checked at the door; a store was checked when it was written."""
    if isinstance(predictions, Store):
        pieces, release, path = predictions.parts, predictions.release, str(predictions.path)
    else:
        given = [predictions] if isinstance(predictions, Tensor | np.ndarray) else predictions
        pieces, release, path = [as_tensor(piece) for piece in given], partial(release_mapped, given), None
        check_log_probs(pieces)
        release()
    pieces = [piece for piece in pieces if len(piece)]
    N, K, _ = sum(map(len, pieces)), *pieces[0].shape[1:]
    where = pieces[0].device
    return Part(
        pieces,
        device=None if device is None else torch.device(device),
        rows=None if among is None else _numbers("among", among, N, where).sort().values,
        samples=None if samples is None else _numbers("samples", samples, K, where),
        release=release,
        path=path,
    )


def checked_features(features_N_D: Predictions, part: Part) -> Part:
    """The features of a pool whose predictions are these, checked at the door, to be read where they lie."""
    features, release = as_tensor(features_N_D, "features"), partial(release_mapped, [features_N_D])
    check_features(features, release)
    N = sum(map(len, part.pieces))
    if len(features) != N:
        raise InputError(f"features_N_D have the shape {list(features.shape)}, expected {N} rows, as the predictions")
    return Part([features], device=part.works_on, release=release)


def _numbers(name: str, numbers: Sequence[int] | Tensor, total: int, device: torch.device) -> Tensor:
    """Different whole numbers from 0 to ``total`` − 1."""
    found = torch.as_tensor(numbers, device=device)
    if found.ndim != 1 or len(found) == 0 or found.is_floating_point() or found.dtype == torch.bool:
        raise InputError(f"{name} is {found.dtype} of shape {tuple(found.shape)}, expected a list of whole numbers")
    outside = (found < 0) | (found >= total)
    if outside.any():
        raise InputError(f"{name} holds {int(found[outside][0])}, expected numbers from 0 to {total - 1}")
    values, counts = found.unique(return_counts=True)
    if len(values) < len(found):
        raise InputError(f"{name} holds {int(values[counts > 1][0])} twice")
    return found.long()


def _warn(selection: Selection, objective: Objective[Any, Any], like: Tensor) -> None:
    k, positive = len(selection), selection.positive
    ceiling = objective.ceiling(like)
    informed = 1 + int((selection.gains.cumsum(0) < TOLD * ceiling).sum())
    if informed < k:
        message = (
            f"{like.shape[1]} posterior samples can tell at most log {like.shape[1]} = {ceiling:.2f} nats, and the "
            f"first {informed} of the {k} picks tell {selection.gains[:informed].sum():.2f} of them: the other "
            f"{k - informed} are decided by what little is left, and by noise. Choose fewer at a time, or use "
            "more posterior samples."
        )
    elif positive < k:
        message = (
            f"only {positive} of the {k} picks have a positive gain under {objective}: by its measure the others add "
            "nothing to the batch. Label fewer, or sample (by=PowerSample()), which relies less on small gains."
        )
    else:
        return
    warnings.warn(message, SelectionWarning, stacklevel=3)
