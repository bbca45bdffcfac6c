"""Features: what the last linear layer of a network is given."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tonsure.errors import InputError


@torch.no_grad()
def penultimate(
    network: nn.Module, inputs: Tensor, *, device: str | torch.device = "cpu", block_size: int = 1024
) -> Float[Tensor, "n D"]:
    """h(x), where the network is x ↦ W h(x) + b: the input of the ``nn.Linear`` that is called last, flattened.

    In the mode that the network is in; ``block_size`` items at a time; on the CPU.

    Args:
        network: on ``device``; from inputs [n, ...] to logits.

    Raises:
        InputError: there are no items, the block size is below one, no ``nn.Linear`` is called, or the first axis of
            its input is not the items.
    """
    if len(inputs) == 0 or block_size < 1:
        raise InputError(f"there are {len(inputs)} items in blocks of {block_size}, expected at least 1 in blocks of 1")
    with _last_linear_input(network) as last:
        return torch.cat([_features(network, block.to(device), last) for block in inputs.split(block_size)])


@contextmanager
def _last_linear_input(network: nn.Module) -> Iterator[list[Tensor]]:
    """A list that holds, after a pass through the network, what the last ``nn.Linear`` of it was given."""
    last: list[Tensor] = []

    def note(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        last[:] = [given[0] if given else named["input"]]

    hooks = [
        layer.register_forward_pre_hook(note, with_kwargs=True)
        for layer in network.modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        yield last
    finally:
        for hook in hooks:
            hook.remove()


def _features(network: nn.Module, inputs: Tensor, last: list[Tensor]) -> Float[Tensor, "n D"]:
    last.clear()
    network(inputs)
    if not last:
        raise InputError(
            "the network calls no nn.Linear, whose input would be the features of its items: end it with one, or give "
            "the model a method features(inputs)"
        )
    if last[0].ndim < 2 or len(last[0]) != len(inputs):
        raise InputError(
            f"the last nn.Linear that the network calls must have the items on the first axis of its input, found the "
            f"shape {list(last[0].shape)} for {len(inputs)} items"
        )
    return last[0].flatten(1).float().cpu()
