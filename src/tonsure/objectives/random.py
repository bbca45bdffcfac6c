"""Random: the baseline of all methods."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tonsure.objectives.base import NoNotes, Objective, Structure


@dataclass(frozen=True)
class Random(Objective[None, NoNotes]):
    """f(S) = |S|: every item has the gain 1, so the draw of the optimizer decides; by default it is uniform.

    Needs no predictions.
    """

    needs_predictions: ClassVar[bool] = False
    structure: ClassVar[Structure] = Structure.CONSTANT
    prepares: ClassVar[bool] = False
    uses_state: ClassVar[bool] = False
    updates_notes: ClassVar[bool] = False

    def gain(self, state: None, notes: NoNotes, items: Tensor) -> Tensor:
        return torch.ones(len(items), dtype=torch.float64, device=items.device)
