"""A hash of what a model is, so that the predictions of two models never end up in one store."""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.predictions.arrays import as_plain
from tonsure.predictions.store.blocks import bytes_of

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # hooks, the mode, and the dicts of what is listed below


def fingerprint(model: BayesianModel) -> str:
    """A hash of the class, the number of samples, and all fractional numbers that the model holds.

    These are the tensors, arrays and floats among its attributes, and in the networks, models, dataclasses, lists,
    tuples and dicts there: parameters, buffers and others. The settings that a layer prints count too. What
    ``__getstate__`` leaves out, as for pickling, does not count, such as a cache.
    """
    found = hashlib.sha256()
    for part in _parts(f"{model.samples} samples", model, {}):
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()[:16]


def _parts(name: str, value: object, seen: dict[int, object]) -> Iterator[bytes | memoryview]:
    """The name and the bytes of each number in ``value``, in an order that is the same in every process."""
    if isinstance(value, Tensor) and is_lazy(value):
        yield f"{name}: uninitialized".encode()
    elif isinstance(value, Tensor | np.ndarray | np.generic) and not _is_list(value):
        yield f"{name}: {value.dtype} {[*value.shape]}".encode()
        yield _bytes(value)
    elif isinstance(value, float | complex):
        yield f"{name}: {value!r}".encode()
    elif (parts := _inside(value)) is not None and id(value) not in seen:
        seen[id(value)] = value  # what holds itself is looked at once; another object must not get its id meanwhile
        inside = chain.from_iterable(_parts(f"{name}.{key}", parts[key], seen) for key in sorted(parts, key=str))
        first = next(inside, None)
        if first is None and isinstance(value, Mapping | list | tuple):
            return  # no numbers: perhaps a list of calls, which grows
        yield f"{name}: {type(value).__qualname__}".encode()
        if isinstance(value, nn.Module):
            yield re.sub(r" at 0x[0-9a-fA-F]+", "", value.extra_repr()).encode()
        if first is not None:
            yield first
        yield from inside


def _inside(value: object) -> Mapping[Any, object] | None:
    """What an object holds, by name or place; None for others than listed above."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if isinstance(value, Tensor | np.ndarray | np.generic) and _is_list(value):
        return dict(enumerate(value.unbind() if isinstance(value, Tensor) else value.flat))
    if isinstance(value, nn.Module):
        others = {name: each for name, each in _state(value).items() if name not in _OF_EVERY_MODULE}
        listed = (value.named_parameters(recurse=False), value.named_buffers(recurse=False), value.named_children())
        return {**others, **{name: each for pairs in listed for name, each in pairs}}
    if isinstance(value, BayesianModel) or (is_dataclass(value) and not isinstance(value, type)):
        return _state(value)
    return None


def _is_list(value: Tensor | np.ndarray | np.generic) -> bool:
    """Whether it is a list of tensors or objects, with no bytes of its own."""
    return value.is_nested if isinstance(value, Tensor) else value.dtype == object


def _state(value: object) -> dict[str, object]:
    try:
        state = value.__getstate__()
    except Exception:  # scripted modules have none
        state = None
    return state if isinstance(state, dict) else dict(getattr(value, "__dict__", {}))


def _bytes(value: Tensor | np.ndarray | np.generic) -> bytes | memoryview:
    try:
        return bytes_of(as_plain(value, "numbers"))
    except InputError:  # neither dense nor of a type that torch knows
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()
