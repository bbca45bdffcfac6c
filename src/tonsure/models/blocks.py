"""A model's predictions and features for a pool, block by block. Each member sees all blocks before the next one."""

import re
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.arguments import refusal, whole_number
from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel, Member, a_model
from tonsure.models.fingerprint import fingerprint
from tonsure.predictions.arrays import as_inputs
from tonsure.predictions.open import numbers
from tonsure.predictions.store import FeaturePlace, Place
from tonsure.predictions.store.blocks import bytes_of
from tonsure.progress import progress

# Probabilities of many classes in half precision may sum to a number this far from one.
_SUM_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class Blocks:
    """A model's outputs for the inputs at some rows, in blocks of ``block_size`` rows.

    The model is given copies of the inputs, so it may work in place.
    """

    model: BayesianModel
    inputs: Tensor
    rows: Tensor
    block_size: int

    @classmethod
    def of(cls, model: object, inputs: object, rows: object, block_size: object) -> "Blocks":
        """From the arguments of a caller; rows may be None, for all of them.

        Raises:
            InputError: the model or the inputs are of another kind, there are no rows, a row is out of range, or the
                block size is not positive.
        """
        a_model("model", model)
        assert isinstance(model, BayesianModel)
        items = as_inputs(inputs)
        if len(items) == 0:
            raise InputError("there is nothing to predict: the inputs hold no items")
        where = torch.arange(len(items)) if rows is None else numbers("rows", rows, len(items), repeated=True)
        return cls(model, items, where, whole_number("block_size", block_size, 1))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K). C is known after the first block."""
        return len(self.rows), whole_number("model.samples", self.model.samples, 1)

    def fingerprint(self) -> dict[str, Any]:
        """Identifies the model, the inputs and the rows."""
        crc = 0
        for block in self.rows.split(self.block_size):
            crc = zlib.crc32(bytes_of(self.inputs[block]), crc)
        return {
            # The address of an object differs between processes.
            "model": re.sub(r" at 0x[0-9a-fA-F]+", "", repr(self.model)),
            "weights": fingerprint(self.model),
            "inputs": f"{self.inputs.dtype} {list(self.inputs.shape[1:])}, crc32 {crc}",
            "rows": f"crc32 {zlib.crc32(bytes_of(self.rows.long()))}",
        }

    def predicted(
        self, finished: Callable[[Place], bool] = lambda _: False
    ) -> Generator[tuple[Place, Float[Tensor, "n K C"]], None, None]:
        """The predictions of each block that is not finished, and their place.

        The first block of each member is always predicted: it tells the number of samples of the member, and whether
        the model is the same as that of the finished blocks.

        Raises:
            InputError: an output is not [n, K, C], or a row over C is not a distribution, for example because it holds
                nan; the message names the first such row. Or the members do not have K samples in total.
        """
        N, K = self.shape
        sample, classes = 0, 0
        with progress(what="predict", total=N * K, delay=2) as bar:
            for member in self._members():
                start, width = 0, 0
                for block in self.rows.split(self.block_size):
                    if start == 0 or not finished(Place(start, len(block), sample, width)):
                        log_probs_n_K_C = member(self.inputs[block])
                        _check_output(log_probs_n_K_C, block)
                        width, classes = width or log_probs_n_K_C.shape[1], classes or log_probs_n_K_C.shape[2]
                        fits = [len(block), min(width, K - sample), classes]
                        if list(log_probs_n_K_C.shape) != fits:
                            raise InputError(
                                f"the model returned the shape {list(log_probs_n_K_C.shape)} for {len(block)} items "
                                f"after {sample} of {K} samples, expected {fits}"
                            )
                        yield Place(start, len(block), sample, width), log_probs_n_K_C.detach()
                    start += len(block)
                    bar.update(len(block) * width)
                sample += width
        if sample != K:
            raise InputError(f"the model has {K} samples, but its members returned {sample}")

    def features(
        self, finished: Callable[[FeaturePlace], bool] = lambda _: False
    ) -> Generator[tuple[FeaturePlace, Float[Tensor, "n D"]], None, None]:
        """The features of each block that is not finished, in float32, and their place. The first is always computed.

        A block of features may load all members of the model, so this must not be mixed with ``predicted``, which uses
        one member at a time: take the first block before it, and the others after it.

        Raises:
            InputError: the model has no features, they are not [n, D] with the same D in all blocks, or one is nan or
                infinite; the message names the row.
        """
        first, *others = self.rows.split(self.block_size)
        try:
            features_n_D = self._features(first)
        except InputError as error:
            raise InputError(f"{error}. With features=False the predictions are stored without features") from error
        yield FeaturePlace(0, len(first)), features_n_D
        start, D = len(first), features_n_D.shape[1]
        with progress(what="features", initial=start, total=len(self.rows), delay=2) as bar:
            for block in others:
                place = FeaturePlace(start, len(block))
                if not finished(place):
                    features_n_D = self._features(block)
                    if features_n_D.shape[1] != D:
                        raise InputError(
                            f"the model returned features of D = {features_n_D.shape[1]} for row {int(block[0])}, but "
                            f"of D = {D} for the rows before; expected the same D for all rows, or features=False"
                        )
                    yield place, features_n_D
                start += len(block)
                bar.update(len(block))

    def all_features(self) -> Float[Tensor, "n D"]:
        """The features of all rows, on the CPU; raises as ``features``."""
        first, *others = (self._features(block).cpu() for block in self.rows.split(self.block_size))
        if any(len(found[0]) != len(first[0]) for found in others):
            raise InputError("the model returned features of another D for other items, expected the same D for all")
        return torch.cat([first, *others])

    def _members(self) -> Iterator[Member]:
        members = self.model.members()
        if not isinstance(members, Iterable):
            raise refusal("model.members()", members, "an iterator of functions of the inputs")
        for member in members:
            if not callable(member):
                raise refusal("a member of the model", member, "a function of the inputs")
            yield member

    def _features(self, block: Tensor) -> Float[Tensor, "n D"]:
        features = self.model.features(self.inputs[block])
        shape = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
        is_tensor = isinstance(features, Tensor) and features.is_floating_point()
        if not is_tensor or features.ndim != 2 or len(features) != len(block) or not features.shape[1]:
            raise InputError(f"the model must return features [n, D], found {shape} for n = {len(block)}")
        features_n_D = features.detach().float()
        wrong_n = ~features_n_D.isfinite().all(dim=1)
        if wrong_n.any():
            raise InputError(f"the features of row {int(block[wrong_n.cpu()][0])} hold nan or infinity")
        return features_n_D


def _check_output(log_probs: object, rows: Tensor) -> None:
    shape = list(log_probs.shape) if isinstance(log_probs, Tensor) else type(log_probs).__name__
    if not isinstance(log_probs, Tensor) or log_probs.ndim != 3 or len(log_probs) != len(rows):
        raise InputError(f"the model must return log-probabilities [n, K, C], found {shape} for n = {len(rows)}")
    if not log_probs.is_floating_point() or log_probs.shape[1] < 1 or log_probs.shape[2] < 2:
        raise InputError(
            "the model must return floating-point log-probabilities [n, K, C] of at least one sample and two classes, "
            f"found {log_probs.dtype} of shape {shape}"
        )
    log_sum_n_K = log_probs.float().logsumexp(dim=2)
    # The comparison is false for nan; +inf makes the sum larger than one.
    bad = ~(log_sum_n_K.abs() <= _SUM_TOLERANCE)
    if bad.any():
        item, sample = (int(index) for index in bad.nonzero()[0])
        raise InputError(
            f"the model's output for row {int(rows[item])} is not a distribution: its log-probabilities are "
            f"{log_probs[item, sample].tolist()[:5]}, and their exponentials sum to "
            f"{float(log_sum_n_K[item, sample].exp()):.4g}"
        )
