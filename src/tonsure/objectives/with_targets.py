"""The base class of objectives that compare items with target inputs."""

from dataclasses import dataclass
from typing import Generic

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.arguments import setting
from tonsure.errors import InputError
from tonsure.objectives.base import Notes, Objective, State
from tonsure.objectives.gram import matrix_bytes
from tonsure.predictions.arrays import as_tensor
from tonsure.predictions.checks import check_log_probs


def _targets(name: str, given: object) -> Tensor:
    tensor = as_tensor(given, "targets")
    check_log_probs([tensor])
    return tensor


@dataclass(frozen=True, eq=False, repr=False)
class WithTargets(Objective[State, Notes], Generic[State, Notes]):
    """Holds predictions for target inputs, by the same K posterior samples as those of the pool.

    Args:
        log_probs_T_K_C: log p(y = c | x_t, θ_k) in nats, [T, K, C], for inputs like those that the model will meet, for
            example some hundred rows of the pool, drawn at random.

    Raises:
        InputError: these are no log-probabilities; or, in a selection, the pool has another K.
    """

    log_probs_T_K_C: Float[Tensor, "T K C"] = setting(_targets, repr=False)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return torch.equal(self.log_probs_T_K_C, other.log_probs_T_K_C)

    def __hash__(self) -> int:
        return hash((type(self), self.log_probs_T_K_C.shape))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.log_probs_T_K_C)} targets)"

    @property
    def samples_needed(self) -> int:
        return 2

    def working_bytes(self, like: Tensor, k: int) -> int:
        """Of the targets in float64, of what is made of them, as the allocator holds it, and of [K, K] matrices."""
        return 10 * 8 * self.log_probs_T_K_C.numel() + matrix_bytes(like)

    def targets_like(self, items: Tensor) -> Float[Tensor, "T K C"]:
        """The targets, in float64, on the device of the items; raises InputError if K differs."""
        K = items.shape[1]
        if self.log_probs_T_K_C.shape[1] != K:
            raise InputError(
                f"{self}: the targets have shape {tuple(self.log_probs_T_K_C.shape)}, by "
                f"{self.log_probs_T_K_C.shape[1]} posterior samples; the items are predicted by K = {K}. Both must be "
                "by the same samples, in the same order"
            )
        return self.log_probs_T_K_C.to(items.device, torch.float64)
