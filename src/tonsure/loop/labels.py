"""Oracles, which give labels, and the initial labels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from tonsure.errors import InputError
from tonsure.shapes import Rows

Oracle = Callable[[Rows], Int[Tensor, " n"]]
"""Returns the labels of rows, in the same order. It may take as long as people need to answer."""


@dataclass(frozen=True, eq=False)
class KnownLabels:
    """Simulates annotators by labels that are known already, one for each row of the pool."""

    labels_N: Int[Tensor, " N"]

    def __call__(self, rows: Rows) -> Int[Tensor, " n"]:
        return self.labels_N[rows]


def balanced_rows(labels_N: Int[Tensor, " N"], count: int, *, seed: int) -> Rows:
    """Random rows for the initial labels, with class counts that differ by at most one.

    Raises:
        InputError: the pool holds fewer than ``count`` rows, or too few of some class.
    """
    if not 1 <= count <= len(labels_N):
        raise InputError(f"count is {count}, expected 1 to {len(labels_N)}, the size of the pool")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels_N), generator=generator)
    # The j-th row of its class goes into the j-th helping, and every helping is in random order.
    helping = torch.empty_like(order)
    for label in labels_N.unique():
        of_class = (labels_N[order] == label).nonzero()[:, 0]
        helping[of_class] = torch.arange(len(of_class))
    return order[helping.sort(stable=True).indices[:count]]
