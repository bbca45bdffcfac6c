"""Dropout with fixed masks, so that a mask defines one function for the whole pool."""

import copy
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor, nn

from tonsure.errors import InputError
from tonsure.networks.forward import as_input_error
from tonsure.seeding import derive_seed

Dropout = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d
_DROPOUT = get_args(Dropout)
_HOOKS = [name for name in vars(nn.Module()) if "hook" in name]
_NOT_A_MASK = (nn.AlphaDropout, nn.FeatureAlphaDropout)


class ConsistentDropout(nn.Module):
    """h ↦ h ⊙ z_k / (1 − p) in prediction, where z_k ~ Bernoulli(1 − p) is drawn once for each sample k.

    z_k has the shape of the activation of *one* item, or of its channels for dropout of whole channels. All items share
    it, independent of the block that they are in. In training mode, and in evaluation mode before ``use``, this is
    ordinary dropout. It works in place if the ordinary dropout does.
    """

    def __init__(self, ordinary: Dropout, number: int) -> None:
        super().__init__()
        for name in _HOOKS:  # they belong to the layer of the network, in prediction too
            vars(self)[name], vars(ordinary)[name] = vars(ordinary)[name], vars(self)[name]
        self.ordinary = ordinary
        self.number = number
        self.forget(seed=0, samples=1)

    def __getstate__(self) -> dict[str, Any]:
        # Neither the masks nor the sample in use: the seed decides the masks, and the first items their shape.
        return {**self.__dict__, "masks": None, "item_shape": torch.Size(), "sample": None, "items": 0}

    def extra_repr(self) -> str:
        return f"number={self.number}, seed={self.seed}, samples={self.samples}"

    @property
    def leaves_its_input(self) -> bool:
        """Whether nothing in this layer can change the tensor that it is given."""
        return not (self.ordinary.inplace or self._forward_pre_hooks or self._forward_hooks)

    def forget(self, *, seed: int, samples: int) -> None:
        """Discards the masks. New ones are drawn when the shape of an item is known."""
        self.seed, self.samples = seed, samples
        self.masks: Tensor | None = None
        self.item_shape = torch.Size()
        self.use(sample=None, items=0)

    def use(self, *, sample: int | None, items: int) -> None:
        """Sets the sample, and the number of items, of the next forward pass; None is without dropout."""
        self.sample, self.items = sample, items

    def forward(self, activations: Tensor) -> Tensor:
        if self.training:
            return self.ordinary(activations)
        if self.sample is None:
            return activations
        if len(activations) != self.items:
            raise InputError(
                f"dropout layer {self.number} must have the items on its first axis, "
                f"found the shape {list(activations.shape)} for {self.items} items"
            )
        if self.masks is None:
            self.item_shape = activations.shape[1:]
            self.masks = self._draw(self.item_shape)
        if activations.shape[1:] != self.item_shape:
            raise InputError(
                f"dropout layer {self.number} has masks for items of shape {list(self.item_shape)}, "
                f"found {list(activations.shape[1:])}: a posterior sample has one mask for all items"
            )
        self.masks = self.masks.to(activations)  # a move at most once: the masks stay on the last device
        mask = self.masks[self.sample]
        return activations.mul_(mask) if self.ordinary.inplace else activations * mask

    def _draw(self, item_shape: torch.Size) -> Tensor:
        # On the CPU, because a GPU would draw other masks. Each sample has its own seed, so that the first samples do
        # not depend on the number of samples.
        shape = item_shape if type(self.ordinary) is nn.Dropout else item_shape[:1] + (1,) * len(item_shape[1:])
        p = self.ordinary.p
        draw = partial(torch.rand, shape, dtype=torch.float32)  # other types would draw other masks
        kept = torch.stack([draw(generator=self._generator(k)) >= p for k in range(self.samples)]).float()
        return kept / (1 - p) if p < 1 else torch.zeros_like(kept)

    def _generator(self, sample: int) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.seed, self.number, sample))


def make_consistent(network: nn.Module) -> nn.Sequential:
    """A copy of the network, in a container, with each dropout layer replaced by a ``ConsistentDropout``.

    The container is needed because the network may itself be a dropout layer.

    Raises:
        InputError: the network cannot be copied, there is no dropout layer, or one that is not a plain mask.
    """
    with as_input_error("the network cannot be copied"):
        container = nn.Sequential(copy.deepcopy(network))
    replaced: dict[nn.Module, ConsistentDropout] = {}  # a layer that is used in two places remains one layer
    for name, module in list(container.named_modules(remove_duplicate=False)):
        if isinstance(module, _NOT_A_MASK) or (isinstance(module, _DROPOUT) and type(module) not in _DROPOUT):
            raise InputError(
                f"layer {name.partition('.')[2]} is a {type(module).__name__}, which does more than drop units; "
                f"use one of {', '.join(layer.__name__ for layer in _DROPOUT)}"
            )
        if isinstance(module, _DROPOUT):
            parent, _, child = name.rpartition(".")
            consistent = replaced.setdefault(module, ConsistentDropout(module, len(replaced)))
            setattr(container.get_submodule(parent), child, consistent)
    if not any(layer.ordinary.p > 0 for layer in replaced.values()):
        raise InputError(
            "the network has no dropout layer (nn.Dropout, ...) with p > 0: "
            "all posterior samples would be the same function, and every information score zero"
        )
    return container
