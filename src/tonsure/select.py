"""The front door: from predictions to rows."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from tonsure.candidates import TIE, Candidates
from tonsure.checks import check_log_probs
from tonsure.errors import InputError, SelectionWarning
from tonsure.objective import Gains, Objective
from tonsure.optimizers import LazyGreedy, Optimizer, PowerSample, TopK

Predictions = Tensor | NDArray[Any]

BEST_FOR = {
    Gains.EQUAL: PowerSample(),
    Gains.FIXED: TopK(),
    Gains.FALLING: LazyGreedy(),
    Gains.FREE: LazyGreedy(),
}
"""The optimizer for an objective when none is named: the exact one that is fastest, or a draw where all are equal."""

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
    log_probs_N_K_C: Predictions | Sequence[Predictions],
    objective: Objective[Any, Any],
    k: int,
    *,
    by: Optimizer | None = None,
    seed: int = 0,
    block: int | None = None,
) -> Selection:
    """Chooses the k rows of the pool whose labels, together, are worth most to the objective.

    The same predictions, objective, optimizer and seed give the same rows, whatever the block size, the number of
    shards and the storage type. The input is not changed.

    Args:
        log_probs_N_K_C: log p(y = c | x_i, θ_k), nats: a tensor or an array of shape [N, K, C] in float16,
            bfloat16, float32 or float64, on the CPU or a GPU, where the work is then done; −inf is an impossible
            class. Or a list of such parts, which together are the pool, in this order, on one device.
        objective: what a batch is worth, for example ``LargeBatchBALD()``.
        k: how many rows, from 1 to N.
        by: the optimizer; by default the one that suits the objective: ``LazyGreedy()`` where gains depend on the
            batch, ``TopK()`` where they do not, a uniform draw for ``Random()``.
        seed: of the optimizer's draws. (``BatchBALD`` has a seed of its own for its estimates.)
        block: how many rows are read at a time; None for what suits the device.

    Raises:
        InputError: the predictions are no log-probabilities of this shape (the message names the first offending
            row), K is too small for the objective, or k is not in 1..N.

    Warns:
        SelectionWarning: some of the picks had no positive gain, or the batch already told nearly all that K
            posterior samples can be told apart by (log K nats).
    """
    shards = [as_tensor(part) for part in _parts(log_probs_N_K_C)]
    check_log_probs(shards)
    shards = [shard for shard in shards if len(shard)]
    N, K, C = sum(map(len, shards)), *shards[0].shape[1:]
    if objective.samples_needed > K:
        raise InputError(
            f"{objective} compares posterior samples with each other and needs at least "
            f"{objective.samples_needed}, but the predictions have shape {(N, K, C)}: K = {K}. With one sample use a "
            "score of the mean prediction, such as Pointwise(entropy) or Pointwise(margin)."
        )
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= N:
        raise InputError(f"k is {k!r}, expected a whole number from 1 to N = {N}")
    if block is not None and block < 1:
        raise InputError(f"block is {block}, expected at least 1")

    candidates = Candidates(shards, objective, block=block)
    search = (by or BEST_FOR[objective.gains]).search(candidates, int(k), torch.Generator().manual_seed(seed))
    # tqdm writes to a terminal only (disable=None), and only when there is something to wait for.
    picks = list(tqdm(search, total=int(k), desc="select", unit="row", disable=None, leave=False, delay=1))
    selection = Selection(
        torch.tensor([row for row, _ in picks]),
        torch.tensor([gain for _, gain in picks], dtype=torch.float64),
        objective.standard_error(candidates.state),
    )
    _warn(selection, objective, shards[0][:1])
    return selection


def as_tensor(predictions: Predictions) -> Tensor:
    """A tensor on the same memory; NumPy has no bfloat16 of its own, but knows that of ``ml_dtypes`` by name."""
    if isinstance(predictions, Tensor):
        return predictions.detach()
    array = np.asarray(predictions)
    with warnings.catch_warnings():
        # A read-only memory map is welcome here: nothing is written to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        if array.dtype.name not in ("float16", "float32", "float64"):
            raise InputError(f"the predictions are {array.dtype}, expected float16, bfloat16, float32 or float64")
        return torch.from_numpy(array)


def _parts(predictions: Predictions | Sequence[Predictions]) -> Sequence[Predictions]:
    return [predictions] if isinstance(predictions, Tensor | np.ndarray) else predictions


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
