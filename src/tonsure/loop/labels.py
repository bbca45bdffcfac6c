"""Where labels come from."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from tonsure.errors import InputError
from tonsure.shapes import Rows

Oracle = Callable[[Rows], Int[Tensor, " n"]]
"""Asked for the labels of rows, in their order; whoever answers may take as long as people take."""


@dataclass(frozen=True, eq=False)
class KnownLabels:
    """Answers from labels that are known already, to simulate annotators: one label for each row of the pool."""

    labels_N: Int[Tensor, " N"]

    def __call__(self, rows: Rows) -> Int[Tensor, " n"]:
        return self.labels_N[rows]


def balanced_rows(labels_N: Int[Tensor, " N"], count: int, *, seed: int) -> Rows:
    """Rows to begin with: drawn at random, as many of each class as of any other, up to one.

    Raises:
        InputError: the pool holds fewer than ``count`` rows, or too few of some class.
    """
    if not 1 <= count <= len(labels_N):
        raise InputError(f"{count} first labels were asked for, of a pool of {len(labels_N)}")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels_N), generator=generator)
    # The j-th row of its class goes into the j-th helping, and every helping is in random order.
    helping = torch.empty_like(order)
    for label in labels_N.unique():
        of_class = (labels_N[order] == label).nonzero()[:, 0]
        helping[of_class] = torch.arange(len(of_class))
    return order[helping.sort(stable=True).indices[:count]]
