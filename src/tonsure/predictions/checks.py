"""Checks of predictions, features and scores on input. They are not repeated elsewhere."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from tonsure.errors import InputError
from tonsure.predictions.reader import rows_at_once

SUM_TOLERANCE = {torch.float16: 1e-2, torch.bfloat16: 5e-2, torch.float32: 1e-3, torch.float64: 1e-3}
"""The largest allowed difference of a sum of probabilities from one: the error of rounding to the type, and of a sum in
float32."""

ROUNDED = SUM_TOLERANCE[torch.bfloat16]
"""The difference of a sum from one that still tells a distribution that was rounded, whatever its type is now."""

NEARLY_ALL = 0.9
"""The share of distributions that tells what kind of numbers these are."""

KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "probabilities": lambda values: values,
    "percentages": lambda values: values / 100,
    "log-probabilities": torch.exp,
}
"""The kinds of numbers that their sums tell, and the probabilities that they stand for."""


def check_log_probs(shards: Sequence[Tensor], *, one_of_several: bool = False) -> None:
    """Checks that all parts are [n, K, C] with the same K, C, type and device, and every row over C a distribution.

    Args:
        one_of_several: whether the one part that is given is one of several.

    Raises:
        InputError: a check failed; the message states the shape, the first offending row of the pool and sample, and
            what was expected.
    """
    if not shards:
        raise InputError("the pool is empty: expected log-probabilities of shape [N, K, C], found no parts")
    first_row = 0
    for shard in shards:
        _check_shape(shard, one_of_several or len(shards) > 1)
        if _kind(shard) != _kind(shards[0]):
            raise InputError(
                f"the parts of the pool differ: the first has K, C, type and device {_kind(shards[0])}, "
                f"the one from row {first_row} on {_kind(shard)}"
            )
        step = rows_at_once(2 * shard.shape[1:].numel() * _work_type(shard).itemsize)
        for start in range(0, len(shard), step):
            _check_values(shard, start, start + step, first_row)
        first_row += len(shard)
    if first_row == 0:
        raise InputError(f"the pool is empty: the predictions have shape {tuple(shards[0].shape)}, N is 0")


def check_features(features_N_D: Tensor, release: Callable[[], None] = lambda: None, name: str = "features") -> None:
    """Checks that features are finite floating-point numbers [N, D].

    Args:
        release: called after every block of rows, to release the pages of a mapped file.
        name: of the argument.

    Raises:
        InputError: they are not; the message states the first row with nan or infinity.
    """
    found = f"{name} {'are' if name == 'features' else 'is'} {features_N_D.dtype} of shape {list(features_N_D.shape)}"
    if features_N_D.ndim != 2 or features_N_D.shape[1] == 0 or not features_N_D.is_floating_point():
        raise InputError(f"{found}, expected floating-point numbers [N, D]")
    step = rows_at_once(features_N_D.shape[1] * (features_N_D.dtype.itemsize + 2))  # absolute values, and two masks
    for start in range(0, len(features_N_D), step):
        wrong_n = ~features_N_D[start : start + step].isfinite().all(dim=1)
        if wrong_n.any():
            raise InputError(f"{found}; row {start + int(wrong_n.nonzero()[0])} holds nan or infinity")
        release()


def check_scores(scores_N: Tensor) -> None:
    """Checks that scores are finite numbers, one for each row.

    Raises:
        InputError: there are no scores, or one is nan or infinite; the message states its row.
    """
    if len(scores_N) == 0:
        raise InputError("the pool is empty: the scores have shape (0,)")
    wrong_N = ~scores_N.isfinite()
    if wrong_N.any():
        row = int(wrong_N.nonzero()[0])
        raise InputError(f"the score of row {row} is {float(scores_N[row])}, expected finite numbers")


def _kind(shard: Tensor) -> tuple[int, int, str, str]:
    return *shard.shape[1:], str(shard.dtype), str(shard.device)


def _check_shape(shard: Tensor, one_of_several: bool) -> None:
    shape = tuple(shard.shape)
    if shard.dtype not in SUM_TOLERANCE:
        raise InputError(
            f"the predictions are {shard.dtype}, expected float16, bfloat16, float32 or float64 log-probabilities"
        )
    if shard.ndim != 3:
        hint = ""
        if len(shape) == 2 and one_of_several:
            hint = (
                "; parts [N, C] of the members of an ensemble become [N, K, C] with torch.stack(members, dim=1), and "
                "items [K, C] with torch.stack(items)"
            )
        elif len(shape) == 2:
            hint = "; predictions of one deterministic model become [N, 1, C] with log_probs[:, None, :]"
        raise InputError(
            f"the predictions have shape {shape}, expected three axes [N, K, C]: rows of the pool, posterior samples, "
            f"classes{hint}"
        )
    if shape[1] < 1 or shape[2] < 2:
        raise InputError(
            f"the predictions have shape {shape}: K = {shape[1]} posterior samples and C = {shape[2]} classes, "
            "expected at least 1 and at least 2"
        )


def _work_type(numbers: Tensor) -> torch.dtype:
    return torch.promote_types(numbers.dtype, torch.float32)


def _check_values(shard: Tensor, start: int, stop: int, first_row: int) -> None:
    """Checks a block of rows of a part, which begins at ``first_row`` of the pool."""
    log_probs_n_K_C = shard[start:stop]
    work_type = _work_type(shard)
    samples = rows_at_once(2 * log_probs_n_K_C[:, 0].numel() * work_type.itemsize)  # where a single row is large
    sum_n_K = torch.cat([some.to(work_type).exp().sum(-1) for some in log_probs_n_K_C.split(samples, 1)], 1)
    # nan and +inf propagate to the sum, and make the comparison false.
    wrong_n_K = ~((sum_n_K - 1).abs() <= SUM_TOLERANCE[log_probs_n_K_C.dtype])
    if not wrong_n_K.any():
        return
    row, sample = (int(index) for index in wrong_n_K.nonzero()[0])
    values = log_probs_n_K_C[row, sample].float()
    where = f"row {first_row + start + row}, sample {sample} of the predictions (shape {tuple(shard.shape)})"
    if values.isnan().any():
        raise InputError(f"{where} holds nan, at class {int(values.isnan().nonzero()[0])}; expected log-probabilities")
    if values.isposinf().any():
        raise InputError(
            f"{where} holds +inf, at class {int(values.isposinf().nonzero()[0])}; expected log-probabilities, which "
            "are at most 0"
        )
    total = float(sum_n_K[row, sample])
    raise InputError(
        f"{where} is no distribution: its probabilities, exp of the given values, sum to {total:.6g}, off by "
        f"{total - 1:+.3g}. {classes_elsewhere(shard) or _guess(shard)}; the row begins "
        f"{[round(v, 4) for v in values[:4].tolist()]}"
    )


def kind_of(numbers_N_K_C: Tensor, axis: int = 2) -> str | None:
    """What numbers are by their sums over an axis: of ``KINDS``, or None.

    Nearly all of the sums decide, with room for rounding: what one odd row is of cannot hide what the others are.
    """
    return next((kind for kind in KINDS if _sums_to_one(numbers_N_K_C, axis, kind)), None)


def classes_elsewhere(numbers_N_K_C: Tensor) -> str | None:
    """Where the classes are, if not on the last axis, as a sentence with what mends it; None if nothing tells.

    Numbers that sum to one over another axis, as the kinds of ``KINDS`` do, are distributions over that axis.
    """
    for kind, axis in itertools.product(KINDS, (1, 0)):
        if _sums_to_one(numbers_N_K_C, axis, kind) and not _sums_to_one(numbers_N_K_C, 2, kind):
            mended = "predictions.transpose(1, 2)" if axis else "torch.movedim(predictions, 0, 2)"
            mended += {"probabilities": ".log()", "percentages": ".div(100).log()"}.get(kind, "")
            shape = tuple(numbers_N_K_C.shape)
            return (
                f"These are {kind} of shape {shape} that sum to {'100' if kind == 'percentages' else 'one'} over axis "
                f"{axis}, not over the last: the classes are on axis {axis}. Expected [N, K, C], rows, posterior "
                f"samples, classes: {mended}, if the other two axes are rows and samples in this order"
            )
    return None


def axes_of(shape: Sequence[int], rows: int) -> str:
    """What another number of rows says about the axes of predictions: a sentence if it is that of their second axis."""
    if len(shape) != 3 or shape[1] != rows or shape[0] == rows:
        return ""
    return (
        f". The predictions have {shape[0]:,} rows on the first axis and {rows:,} posterior samples on the second: "
        "expected [N, K, C]; predictions.transpose(0, 1) exchanges them"
    )


def _sums_to_one(numbers_N_K_C: Tensor, axis: int, kind: str) -> bool:
    """Whether nearly all sums over an axis are one, block by block, so that other numbers are recognized soon."""
    # A sum of one number is no evidence.
    if numbers_N_K_C.ndim != 3 or numbers_N_K_C.shape[axis] < 2 or not numbers_N_K_C.numel():
        return False
    work_type = _work_type(numbers_N_K_C)
    others = numbers_N_K_C.numel() // numbers_N_K_C.shape[axis] * (1 - NEARLY_ALL)
    for block in _pieces(numbers_N_K_C, axis, 3 * work_type.itemsize):
        values = KINDS[kind](block.to(work_type))
        others -= int((~((values >= 0).all(axis) & ((values.sum(axis) - 1).abs() <= ROUNDED))).sum())
        if others < 0:
            return False
    return True


def _pieces(numbers_N_K_C: Tensor, axis: int, item_bytes: int) -> Iterator[Tensor]:
    """Blocks that hold all that sums over an axis are made of."""
    N, _, C = numbers_N_K_C.shape
    if axis:
        yield from numbers_N_K_C.split(rows_at_once(numbers_N_K_C[0].numel() * item_bytes), 0)
        return
    for some_N_k_C in numbers_N_K_C.split(rows_at_once(N * C * item_bytes), 1):
        yield from some_N_k_C.split(rows_at_once(some_N_k_C[..., 0].numel() * item_bytes), 2)


def _guess(shard: Tensor) -> str:
    """What values that are no distribution may be, and what mends it."""
    kind = kind_of(shard)
    if kind == "probabilities":
        return "These look like probabilities: pass their logarithm (--values probs on the command line)"
    if kind == "percentages":
        return "These look like percentages: pass the logarithm of a hundredth of them"
    if kind == "log-probabilities":
        return "Nearly all other rows are distributions, so this one is damaged, or was never written"
    if all(bool(((block >= 0) & (block <= 1)).all()) for block in _pieces(shard, 2, 2)):
        return (
            "The values are from 0 to 1: if they are probabilities, they must sum to one over the classes, and their "
            "logarithm is expected"
        )
    return "If these are logits, pass log_softmax of them (--values logits on the command line)"
