"""The members of an ensemble trained at the same time, by steps that move all of them.

A small network spends most of a step on everything but arithmetic: K of them in one step pay for it once. A larger one
fills the processor alone, and K of them only leave its cache.
"""

import copy
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.modules.dropout import _DropoutNd
from tqdm import tqdm

from tonsure.errors import InputError, TrainingError
from tonsure.seeding import seeded
from tonsure.training import (
    Training,
    checked_classes,
    checked_logits,
    diverged,
    shuffled_batches,
)

FEW_WEIGHTS = 30_000
"""Networks of up to so many are quicker together on a CPU."""

_ELEMENTWISE = {torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad}
_QUICK_LAYERS = {nn.Sequential, nn.Flatten, nn.Linear, nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Dropout, nn.Identity}
_WITH_DROPOUT = (nn.RNNBase, nn.MultiheadAttention)


def obstacle(networks: Sequence[nn.Module], training: Training) -> str | None:
    """Why training them together would not give the weights that each has when it is trained alone; None if it would.

    Optimizers must treat every weight by itself, as those of the list do; masks of dropout would be others; buffers,
    such as those of batch normalization, change while a network is used; and a member that stops early stops alone.
    """
    optimizer = training.optimizer
    while isinstance(optimizer, partial):
        optimizer = optimizer.func
    if optimizer not in _ELEMENTWISE:
        known = ", ".join(sorted(known.__name__ for known in _ELEMENTWISE))
        return f"the optimizer is none of those known to treat every weight by itself ({known})"
    if training.patience is not None:
        return "with patience each member stops when it is best"
    for network in networks:
        if _structure(network) != _structure(networks[0]):
            return "the members are not built alike"
        if next(network.buffers(), None) is not None:
            return "the network has buffers, such as those of batch normalization"
        for layer in network.modules():
            if (isinstance(layer, _DropoutNd) and layer.p) or (isinstance(layer, _WITH_DROPOUT) and layer.dropout):
                return "the network has dropout, whose masks would be others"
    return None


def is_quicker(networks: Sequence[nn.Module], training: Training) -> bool:
    """Whether training them together takes less time: on a CPU, without convolutions, with few weights.

    Measured on one core with K = 5 and 10, in CPU time: together, networks of 10,000 weights are trained 1.3 to 3.2
    times as fast, of 26,000 1.2 to 1.8 times, of 35,000 0.6 to 1.3 times, of more 0.4 to 1.1 times; with convolutions,
    which become one of K groups, 0.8 to 1.3 times, on two cores 0.6. On a GPU nothing was measured.
    """
    return (
        len(networks) > 1
        and torch.device(training.device).type == "cpu"
        and all(type(layer) in _QUICK_LAYERS for layer in networks[0].modules())
        and sum(parameter.numel() for parameter in networks[0].parameters()) <= FEW_WEIGHTS
    )


def fit_together(
    networks: Sequence[nn.Module],
    inputs: Tensor,
    labels_n: Int[Tensor, " n"],
    training: Training,
    *,
    seeds: Sequence[int],
) -> None:
    """Trains each network in place as ``tonsure.training.fit`` does with its seed: the same weights but for rounding.

    The gradient of Σ_k loss_k for the weights of member k is that of loss_k. All members are on the device at once.
    Nothing but its weights may tell a member from another, ``obstacle`` must be None, and the examples checked.

    Raises:
        InputError: labels are no classes of the network, its output is not [n, C], or a member's gradient in the first
            step is not what it is alone.
        TrainingError: a loss is no longer finite; the message names the first member with such a loss.
    """
    device = torch.device(training.device)
    iterations = training.iterations_for(len(labels_n))
    for network in networks:
        network.to(device).train()
    weights, _ = stack_module_state(list(networks))
    logits_of = vmap(partial(_logits, copy.deepcopy(networks[0]).to("meta")))
    optimizer = training.optimizer(weights.values(), lr=training.learning_rate, weight_decay=training.weight_decay)
    batches = zip(*(shuffled_batches(len(labels_n), training, seed) for seed in seeds), strict=True)
    with seeded(seeds[0], device), torch.enable_grad():
        for iteration, rows in enumerate(tqdm(batches, "fit", total=iterations, disable=None, leave=False, delay=2)):
            learning_rate = training.set_learning_rate(optimizer, iteration / iterations)
            rows_K_n = torch.stack(rows)
            inputs_now, labels_K_n = inputs[rows_K_n].to(device), labels_n[rows_K_n]
            logits_K_n_C = logits_of(weights, inputs_now)
            checked_classes(labels_K_n.flatten(), logits_K_n_C.shape[2])
            loss_K = _losses(logits_K_n_C, labels_K_n)
            if not loss_K.isfinite().all():
                member = int((~loss_K.isfinite()).nonzero()[0])
                cause = diverged(loss_K[member].item(), iteration, iterations, learning_rate, inputs)
                raise TrainingError(f"member {member}: {cause}")
            optimizer.zero_grad()
            loss_K.sum().backward()
            if iteration == 0:
                _check_gradients(networks, weights, inputs_now, labels_K_n)
            optimizer.step()
    for member, network in enumerate(networks):
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(weights[name][member])
        network.eval()


def _logits(network: nn.Module, weights: dict[str, Tensor], inputs: Tensor) -> Float[Tensor, "n C"]:
    return checked_logits(functional_call(network, weights, (inputs,)), len(inputs))


def _losses(logits_K_n_C: Float[Tensor, "K n C"], labels_K_n: Int[Tensor, "K n"]) -> Float[Tensor, " K"]:
    labels = labels_K_n.flatten().long().to(logits_K_n_C.device)
    losses = nn.functional.cross_entropy(logits_K_n_C.flatten(0, 1), labels, reduction="none")
    return losses.reshape(labels_K_n.shape).mean(dim=1)


def _check_gradients(
    networks: Sequence[nn.Module], weights: dict[str, Tensor], inputs: Tensor, labels_K_n: Int[Tensor, "K n"]
) -> None:
    """Refuses a network whose gradients come out wrong when members are trained together.

    Because some do: in torch 2.13, ``nn.Embedding`` forgets its ``padding_idx`` there from the second member on.
    """
    for member, network in enumerate(networks):
        logits_1_n_C = checked_logits(network(inputs[member]), len(inputs[member]))[None]
        trained = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
        loss = _losses(logits_1_n_C, labels_K_n[member : member + 1]).sum()
        alone = torch.autograd.grad(loss, [parameter for _, parameter in trained], materialize_grads=True)
        rounding = 1e-4 * max(float(gradient.norm()) for gradient in alone)
        for (name, _), gradient in zip(trained, alone, strict=True):
            together = weights[name].grad
            apart = gradient if together is None else gradient - together[member]
            if float(apart.norm()) > rounding + 1e-2 * float(gradient.norm()):
                raise InputError(
                    f"the members cannot be trained together (vectorized=True): the gradient of {name} of member "
                    f"{member} is then another one; torch.func.vmap may have no right rule for this layer"
                )


def _structure(network: nn.Module) -> tuple[str, list[tuple[str, torch.Size, torch.dtype, bool]]]:
    parameters = network.named_parameters()
    return str(network), [(name, p.shape, p.dtype, p.requires_grad) for name, p in parameters]
