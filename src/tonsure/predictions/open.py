"""The door: what a caller passes as predictions, scores, features and rows, checked and made ready to be read."""

import warnings
from collections.abc import Iterable, Sequence, Set
from functools import partial
from typing import Any, SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonsure.arguments import LARGEST, refusal, shown
from tonsure.errors import InputError, SelectionWarning
from tonsure.predictions.arrays import as_plain, as_tensor, is_array, release_mapped
from tonsure.predictions.checks import axes_of, check_features, check_log_probs, check_scores
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store import Store

Numbers = Sequence[int] | Set[int] | Tensor | NDArray[Any]
"""Rows or samples: whole numbers, or a mask of booleans. A set is taken in ascending order."""

Whole = SupportsIndex
"""A whole number, of Python, NumPy or torch; not a boolean."""

EXPECTED = (
    "log-probabilities [N, K, C] or scores [N], as a tensor, an array or a list of them, or a Store (Store.open(path) "
    "reads one)"
)


def open_predictions(predictions: object, samples: Numbers | None, device: torch.device | None) -> PoolReader:
    """A reader of log-probabilities [N, K, C], or of scores [N, 1], which have one axis at the door.

    Warns:
        SelectionWarning: the predictions are several parts of the same length with one sample, perhaps members.

    Raises:
        InputError: the predictions are of another type or shape, or hold values that are no log-probabilities; the
            message names the first offending row.
    """
    if isinstance(predictions, Store):
        pieces, release, path = predictions.parts, predictions.release, str(predictions.path)
    else:
        given = _arrays(predictions)
        pieces, release, path = [as_tensor(piece) for piece in given], partial(release_mapped, given), None
        if pieces and all(piece.ndim == 1 for piece in pieces):
            return _score_reader(pieces, samples, device)
        check_log_probs(pieces)
        _warn_of_members(pieces)
        release()
    pieces = [piece for piece in pieces if len(piece)]
    chosen = None if samples is None else numbers("samples", samples, pieces[0].shape[1])
    return PoolReader(
        pieces,
        device=device,
        samples=None if chosen is None else chosen.to(pieces[0].device),
        release=release,
        path=path,
    )


def open_features(
    features: object, others: PoolReader | None, device: torch.device | None, name: str = "features"
) -> PoolReader:
    """A reader of features [N, D].

    Args:
        features: a tensor, an array (a memory-mapped one is read where it lies), or a store that holds features.
        others: the predictions of the same rows, or their features; None if there are none.
        name: of the argument.

    Raises:
        InputError: the features are of another type or shape, or one is nan or infinite; the message names its row.
    """
    if isinstance(features, Store):
        reader = features.feature_reader(device)
        if reader is None:
            raise InputError(f"{features} holds no features: tonsure.predict keeps them for models that have them")
    else:
        if not is_array(features):
            raise refusal(name, features, "a tensor or an array [N, D], or a store with features")
        tensor, release = as_tensor(features, name), partial(release_mapped, [features])
        check_features(tensor, release, name)
        reader = PoolReader([tensor], device=device, release=release)
    if others is not None and len(reader) != len(others):
        shape, of_pool = ([len(one), *one.pieces[0].shape[1:]] for one in (reader, others))
        found = f"features have the shape {shape}" if name == "features" else f"{name} has the shape {shape}"
        what = "pool" if name == "last_layer" else "predictions"
        raise InputError(f"{found}, expected {len(others)} rows, as the {what}{axes_of(of_pool, len(reader))}")
    return reader


def numbers(name: str, given: object, total: int, *, empty: bool = False, repeated: bool = False) -> Tensor:
    """Whole numbers from 0 to ``total`` − 1, on the CPU, in the order given.

    Args:
        given: whole numbers, or a mask of ``total`` booleans; a set is taken in ascending order.
        empty: whether there may be none.
        repeated: whether a number may be there several times.

    Raises:
        InputError: the message shows the first number that is out of range or repeated.
    """
    expected = f"a list of whole numbers from 0 to {total - 1}, or a mask of {total} booleans"
    found = _flat(name, given, expected)
    if found.dtype == bool:
        if len(found) != total:
            raise InputError(f"{name} is a mask of {len(found)} booleans, expected {total}")
        found = found.nonzero()[0]
    if len(found) == 0 and not empty:
        raise InputError(f"{name} is empty, expected {expected}")
    outside = (found < 0) | (found >= total)
    if outside.any():
        raise InputError(f"{name} holds {found[outside][0]}, expected numbers from 0 to {total - 1}")
    values, counts = np.unique(found, return_counts=True)
    if len(values) < len(found) and not repeated:
        raise InputError(f"{name} holds {values[counts > 1][0]} twice")
    return torch.from_numpy(found.astype(np.int64))


