"""Facility location by one kind of features where there are two, for comparisons."""

from dataclasses import dataclass
from typing import ClassVar

import torch

import tonsure as tn


@dataclass(frozen=True, repr=False)
class OfEncoder(tn.FacilityLocation):
    """By the features of the pool alone."""

    uses_last_layer: ClassVar[bool] = False


@dataclass(frozen=True, repr=False)
class OfLastLayer(tn.FacilityLocation):
    """By the inputs of the model's last layer alone."""

    def choose(self, state: tn.PoolState, k: int, generator: torch.Generator) -> tn.Selection:
        return super().choose(state.of_last_layer(), k, generator)
