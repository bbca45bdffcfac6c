"""What a model predicts for a pool, block by block, each member for all of them before the next is loaded."""

import re
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.predictions.store import Place
from tonsure.predictions.store.blocks import bytes_of

# Probabilities in half precision, of many classes, add up to one no better than this.
_SUM_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class Blocks:
    """A model's predictions for the inputs at some rows, ``block_size`` of them at a time.

    Raises:
        InputError: there are no rows, one is not among the inputs, or the block size is not positive.
    """

    model: BayesianModel
    inputs: Tensor
    rows: Tensor
    block_size: int

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise InputError(f"block_size must be at least 1, found {self.block_size}")
        _check_rows(self.rows, len(self.inputs))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K); C is known when the first block is."""
        return len(self.rows), self.model.samples

    def fingerprint(self) -> dict[str, Any]:
        """What tells the model and the inputs at the rows from others; of the weights it knows nothing."""
        crc = 0
        for block in self.rows.split(self.block_size):
            crc = zlib.crc32(bytes_of(self.inputs[block]), crc)
        return {
            # Where an object lies in memory differs from process to process.
            "model": re.sub(r" at 0x[0-9a-fA-F]+", "", repr(self.model)),
            "inputs": f"{self.inputs.dtype} {list(self.inputs.shape[1:])}, crc32 {crc}",
            "rows": f"crc32 {zlib.crc32(bytes_of(self.rows.long()))}",
        }

    def predicted(
        self, finished: Callable[[Place], bool] = lambda _: False
    ) -> Generator[tuple[Place, Float[Tensor, "n K C"]], None, None]:
        """Each block and its place, without the blocks that are finished.

        Of each member the first block comes in any case: it says how many samples the member has, and which.

        Raises:
            InputError: what the model gives is not [n, K, C], or holds nan or a row over C that is no distribution;
                the message names the first. Or its members do not have K samples.
        """
        N, K = self.shape
        sample, classes = 0, 0
        with tqdm(desc="predict", total=N * K, disable=None, leave=False, delay=2) as progress:
            for member in self.model.members():
                start, width = 0, 0
                for block in self.rows.split(self.block_size):
                    if start == 0 or not finished(Place(start, len(block), sample, width)):
                        log_probs_n_K_C = member(self.inputs[block])
                        _check_output(log_probs_n_K_C, block)
                        width, classes = width or log_probs_n_K_C.shape[1], classes or log_probs_n_K_C.shape[2]
                        fits = [len(block), min(width, K - sample), classes]
                        if list(log_probs_n_K_C.shape) != fits:
                            raise InputError(
                                f"the model gave {list(log_probs_n_K_C.shape)} for {len(block)} items after {sample} "
                                f"of {K} samples, where {fits} fits"
                            )
                        yield Place(start, len(block), sample, width), log_probs_n_K_C.detach()
                    start += len(block)
                    progress.update(len(block) * width)
                sample += width
        if sample != K:
            raise InputError(f"the model has {K} samples, but its members gave {sample}")


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
