"""Which features a strategy compares items by, for comparisons: those of the pool are the encoder's."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

import tonsure as tn


@dataclass(frozen=True)
class OfEncoder(tn.Strategy):
    """A strategy that compares items by the features of the pool alone."""

    strategy: tn.Strategy

    @property
    def needs_features(self) -> bool:
        return self.strategy.needs_features

    @property
    def needs_predictions(self) -> bool:
        return self.strategy.needs_predictions

    @property
    def needs_labeled_predictions(self) -> bool:
        return self.strategy.needs_labeled_predictions

    @property
    def needs_held_out_predictions(self) -> bool:
        return self.strategy.needs_held_out_predictions

    @property
    def before_labels(self) -> tn.Strategy | None:
        first = self.strategy.before_labels
        return None if first is None else type(self)(first)

    def choose(self, state: tn.PoolState, k: int, generator: torch.Generator) -> tn.Selection:
        return self.strategy.choose(replace(state, last_layer_N_D=None), k, generator)


@dataclass(frozen=True)
class OfLastLayer(OfEncoder):
    """A strategy that compares items by the inputs of the model's last layer, though the pool has features."""

    uses_last_layer: ClassVar[bool] = True

    def choose(self, state: tn.PoolState, k: int, generator: torch.Generator) -> tn.Selection:
        return self.strategy.choose(state.of_last_layer(), k, generator)
