"""Searched: an objective and its optimizer, seen as a strategy."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from tonsure.objective import Objective
from tonsure.optimizers import Optimizer
from tonsure.select import Selection, select
from tonsure.strategies.strategy import Strategy, View


@dataclass(frozen=True)
class Searched(Strategy):
    """``select(log_probs_n_K_C, objective, k, by=by)``, with the seed that the generator began with."""

    objective: Objective[Any, Any]
    by: Optimizer | None = None
    needs_predictions: ClassVar[bool] = True

    def choose(self, view: View, k: int, generator: torch.Generator) -> Selection:
        return search(view, self.objective, k, self.by, seed=generator.initial_seed())


def search(view: View, objective: Objective[Any, Any], k: int, by: Optimizer | None, *, seed: int) -> Selection:
    """``select`` among the unlabeled rows; the rows chosen are rows of the pool.

    Raises:
        InputError: predictions are not there, or as ``select``.
    """
    found = select(view.predictions(), objective, k, by=by, seed=seed)
    return Selection(view.unlabeled_rows[found.rows], found.gains, found.standard_error)
