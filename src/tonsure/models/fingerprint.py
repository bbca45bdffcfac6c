"""A hash of what a model is, so that the predictions of two models never end up in one store."""

import hashlib
import io
import random
import re
from collections.abc import Iterable
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.hooks import RemovableHandle

from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.predictions.arrays import as_plain
from tonsure.predictions.store.blocks import bytes_of

DEPTH = 64
"""The largest number of objects within each other; what lies deeper does not count."""

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # hooks, the mode, and the dicts of what is listed below

COMPILED = "_torchdynamo_orig_callable"
"""What torch.compile made a network or a function of; the rest of its result differs between processes."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes)

_NO_PART = (
    torch.optim.Optimizer,
    LRScheduler,
    RemovableHandle,
    torch.device,
    torch.Generator,
    np.random.Generator,
    np.random.BitGenerator,
    np.random.RandomState,
    random.Random,
)
"""How a model was trained, its hooks, where it is, and what draws at random, whose state changes with every use."""


def fingerprint(model: BayesianModel) -> str:
    """A hash of the class, the number of samples, and all that the model holds.

    These are the tensors, arrays, numbers, texts and booleans among its attributes, and in the objects there, as deep
    as they go: networks, with the settings that a layer prints, lists, sets, dicts, ``functools.partial``, what
    functions close over, and any object, as far as it could be pickled. Whole numbers count too: an attribute that
    counts calls makes another model of it with every call.

    What ``__getstate__`` leaves out, as for pickling, does not count, such as a cache or a counter. Neither do the code
    of functions and classes, hooks, the mode of a network, devices, optimizers, and random generators. Of an object
    that cannot be entered (one of another language without a state) only its class counts.
    """
    return _hash(f"{model.samples} samples".encode(), _Hashes().of(model) or b"").hex()[:16]


class _Hashes:
    """Hashes of objects by what they hold, never by where they are in memory: the same in every process."""

    def __init__(self) -> None:
        # With the objects, so that no other gets the id of one of them meanwhile.
        self._known: dict[int, tuple[object, bytes]] = {}
        self._entered: dict[int, int] = {}

    def of(self, value: object) -> bytes | None:
        """The hash of an object; None if it is no part of a model."""
        if isinstance(value, _NO_PART):
            return None
        if type(value) in _PLAIN:
            return _hash(type(value).__name__.encode(), _text(value).encode())
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._entered:
            return _hash(b"within itself", str(len(self._entered) - self._entered[id(value)]).encode())
        if len(self._entered) >= DEPTH:
            return _unknown(value)
        self._entered[id(value)] = len(self._entered)
        found = self._inside(value)
        del self._entered[id(value)]
        self._known[id(value)] = value, found
        return found

    def _inside(self, value: Any) -> bytes:
        name = type(value).__qualname__.encode()
        if isinstance(value, Tensor) and is_lazy(value):
            return _hash(b"uninitialized")
        if isinstance(value, Tensor | np.ndarray | np.generic):
            if _is_list(value):
                return self._of_all(value.unbind() if isinstance(value, Tensor) else value.flat)
            return _hash(f"{value.dtype} {[*value.shape]}".encode(), _bytes(value))
        if COMPILED in getattr(value, "__dict__", {}):
            return self._of_all([vars(value)[COMPILED]])
        if isinstance(value, nn.Module):
            return _hash(name, _printed(value), self._of_pairs(_parts(value)))
        if isinstance(value, type | ModuleType):
            return _hash(b"named", (value.__qualname__ if isinstance(value, type) else value.__name__).encode())
        if isinstance(value, FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
            held = (value.__defaults__, value.__kwdefaults__, vars(value), cells)
            return _hash(b"function", value.__qualname__.encode(), self._of_all(held))
        if isinstance(value, MethodType):
            return _hash(b"method", self._of_all((value.__func__, value.__self__)))
        if isinstance(value, set | frozenset):
            return _hash(name, *sorted(filter(None, map(self.of, value))))
        if isinstance(value, dict | MappingProxyType):
            return _hash(name, self._of_pairs(value), self._of_pairs(getattr(value, "__dict__", {})))
        if isinstance(value, list | tuple):
            return _hash(name, self._of_all(value), self._of_pairs(getattr(value, "__dict__", {})))
        return self._of_object(name, value)

    def _of_object(self, name: bytes, value: Any) -> bytes:
        """By what pickle would keep."""
        try:
            kept = value.__reduce_ex__(4)
        except Exception:  # whatever an object raises that cannot be pickled
            kept = vars(value) if hasattr(value, "__dict__") else None
        if isinstance(kept, str | dict):
            return _hash(name, self.of(kept) or b"")
        if not isinstance(kept, tuple) or len(kept) < 2:
            return _unknown(value)
        made, arguments, state, listed, pairs, *_ = *kept, None, None, None
        return _hash(name, self._of_all((made, arguments, state, [*(listed or ())], dict(pairs or ()))))

    def _of_all(self, values: Iterable[object]) -> bytes:
        return _hash(*filter(None, map(self.of, values)))

    def _of_pairs(self, values: Any) -> bytes:
        # In the order of the names first, as the first place where an object is found may decide its hash.
        pairs = sorted(values.items(), key=lambda pair: _text(pair[0]) if type(pair[0]) in _PLAIN else "")
        hashes = [(self.of(key), self.of(each)) for key, each in pairs]
        return _hash(*sorted(_hash(key or b"", each) for key, each in hashes if each is not None))


def _hash(*parts: bytes | memoryview) -> bytes:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.digest()


def _unknown(value: object) -> bytes:
    return _hash(b"unknown", type(value).__qualname__.encode())


def _text(value: object) -> str:
    return f"{value:x}" if type(value) is int else repr(value)  # decimal numbers may be too long for Python


def _printed(module: nn.Module) -> bytes:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", module.extra_repr()).encode()


def _parts(module: nn.Module) -> dict[str, object]:
    others = {name: each for name, each in _state(module).items() if name not in _OF_EVERY_MODULE}
    listed = (module.named_parameters(recurse=False), module.named_buffers(recurse=False), module.named_children())
    return {**others, **{name: each for pairs in listed for name, each in pairs}}


def _is_list(value: Tensor | np.ndarray | np.generic) -> bool:
    """Whether it is a list of tensors or objects, with no bytes of its own."""
    return value.is_nested if isinstance(value, Tensor) else value.dtype == object


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # of a variable that has no value yet
        return False


def _state(module: nn.Module) -> dict[str, object]:
    try:
        state = module.__getstate__()
    except Exception:  # scripted modules have none
        state = None
    return state if isinstance(state, dict) else dict(vars(module))


def _bytes(value: Tensor | np.ndarray | np.generic) -> bytes | memoryview:
    try:
        return bytes_of(as_plain(value, "numbers"))
    except InputError:  # neither dense nor of a type that torch knows
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()
