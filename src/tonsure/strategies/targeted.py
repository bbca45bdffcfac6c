"""Targeted: an objective that compares with target inputs, which are drawn anew in every round."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tonsure.errors import InputError
from tonsure.objectives.base import Objective
from tonsure.optimizers import Optimizer
from tonsure.selection import Selection, warn_of_saturation
from tonsure.strategies.base import PoolState, Strategy


@dataclass(frozen=True, repr=False)
class Targeted(Strategy):
    """select(log_probs_n_K_C, make(log_probs_T_K_C), k, optimizer=by),   T ⊂ n drawn uniformly from the unlabeled rows

    For objectives that are made of predictions for target inputs, by the same posterior samples: ``Targeted(EPIG)``.
    Gains are in the unit of the objective.

    Args:
        make: from the predictions for the target rows to the objective.
        count: how many target rows; all unlabeled ones where there are fewer.
        by: the optimizer; by default that of ``select``.

    Raises:
        InputError: ``count`` is below one.
    """

    make: Callable[[Tensor], Objective[Any, Any]]
    count: int = 500
    optimizer: Optimizer | None = None
    needs_predictions: ClassVar[bool] = True
    uses_backend: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"{self}: count must be at least 1")

    def __repr__(self) -> str:
        by = "" if self.optimizer is None else f", optimizer={self.optimizer}"
        return f"Targeted({getattr(self.make, '__name__', self.make)}, count={self.count}{by})"

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        """Raises as ``select``."""
        state.check_count(k)
        log_probs_n_K_C = state.predictions()
        targets = torch.randperm(len(log_probs_n_K_C), generator=generator)[: self.count]
        objective = self.make(log_probs_n_K_C[targets])
        seed = int(torch.randint(2**31, (), generator=generator))
        selection = state.search(objective, k, self.optimizer, seed=seed)
        warn_of_saturation(selection, objective, log_probs_n_K_C[:1], stacklevel=3)
        return selection
