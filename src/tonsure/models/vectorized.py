"""Trains the members of an ensemble together, in common steps.

For a small network most of the time of a step is overhead, which K networks in a common step pay once. A larger network
uses the whole processor by itself, and K of them do not fit into its cache.
"""

import copy
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.modules.dropout import _DropoutNd

from tonsure.errors import InputError, TrainingError
from tonsure.networks.forward import as_input_error, logits_of
from tonsure.progress import progress
from tonsure.seeding import seeded
from tonsure.surroundings import modeling
from tonsure.training import (
    Training,
    check_weights,
    checked_classes,
    diverged,
    shuffled_batches,
    trainable,
)

FEW_WEIGHTS = 30_000
"""The number of weights up to which networks are trained faster together on a CPU."""

CANNOT = "the members cannot be trained together (vectorized=True)"

_ELEMENTWISE = {torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad}
_QUICK_LAYERS = {nn.Sequential, nn.Flatten, nn.Linear, nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Dropout, nn.Identity}
_WITH_DROPOUT = (nn.RNNBase, nn.MultiheadAttention)


def obstacle(networks: Sequence[nn.Module], training: Training) -> str | None:
    """Why training the networks together would not give the same weights as training each alone; None if it would.

    The optimizer must update every weight independently, as the known ones do. Dropout would draw other masks. Buffers,
    such as those of batch normalization, change in training. With early stopping each member stops at another step.
    """
    optimizer = training.optimizer
    while isinstance(optimizer, partial):
        optimizer = optimizer.func
    if optimizer not in _ELEMENTWISE:
        known = ", ".join(sorted(known.__name__ for known in _ELEMENTWISE))
        return f"the optimizer is not one of those known to update every weight independently ({known})"
    if training.patience is not None:
        return "with patience each member stops at another step"
    for network in networks:
        if _structure(network) != _structure(networks[0]):
            return "the members do not have the same structure"
        if next(network.buffers(), None) is not None:
            return "the network has buffers, such as those of batch normalization"
        for layer in network.modules():
            if (isinstance(layer, _DropoutNd) and layer.p) or (isinstance(layer, _WITH_DROPOUT) and layer.dropout):
                return "the network has dropout, which would draw other masks"
    return None


def is_quicker(networks: Sequence[nn.Module], training: Training) -> bool:
    """Whether training the networks together is faster: on a CPU, without convolutions, with few weights.

    The speed of training together relative to training alone, in CPU time on one core with K = 5 and 10: for networks
    of 10,000 weights 1.3 to 3.2, of 26,000 weights 1.2 to 1.8, of 35,000 weights 0.6 to 1.3, of more 0.4 to 1.1. With
    convolutions, which become one convolution of K groups, 0.8 to 1.3, and 0.6 on two cores. Not measured on a GPU.
    """
    return (
        len(networks) > 1
        and torch.device(training.device).type == "cpu"
        and all(type(layer) in _QUICK_LAYERS for layer in networks[0].modules())
        and sum(parameter.numel() for parameter in networks[0].parameters()) <= FEW_WEIGHTS
    )


@modeling()
def fit_together(
    networks: Sequence[nn.Module],
    inputs: Tensor,
    labels_n: Int[Tensor, " n"],
    training: Training,
    *,
    seeds: Sequence[int],
) -> None:
    """Trains the networks in place, as ``tonsure.training.fit`` does with their seeds: the same weights up to rounding.

    The gradient of Σ_k loss_k with respect to the weights of member k is that of loss_k. All members are on the device
    at the same time. The members must differ in their weights only, ``obstacle`` must return None for them, and the
    examples must have been checked.

    Raises:
        InputError: a label is not a class of the network, a network or the optimizer cannot be used, the output is not
            [n, C], or a member's gradient in the first step differs from that of the member alone.
        TrainingError: a loss, or a weight after the last step, is not finite; the message names the first member with
            such a loss.
    """
    device = torch.device(training.device)
    iterations = training.iterations_for(len(labels_n))
    for network in networks:
        trainable(network)
        network.to(device).train()
    with as_input_error(CANNOT):
        weights, _ = stack_module_state(list(networks))
        logits_of_all = vmap(partial(_logits, copy.deepcopy(networks[0]).to("meta")))
    optimizer = training.optimizer_for(weights.values())
    batches = zip(*(shuffled_batches(len(labels_n), training, seed) for seed in seeds), strict=True)
    with seeded(seeds[0], device):
        for iteration, rows in enumerate(progress(batches, "fit", total=iterations, delay=2)):
            learning_rate = training.set_learning_rate(optimizer, iteration / iterations)
            rows_K_n = torch.stack(rows)
            inputs_now, labels_K_n = inputs[rows_K_n].to(device), labels_n[rows_K_n]
            logits_K_n_C = logits_of_all(weights, inputs_now)
            checked_classes(labels_K_n.flatten(), logits_K_n_C.shape[2])
            loss_K = _losses(logits_K_n_C, labels_K_n)
            if not loss_K.isfinite().all():
                member = int((~loss_K.isfinite()).nonzero()[0])
                cause = diverged(loss_K[member].item(), iteration, iterations, learning_rate, inputs)
                raise TrainingError(f"member {member}: {cause}")
            with as_input_error(CANNOT):
                optimizer.zero_grad()
                loss_K.sum().backward()
                if iteration == 0:
                    _check_gradients(networks, weights, inputs_now, labels_K_n)
                optimizer.step()
    check_weights(weights.values())
    for member, network in enumerate(networks):
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(weights[name][member])
        network.eval()


def _logits(network: nn.Module, weights: dict[str, Tensor], inputs: Tensor) -> Float[Tensor, "n C"]:
    return logits_of(partial(functional_call, network, weights), inputs, inputs.device)


def _losses(logits_K_n_C: Float[Tensor, "K n C"], labels_K_n: Int[Tensor, "K n"]) -> Float[Tensor, " K"]:
    labels = labels_K_n.flatten().long().to(logits_K_n_C.device)
    losses = nn.functional.cross_entropy(logits_K_n_C.flatten(0, 1), labels, reduction="none")
    return losses.reshape(labels_K_n.shape).mean(dim=1)


def _check_gradients(
    networks: Sequence[nn.Module], weights: dict[str, Tensor], inputs: Tensor, labels_K_n: Int[Tensor, "K n"]
) -> None:
    """Rejects networks whose gradients are wrong when members are trained together.

    This happens: in torch 2.13, ``nn.Embedding`` ignores its ``padding_idx`` from the second member on.
    """
    for member, network in enumerate(networks):
        logits_1_n_C = logits_of(network, inputs[member], inputs.device)[None]
        trained = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
        loss = _losses(logits_1_n_C, labels_K_n[member : member + 1]).sum()
        alone = torch.autograd.grad(loss, [parameter for _, parameter in trained], materialize_grads=True)
        rounding = 1e-4 * max(float(gradient.norm()) for gradient in alone)
        for (name, _), gradient in zip(trained, alone, strict=True):
            together = weights[name].grad
            apart = gradient if together is None else gradient - together[member]
            if float(apart.norm()) > rounding + 1e-2 * float(gradient.norm()):
                raise InputError(
                    f"{CANNOT}: the gradient of {name} of member {member} would differ; torch.func.vmap may not "
                    "support this layer correctly"
                )


def _structure(network: nn.Module) -> tuple[str, list[tuple[str, torch.Size, torch.dtype, bool]]]:
    parameters = network.named_parameters()
    return str(network), [(name, p.shape, p.dtype, p.requires_grad) for name, p in parameters]
