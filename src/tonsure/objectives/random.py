"""Random: the baseline that every acquisition function has to beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tonsure.objective import Gains, NoNotes, Objective


@dataclass(frozen=True)
class Random(Objective[None, NoNotes]):
    """f(S) = |S|: every item adds one, so that the optimizer's draw alone decides; by default a uniform one."""

    gains: ClassVar[Gains] = Gains.EQUAL

    def gain(self, state: None, notes: NoNotes, items: Tensor) -> Tensor:
        return torch.ones(len(items), dtype=torch.float64, device=items.device)
