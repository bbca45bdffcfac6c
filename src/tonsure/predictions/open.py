"""The door: what a caller passes as predictions, scores, features and rows, checked and made ready to be read."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonsure.errors import InputError
from tonsure.predictions.arrays import Array, as_tensor, release_mapped
from tonsure.predictions.checks import check_features, check_log_probs, check_scores
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store import Store

Numbers = Sequence[int] | Tensor | NDArray[Any]
"""Rows or samples: whole numbers, or a mask of booleans."""

Whole = int | np.integer[Any]
"""A whole number, of Python or of NumPy."""

EXPECTED = (
    "log-probabilities [N, K, C] or scores [N], as a tensor, an array or a list of them, or a Store (Store.open(path) "
    "reads one)"
)


def open_predictions(predictions: object, samples: Numbers | None, device: torch.device | None) -> PoolReader:
    """A reader of log-probabilities [N, K, C], or of scores [N, 1], which have one axis at the door.

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


def open_features(features: object, rows: int | None, device: torch.device | None) -> PoolReader:
    """A reader of features [N, D].

    Args:
        features: a tensor, an array (a memory-mapped one is read where it lies), or a store that holds features.
        rows: the number of rows of the predictions; None if there are none.

    Raises:
        InputError: the features are of another type or shape, or one is nan or infinite; the message names its row.
    """
    if isinstance(features, Store):
        reader = features.feature_reader(device)
        if reader is None:
            raise InputError(f"{features} holds no features: tonsure.predict keeps them for models that have them")
    else:
        if not isinstance(features, Tensor | np.ndarray):
            raise InputError(
                f"features is {_shown(features)}, expected a tensor or an array [N, D], or a store with features"
            )
        tensor, release = as_tensor(features, "features"), partial(release_mapped, [features])
        check_features(tensor, release)
        reader = PoolReader([tensor], device=device, release=release)
    if rows is not None and len(reader) != rows:
        shape = [len(reader), *reader.pieces[0].shape[1:]]
        raise InputError(f"features have the shape {shape}, expected {rows} rows, as the predictions")
    return reader


def numbers(name: str, given: object, total: int, *, empty: bool = False) -> Tensor:
    """Distinct whole numbers from 0 to ``total`` − 1, on the CPU, in the order given.

    Args:
        given: whole numbers, or a mask of ``total`` booleans.
        empty: whether there may be none.

    Raises:
        InputError: the message shows the first number that is out of range or repeated.
    """
    expected = f"a list of whole numbers from 0 to {total - 1}, or a mask of {total} booleans"
    if isinstance(given, str | bytes) or not isinstance(given, Sequence | Tensor | np.ndarray | range):
        raise InputError(f"{name} is {_shown(given)}, expected {expected}")
    try:
        found = torch.as_tensor(np.asarray(given) if not isinstance(given, Tensor) else given).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is {_shown(given)}, expected {expected}") from error
    if found.dtype == torch.bool and found.shape == (total,):
        found = found.nonzero()[:, 0]
    if len(found.shape) == 1 and len(found) == 0 and empty:
        return torch.zeros(0, dtype=torch.int64)
    if found.ndim != 1 or len(found) == 0 or found.dtype.is_floating_point or found.dtype.is_complex:
        raise InputError(f"{name} is {found.dtype} of shape {tuple(found.shape)}, expected {expected}")
    if found.dtype == torch.bool:
        raise InputError(f"{name} is a mask of {len(found)} booleans, expected {total}")
    found = found.long()
    outside = (found < 0) | (found >= total)
    if outside.any():
        raise InputError(f"{name} holds {int(found[outside][0])}, expected numbers from 0 to {total - 1}")
    values, counts = found.unique(return_counts=True)
    if len(values) < len(found):
        raise InputError(f"{name} holds {int(values[counts > 1][0])} twice")
    return found


def whole_number(name: str, given: object, least: int, most: int, of: str = "") -> int:
    """A whole number within a range, of Python or of NumPy.

    Raises:
        InputError: it is none.
    """
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or not least <= given <= most:
        raise InputError(f"{name} is {_shown(given)}, expected a whole number from {least} to {most}{of}")
    return int(given)


def _score_reader(pieces: list[Tensor], samples: object, device: torch.device | None) -> PoolReader:
    if samples is not None:
        raise InputError("samples selects posterior samples, but scores [N] have none: expected samples=None")
    wrong = next((piece.dtype for piece in pieces if not piece.is_floating_point()), None)
    if wrong is not None:
        raise InputError(f"the scores are {wrong}, expected float16, bfloat16, float32 or float64")
    scores_N = torch.cat([piece.double() for piece in pieces])
    check_scores(scores_N)
    return PoolReader([scores_N[:, None]], device=device)


def _arrays(predictions: object) -> list[Array]:
    if isinstance(predictions, Tensor | np.ndarray):
        return [predictions]
    given = (
        list(predictions) if isinstance(predictions, Sequence) and not isinstance(predictions, str | bytes) else None
    )
    if given is None or not all(isinstance(piece, Tensor | np.ndarray) for piece in given):
        raise InputError(f"the predictions are {_shown(predictions)}, expected {EXPECTED}")
    return given


def _shown(value: object) -> str:
    """A value for a message: its text if that is short, else its type."""
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__} ({text[:40]}…)"
