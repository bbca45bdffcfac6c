"""The predictions for a whole pool, block by block."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel

# Probabilities in half precision, of many classes, add up to one no better than this.
_SUM_TOLERANCE = 1e-2


def predict(
    model: BayesianModel,
    inputs: Tensor,
    rows: Sequence[int] | Tensor | None = None,
    *,
    block_size: int = 1024,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "N K C"]:
    """log p(y = c | x_i, θ_k) in nats for the items at ``rows``, on the CPU.

    The result is the only large tensor: N · K · C numbers of ``dtype``. Beside it stands what the model needs
    for one block. A member of the model sees all blocks before the next one is loaded.

    Args:
        inputs: [any number, ...], one item per row.
        rows: which items, in this order; None is all of them.
        block_size: how many items the model is given at once.

    Raises:
        InputError: there is nothing to predict, a row is not among the inputs, or what the model gives is not
            [n, K, C], or holds nan or a row over C that is no distribution; the message names the first.
    """
    if block_size < 1:
        raise InputError(f"block_size must be at least 1, found {block_size}")
    chosen = torch.arange(len(inputs)) if rows is None else torch.as_tensor(rows)
    _check_rows(chosen, len(inputs))
    log_probs_N_K_C: Tensor | None = None
    sample = 0
    with tqdm(desc="predict", total=len(chosen) * model.samples, disable=None, leave=False, delay=2) as progress:
        for member in model.members():
            start, width = 0, 0
            for block in chosen.split(block_size):
                log_probs_n_K_C = member(inputs[block])
                _check_output(log_probs_n_K_C, block)
                width, classes = log_probs_n_K_C.shape[1:]
                if log_probs_N_K_C is None:
                    log_probs_N_K_C = torch.empty(len(chosen), model.samples, classes, dtype=dtype)
                target = log_probs_N_K_C[start : start + len(block), sample : sample + width]
                if target.shape != log_probs_n_K_C.shape:
                    raise InputError(
                        f"the model gave {list(log_probs_n_K_C.shape)} for {len(block)} items after {sample} "
                        f"of {model.samples} samples, where {list(target.shape)} fits"
                    )
                target.copy_(log_probs_n_K_C)
                start += len(block)
                progress.update(len(block) * width)
            sample += width
    if log_probs_N_K_C is None or sample != model.samples:
        raise InputError(f"the model has {model.samples} samples, but its members gave {sample}")
    return log_probs_N_K_C


def _check_rows(rows: Tensor, total: int) -> None:
    if len(rows) == 0:
        raise InputError("there is nothing to predict: no rows")
    if rows.is_floating_point() or rows.dtype == torch.bool or rows.ndim != 1:
        raise InputError(f"rows must be a list of integers, found {rows.dtype} of shape {list(rows.shape)}")
    outside = (rows < 0) | (rows >= total)
    if outside.any():
        raise InputError(f"row {int(rows[outside][0])} is not among the inputs, whose rows are 0 to {total - 1}")


def _check_output(log_probs: object, rows: Tensor) -> None:
    shape = list(log_probs.shape) if isinstance(log_probs, Tensor) else type(log_probs).__name__
    if not isinstance(log_probs, Tensor) or log_probs.ndim != 3 or len(log_probs) != len(rows):
        raise InputError(f"the model must give log probabilities [n, K, C], found {shape} for n = {len(rows)}")
    log_sum_n_K = log_probs.float().logsumexp(dim=2)
    # Written so that nan fails too; a sum of one leaves no room for +inf.
    bad = ~(log_sum_n_K.abs() <= _SUM_TOLERANCE)
    if bad.any():
        item, sample = (int(index) for index in bad.nonzero()[0])
        raise InputError(
            f"what the model gave for row {int(rows[item])} is no distribution: its log probabilities are "
            f"{log_probs[item, sample].tolist()[:5]}, and exp of them adds up to "
            f"{float(log_sum_n_K[item, sample].exp()):.4g}"
        )
