"""Pointwise: every item is worth its score, whatever else is chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from tonsure.objective import Gains, Objective
from tonsure.scores import OF_DISAGREEMENT, bald


class ScoreNotes(NamedTuple):
    score_n: Tensor


@dataclass(frozen=True, repr=False)
class Pointwise(Objective[None, ScoreNotes]):
    """f(S) = Σ_{i∈S} score(x_i): top-k selection, blind to redundancy.

    Args:
        score: a function of ``log_probs_n_K_C`` that gives [n] numbers; those of ``tonsure.scores`` or your own.
    """

    score: Callable[[Tensor], Tensor] = bald
    gains: ClassVar[Gains] = Gains.FIXED

    def __repr__(self) -> str:
        return f"Pointwise({getattr(self.score, '__name__', self.score)})"

    @property
    def samples_needed(self) -> int:
        return 2 if self.score in OF_DISAGREEMENT else 1

    def first_notes(self, items: Tensor) -> ScoreNotes:
        return ScoreNotes(self.score(items).double())

    def gain(self, state: None, notes: ScoreNotes, items: Tensor) -> Tensor:
        return notes.score_n
