"""Calls of networks that somebody else wrote: on tensors of their own, with errors that show what they were given.

A network may work in place (``x.sub_(1.0)``, ``x += position``, ``nn.ReLU(inplace=True)``), so what it is given is
changed, and must not be used again.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tonsure.arguments import instance, shown
from tonsure.errors import InputError, TonsureError

Network = Callable[[Any], Any]
"""A module, or a part of one."""

a_network = instance(nn.Module, "torch.nn.Linear(10, 2)")
"""The check of an argument that is a network."""

FULL_MEMORY = (MemoryError, torch.cuda.OutOfMemoryError)


def logits_of(network: Network, inputs: Tensor, device: str | torch.device) -> Float[Tensor, "n C"]:
    """The logits of a network for n items, which it is given as a copy on ``device``.

    Raises:
        InputError: the network cannot be used on the inputs, or its output is not [n, C].
    """
    return checked_logits(output_of(network, copied(inputs, device)), len(inputs))


def output_of(network: Network, given: Any) -> Any:
    """network(given); what the network raises becomes an InputError that shows what it was given."""
    inputs = shown(given) if isinstance(given, Tensor) else f"a {type(given).__name__}"  # in short, for this is costly
    made = torch.get_default_dtype()  # in which networks are made, so that it may not fit the inputs
    default = "" if made == torch.float32 else f" (the default dtype is {made})"
    with as_input_error(f"the network cannot be used on {inputs}{default}"):
        return network(given)


def copied(given: Any, device: str | torch.device | None = None) -> Any:
    """A copy without gradients, on ``device``; None is where it is. Layers may also pass tuples and other objects."""
    if not isinstance(given, Tensor):
        return copy.deepcopy(given)
    if device is None:
        return given.detach().clone()
    # In one layout, because a product of the same numbers in another one rounds differently.
    return given.detach().to(device, copy=True, memory_format=torch.contiguous_format)


def checked_logits(logits: object, n: int) -> Float[Tensor, "n C"]:
    """The output of a network for n items; raises InputError if it is not [n, C]."""
    if not isinstance(logits, Tensor):
        raise InputError(f"the network must return logits [n, C], found {type(logits).__name__}")
    if logits.ndim != 2 or len(logits) != n:
        raise InputError(f"the network must return logits [n, C], found the shape {list(logits.shape)} for n = {n}")
    if logits.shape[1] < 2 or not logits.is_floating_point() or not is_dense(logits):
        raise InputError(
            "the network must return dense floating-point logits [n, C] of at least two classes, "
            f"found {logits.dtype} of shape {list(logits.shape)} and layout {logits.layout} on {logits.device}"
        )
    return logits


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor has memory of its own with all its numbers."""
    return tensor.layout == torch.strided and tensor.device.type != "meta" and not tensor.is_nested


@contextmanager
def as_input_error(what: str) -> Iterator[None]:
    """Code of the user: what it raises becomes an InputError with its text, except for a full memory."""
    try:
        yield
    except (TonsureError, *FULL_MEMORY):
        raise
    except Exception as error:
        raise InputError(f"{what}: {type(error).__name__}: {error}") from error


@contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """A context at whose end each layer of a network is in the mode, of training or evaluation, that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