def whole_numbers(name: str, given: object, expected: str) -> Tensor:
    """Whole numbers from 0 on, on the CPU, in the order given.

    Raises:
        InputError: they are no list of such numbers; the message shows the first that is out of range.
    """
    if isinstance(given, Set):
        raise refusal(name, given, f"{expected}, in the order of the rows")
    found = _flat(name, given, expected)
    if found.dtype == bool:
        raise InputError(f"{name} is {len(found)} booleans, expected {expected}")
    wrong = (found < 0) | (found > LARGEST)
    if wrong.any():
        place = int(wrong.nonzero()[0][0])
        raise InputError(f"{name} holds {found[place]}, at place {place}, expected {expected}")
    return torch.from_numpy(found.astype(np.int64))


def _flat(name: str, given: object, expected: str) -> NDArray[Any]:
    """Whole numbers or booleans along one axis, as they come; integers of any width and sign."""
    if is_array(given):
        tensor = as_plain(given, name)
        # NumPy can compare unsigned numbers of all widths, but knows no bfloat16.
        found = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
    elif isinstance(given, Sequence | Set) and not isinstance(given, str | bytes | bytearray):
        found = _of_list(name, given, expected)
    else:
        raise refusal(name, given, expected)
    if found.ndim == 1 and len(found) == 0:
        return np.zeros(0, np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iub":
        raise InputError(f"{name} is {found.dtype} of shape {found.shape}, expected {expected}")
    return found


def _of_list(name: str, given: Iterable[object], expected: str) -> NDArray[Any]:
    try:
        listed = sorted(given) if isinstance(given, Set) else list(given)
        found = np.asarray(listed)
    except Exception as error:  # what cannot be compared or laid out as an array
        raise refusal(name, given, expected) from error
    if found.dtype.kind in "iu" and any(isinstance(one, bool | np.bool_) for one in listed):
        raise InputError(f"{name} mixes booleans and whole numbers, expected {expected}")
    if found.dtype == object and (huge := [one for one in listed if isinstance(one, int) and abs(one) > LARGEST]):
        raise InputError(f"{name} holds {shown(huge[0])}, expected {expected}")
    return found


def _warn_of_members(pieces: Sequence[Tensor]) -> None:
    # Each may also be a batch of the pool, of one model: nothing in the numbers tells.
    if len(pieces) > 1 and pieces[0].shape[1] == 1 and len({len(piece) for piece in pieces}) == 1:
        n, _, C = pieces[0].shape
        warnings.warn(
            f"the {len(pieces)} parts [{n}, 1, {C}] are taken for {len(pieces) * n:,} rows with one posterior sample "
            f"each. If they are {len(pieces)} members of an ensemble, torch.cat(parts, dim=1) makes "
            f"[{n}, {len(pieces)}, {C}] of them; if they are rows, torch.cat(parts) says so",
            SelectionWarning,
            stacklevel=1,
        )


def _score_reader(pieces: list[Tensor], samples: object, device: torch.device | None) -> PoolReader:
    if samples is not None:
        raise InputError("samples selects posterior samples, but scores [N] have none: expected samples=None")
    if len(places := {str(piece.device) for piece in pieces}) > 1:
        raise InputError(f"the parts of the scores are on {' and '.join(sorted(places))}, expected one device")
    scores_N = torch.cat([piece.double() for piece in pieces])
    check_scores(scores_N)
    return PoolReader([scores_N[:, None]], device=device)


def _arrays(predictions: object) -> list[object]:
    if is_array(predictions):
        return [predictions]
    listed = isinstance(predictions, Sequence) and not isinstance(predictions, str | bytes | bytearray)
    if isinstance(predictions, Sequence) and listed and all(map(is_array, predictions)):
        return list(predictions)
    hint = "; lists of numbers become one with numpy.asarray" if listed else ""
    raise InputError(f"the predictions are {shown(predictions)}, expected {EXPECTED}{hint}")
