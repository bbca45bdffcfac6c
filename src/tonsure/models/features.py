"""Features of items: the penultimate activations of a network, that is, the inputs of its last linear layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tonsure.arguments import refusal, whole_number
from tonsure.errors import InputError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.models.blocks import Blocks
from tonsure.models.examples import Inputs
from tonsure.networks.forward import a_network, copied, modes_kept, output_of
from tonsure.predictions.arrays import as_inputs
from tonsure.predictions.checks import check_features
from tonsure.surroundings import modeling, usable_device

MODEL_ROWS = 2**14
"""The number of items that a model is given at a time, which itself works in blocks: a copy of them is in memory."""


@modeling()
def features(
    model: BayesianModel | nn.Module,
    inputs: Inputs,
    *,
    device: str | torch.device | None = None,
    block_size: SupportsIndex = 1024,
) -> Float[Tensor, "n D"]:
    """The features of items, for methods that compare items by their features, such as ``FacilityLocation``.

    These are ``model.features(inputs)`` of a model, and the penultimate activations of a network (see ``penultimate``),
    which is evaluated in evaluation mode; its mode is restored.

    Args:
        model: a fitted ``BayesianModel`` that has features, or a ``torch.nn.Module``.
        inputs: [n, ...], one item per row; a NumPy array of float64 is converted to the default dtype of torch.
        device: of a network; None is the device of its parameters. A ``BayesianModel`` uses its own.
        block_size: the number of items that a network is given at a time.

    Returns:
        Features [n, D] on the CPU; of a network in float32.

    Raises:
        InputError: the model has no features, they are not finite numbers, or as ``penultimate``.
    """
    items = as_inputs(inputs)
    if isinstance(model, BayesianModel):
        return Blocks.of(model, items, None, MODEL_ROWS).all_features()
    if not isinstance(model, nn.Module):
        raise refusal("the model", model, "a BayesianModel or a torch.nn.Module")
    where = next((parameter.device for parameter in model.parameters()), "cpu") if device is None else device
    with modes_kept(model):
        features_n_D = penultimate(model.eval(), items, device=where, block_size=block_size)
    check_features(features_n_D)
    return features_n_D


@modeling()
@torch.no_grad()
def penultimate(
    network: nn.Module, inputs: Inputs, *, device: str | torch.device = "cpu", block_size: SupportsIndex = 1024
) -> Float[Tensor, "n D"]:
    """The penultimate activations h(x) of a network x ↦ W h(x) + b: the inputs of its last linear layer.

    The last linear layer is the ``nn.Linear`` that is *called* last, wherever it is defined in the network. Its input
    is recorded by a hook, so the network need not be split, and may end with other layers, such as a softmax. The input
    is flattened to one vector per item: with T tokens of width d on an axis of its own, D = T · d.

    The network is used in its current mode: call ``network.eval()`` before, unless dropout is wanted.
    ``tonsure.features`` does so, and also chooses the device.

    Args:
        network: maps inputs [n, ...] to logits; its parameters are on ``device``.
        inputs: [n, ...], one item per row.
        device: where blocks of inputs are moved.
        block_size: the number of items that the network is given at a time.

    Returns:
        Features [n, D] in float32 on the CPU.

    Raises:
        InputError: there are no items, the block size is below 1, the network cannot be used on the inputs or calls no
            ``nn.Linear``, or the first axis of the input of the last one is not the items.
    """
    a_network("network", network)
    items = as_inputs(inputs)
    if len(items) == 0:
        raise InputError("there are no items, expected at least 1")
    blocks, where = items.split(whole_number("block_size", block_size, 1)), usable_device(device)
    with _last_linear_input(network) as last:
        return torch.cat([_features(network, copied(block, where), last) for block in blocks])


@contextmanager
def _last_linear_input(network: nn.Module) -> Iterator[list[Tensor]]:
    """A list that holds, after a forward pass, the input of the ``nn.Linear`` that was called last."""
    last: list[Tensor] = []

    def record(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        last[:] = [copied(given[0] if given else named["input"])]  # before other layers change it

    hooks = [
        layer.register_forward_pre_hook(record, with_kwargs=True)
        for layer in network.modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        yield last
    finally:
        for hook in hooks:
            hook.remove()


def has_linear(network: nn.Module) -> bool:
    """Whether a network contains an ``nn.Linear``, so that it has penultimate activations."""
    return any(isinstance(layer, nn.Linear) for layer in network.modules())


def _features(network: nn.Module, inputs: Tensor, last: list[Tensor]) -> Float[Tensor, "n D"]:
    last.clear()
    output_of(network, inputs)
    if not last:
        raise InputError(
            "the network calls no nn.Linear, whose inputs would be the features: end it with one, or give the model a "
            "method features(inputs)"
        )
    if last[0].ndim < 2 or len(last[0]) != len(inputs):
        raise InputError(
            f"the input of the last nn.Linear that the network calls must have the items on its first axis, found the "
            f"shape {list(last[0].shape)} for {len(inputs)} items"
        )
    return last[0].flatten(1).float().cpu()
