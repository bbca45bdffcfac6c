"""Features: what the last linear layer of a network is given."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.predictions.arrays import as_inputs


def features(
    model: BayesianModel | nn.Module,
    inputs: Tensor | NDArray[Any],
    *,
    device: str | torch.device | None = None,
    block_size: int = 1024,
) -> Float[Tensor, "n D"]:
    """The features of each item, for methods that compare items by their location: the penultimate activations.

    Args:
        model: a fitted model with features, or a network, which is evaluated in evaluation mode (its mode is restored).
        inputs: [n, ...], one item per row.
        device: of a network; None is where its parameters are. A model has its own.
        block_size: items that a network is given at a time.

    Returns:
        Float32 numbers [n, D] on the CPU.

    Raises:
        InputError: the model has no features, or as ``penultimate``.
    """
    items = as_inputs(inputs)
    if isinstance(model, BayesianModel):
        return model.features(items)
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}, expected a BayesianModel or a torch.nn.Module")
    where = device or next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in model.modules()]
    try:
        return penultimate(model.eval(), items, device=where, block_size=block_size)
    finally:
        for module, mode in modes:
            module.training = mode


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
