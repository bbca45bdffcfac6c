"""Targeted: an objective with target inputs, which are drawn from the pool in every round."""

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
    """select(log_probs_n_K_C, make(log_probs_T_K_C), k, optimizer=optimizer), with T rows drawn from the unlabeled ones

    For objectives that are constructed from predictions for target inputs, by the same posterior samples, for example
    ``Targeted(EPIG)``. Targets are drawn uniformly without replacement. Gains have the unit of the objective. Costs
    what a search for the objective costs.

    Args:
        make: from the predictions for the target rows, [T, K, C], to the objective.
        count: the number of target rows, T; all unlabeled rows if there are fewer.
        optimizer: None is the one that suits the objective.

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
