"""The surroundings of a call: what other code has switched in torch and NumPy, and what must not change a result."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from tonsure.arguments import shown
from tonsure.errors import InputError, OutOfMemoryError, TonsureError

AUTOCAST = ("cpu", "cuda", "mps", "xpu")
"""Kinds of devices for which autocast can be on, each by itself."""

PRODUCTS: list[Any] = [getattr(getattr(torch.backends, name), "matmul", None) for name in ("cuda", "mkldnn")]
"""Where it is set whether a product of float32 matrices may be computed with fewer digits."""

EACH = all(hasattr(products, "fp32_precision") for products in PRODUCTS)
"""Whether each has a setting of its own; in older versions of torch there is one for all."""

REFUSED = re.compile(
    "allocate memory|not enough memory|out of memory|Storage size calculation overflowed", re.IGNORECASE
)
"""What a RuntimeError of torch says where there is no room on the CPU; it has no type of its own for that."""

FULL = dict.fromkeys(("tf32", "bf16"), "ieee") | dict.fromkeys(("high", "medium"), "highest")
"""For settings that compute with fewer digits, the one that does not."""

_lock = threading.Lock()
_inside = 0
_before: tuple[Any, ...] = ()
_within: tuple[Any, ...] = ()


@contextmanager
def undisturbed() -> Iterator[None]:
    """A context, or a decorator, in which torch and NumPy compute as in a new process; all is restored at its end.

    Without autocast, reduced precision of float32, a default device other than the CPU, deterministic mode, flushed
    denormal numbers, and errors in place of NumPy's warnings. Gradients are recorded as before. The default type is
    process-wide too, but other threads rely on it at every tensor they make: code within states its types instead.
    """
    with ExitStack() as stack:
        for device in AUTOCAST:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if sys.float_info.min / 2 == 0:
            torch.set_flush_denormal(False)
            stack.callback(torch.set_flush_denormal, True)
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(_undisturbed_process())
        yield


@contextmanager
def selecting() -> Iterator[None]:
    """``undisturbed``, without gradients and inference mode: what is returned can be used anywhere.

    Raises:
        OutOfMemoryError: something within could not get the memory that it asked for.
    """
    try:
        with undisturbed(), torch.inference_mode(False), torch.no_grad():
            yield
    except TonsureError:
        raise
    except (MemoryError, RuntimeError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not REFUSED.search(text):
            raise
        raise OutOfMemoryError(
            f"there is not enough memory for the selection: {text}. Set a budget, memory= (--memory): the selection "
            "keeps within it, or an error states the minimum before any work is done"
        ) from error


@contextmanager
def modeling() -> Iterator[None]:
    """``undisturbed``, with gradients and without inference mode, as networks are written for; in deterministic mode
    if it is on, because only the user knows whether a network can do without it on a GPU.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with undisturbed(), torch.inference_mode(False), torch.enable_grad():
        if deterministic:
            torch.use_deterministic_algorithms(True, warn_only=warn_only)
        yield


def usable_device(device: object) -> torch.device:
    """The device of this name, or this device.

    Raises:
        InputError: there is none, it is not available, or it holds no numbers.
    """
    try:
        found = torch.device(device)  # type: ignore[call-overload]  # or it is refused
        torch.empty(0, device=found)
    except Exception as error:  # a torch without CUDA asserts that it has it
        raise InputError(f"the device {shown(device)} cannot be used: {str(error).partition(chr(10))[0]}") from error
    if found.type == "meta":
        raise InputError("the device 'meta' cannot be used: it holds no numbers")
    return found


@contextmanager
def _undisturbed_process() -> Iterator[None]:
    """The settings of the whole process: the first of several threads changes them, and the last restores them."""
    global _inside, _before, _within
    with _lock:
        if _inside == 0:
            _before = _settings()
            _set(False, False, *(FULL.get(precision, precision) for precision in _before[2:]))
            _within = _settings()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                # What another thread has set in the meantime stays.
                each = zip(_before, _within, _settings(), strict=True)
                _set(*(before if now == within else now for before, within, now in each))


def _settings() -> tuple[Any, ...]:
    """Deterministic mode, whether it only warns, and the precisions."""
    mode = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if EACH:
        return *mode, *(products.fp32_precision for products in PRODUCTS)
    return *mode, torch.get_float32_matmul_precision()


def _set(deterministic: bool, warn_only: bool, *precisions: str) -> None:
    if deterministic or torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    if not EACH:
        torch.set_float32_matmul_precision(*precisions)
        return
    for products, precision in zip(PRODUCTS, precisions, strict=True):
        if products.fp32_precision != precision:
            products.fp32_precision = "none"  # that of a setting above it, which is read as if it were its own
        if products.fp32_precision != precision:
            products.fp32_precision = precision
