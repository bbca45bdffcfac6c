"""Targeted: an objective with target inputs, which are drawn from the pool in every round."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.arguments import instance, optional, refusal, setting, whole
from tonsure.errors import InputError, TonsureError
from tonsure.objectives.base import Objective
from tonsure.optimizers import Optimizer
from tonsure.predictions.reader import PoolReader
from tonsure.search.plan import plan
from tonsure.selection import Selection, warn_of_saturation
from tonsure.strategies.base import PoolState, Strategy, samples_and_classes
from tonsure.strategies.memory import SINGLE
from tonsure.surroundings import selecting


def _maker(name: str, given: object) -> Any:
    if not callable(given):
        raise refusal(name, given, "what makes an objective of predictions for the targets, such as EPIG")
    return given


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
        InputError: a setting is out of range, or ``make`` cannot be called; in ``choose``, it fails or makes something
            else than an objective.
    """

    make: Callable[[Tensor], Objective[Any, Any]] = setting(_maker)
    count: int = setting(whole(1), 500)
    optimizer: Optimizer | None = setting(optional(instance(Optimizer, "TopK()")), None)
    needs_predictions: ClassVar[bool] = True
    uses_backend: ClassVar[bool] = True

    def __repr__(self) -> str:
        by = "" if self.optimizer is None else f", optimizer={self.optimizer}"
        return f"Targeted({getattr(self.make, '__name__', self.make)}, count={self.count}{by})"

    def choose(self, state: PoolState, k: int, generator: torch.Generator) -> Selection:
        """Raises as ``select``."""
        with selecting():
            state.check_count(k)
            reader = state.prediction_reader()
            objective = self._made(reader.stored(torch.randperm(len(reader), generator=generator)[: self.count]))
            seed = int(torch.randint(2**31, (), generator=generator))
            if state.memory is not None:
                state = replace(state, memory=state.memory - self._of_targets(reader))
            selection = state.search(objective, k, self.optimizer, seed=seed)
            warn_of_saturation(selection, objective, reader.stored(torch.zeros(1, dtype=torch.int64)), stacklevel=3)
            return selection

    def memory_needed(self, state: PoolState, k: int) -> int:
        reader = state.prediction_reader()
        objective = self._made(reader.stored(torch.arange(min(self.count, len(reader)))))
        return self._of_targets(reader) + plan(reader, objective, k).least

    def _made(self, log_probs_T_K_C: Float[Tensor, "T K C"]) -> Objective[Any, Any]:
        try:
            objective = self.make(log_probs_T_K_C)
        except TonsureError:
            raise
        except Exception as error:  # whatever the function raises
            raise InputError(f"{self}: make failed with {type(error).__name__}: {error}") from error
        if not isinstance(objective, Objective):
            raise refusal(f"{self}: what make gave", objective, "an objective")
        return objective

    def _of_targets(self, reader: PoolReader) -> int:
        """Bytes of the predictions for the targets, in the order drawn, and as they are read; and of their check."""
        K, C = samples_and_classes(reader)
        return 3 * min(self.count, len(reader)) * K * C * max(reader.dtype.itemsize, SINGLE)
