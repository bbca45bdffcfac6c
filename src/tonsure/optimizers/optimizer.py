"""Optimizer: the abstract class of searches for a batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from tonsure.arguments import Settings
from tonsure.search.space import SearchSpace

MOST = 1e300
"""The largest beta."""


class Optimizer(Settings, ABC):
    """A search for a batch with a large value. Subclasses are frozen dataclasses, whose repr states all settings."""

    nested: ClassVar[bool] = True
    """Whether, with the same seed, a smaller batch is the beginning of a larger one."""

    @abstractmethod
    def search(self, space: SearchSpace, k: int, generator: torch.Generator) -> Iterator[tuple[int, float]]:
        """Chooses k rows one after the other.

        Args:
            space: the rows of the pool, with their gains under the objective.
            k: the number of rows, at most ``len(space)``.
            generator: the source of all random numbers.

        Returns:
            Each row with its gain when it was chosen, in the order chosen.
        """


def power_key(gain_n: Float64[Tensor, " n"], noise_n: Float64[Tensor, " n"], beta: float) -> Float64[Tensor, " n"]:
    """β · log max(gain, 0) + noise: with Gumbel noise, the largest key is a draw ∝ gain^β."""
    # The logarithm of the minimum is finite, so that rows without a gain are ordered by their noise.
    return beta * gain_n.clamp_min(1e-30).log() + noise_n


def gumbel_noise(rows: int, generator: torch.Generator) -> Float64[Tensor, " N"]:
    """One draw g_i from the standard Gumbel distribution for every row.

    arg max_i (log w_i + g_i) is a draw with probabilities ∝ w_i, and the k largest are k draws without replacement
    (Gumbel 1954; Kool, van Hoof, Welling 2019, arXiv 1903.06059).
    """
    return -torch.empty(rows, dtype=torch.float64).exponential_(generator=generator).log()
