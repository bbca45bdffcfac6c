"""Oracles, which give labels, and the initial labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import SupportsIndex

import torch
from jaxtyping import Int
from torch import Tensor

from tonsure.arguments import whole_number
from tonsure.models.examples import Labels, classes
from tonsure.predictions.open import numbers
from tonsure.shapes import Rows
from tonsure.surroundings import undisturbed

Oracle = Callable[[Rows], Labels]
"""Returns the labels of rows, in the same order. It may take as long as people need to answer."""


@dataclass(frozen=True, eq=False)
class KnownLabels:
    """Simulates annotators by labels that are known already, one for each row of the pool.

    Raises:
        InputError: the labels are no classes, or a row is asked for that has none.
    """

    labels_N: Labels

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels_N", classes("labels", self.labels_N))

    def __call__(self, rows: Rows) -> Int[Tensor, " n"]:
        assert isinstance(self.labels_N, Tensor)
        return self.labels_N[numbers("rows", rows, len(self.labels_N), empty=True, repeated=True)]


@undisturbed()
def balanced_rows(labels_N: Labels, count: SupportsIndex, *, seed: SupportsIndex) -> Rows:
    """Random rows for the initial labels, with class counts that differ by at most one.

    Raises:
        InputError: the labels are no classes, or the pool holds fewer than ``count`` rows.
    """
    labels_N = classes("labels", labels_N)
    count = whole_number("count", count, 0, len(labels_N), ", the size of the pool")
    generator = torch.Generator().manual_seed(whole_number("seed", seed, 0))
    order = torch.randperm(len(labels_N), generator=generator)
    # The j-th row of its class goes into the j-th helping, and every helping is in random order.
    helping = torch.empty_like(order)
    for label in labels_N.unique():
        of_class = (labels_N[order] == label).nonzero()[:, 0]
        helping[of_class] = torch.arange(len(of_class))
    return order[helping.sort(stable=True).indices[:count]]
