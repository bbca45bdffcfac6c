"""Pointwise: the gain of an item is its score, independent of the batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from tonsure.arguments import score_function, setting
from tonsure.objectives.base import NoNotes, Objective, Structure
from tonsure.scores import OF_DISAGREEMENT, bald, score_of


class ScoreNotes(NamedTuple):
    score_n: Tensor


@dataclass(frozen=True, repr=False)
class Pointwise(Objective[None, ScoreNotes]):
    """f(S) = Σ_{i∈S} score(x_i): top-k selection, without regard to redundancy.

    Gains have the unit of the score. Costs one pass over the pool.

    Args:
        score: a function of ``log_probs_n_K_C`` that gives [n] numbers; one of ``tonsure.scores``, or any other.

    Raises:
        InputError: the score is no function.
    """

    score: Callable[[Tensor], Tensor] = setting(score_function, bald)
    structure: ClassVar[Structure] = Structure.MODULAR
    prepares: ClassVar[bool] = False
    uses_state: ClassVar[bool] = False
    updates_notes: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"Pointwise({getattr(self.score, '__name__', self.score)})"

    @property
    def samples_needed(self) -> int:
        return 2 if self.score in OF_DISAGREEMENT else 1

    def init_notes(self, items: Tensor) -> ScoreNotes:
        return ScoreNotes(score_of(self.score, items).double())

    def gain(self, state: None, notes: ScoreNotes, items: Tensor) -> Tensor:
        return notes.score_n


@dataclass(frozen=True)
class GivenScores(Objective[None, NoNotes]):
    """f(S) = Σ_{i∈S} s_i for items [n, 1] that are scores: ``Pointwise`` without predictions."""

    structure: ClassVar[Structure] = Structure.MODULAR
    prepares: ClassVar[bool] = False
    uses_state: ClassVar[bool] = False
    updates_notes: ClassVar[bool] = False

    def gain(self, state: None, notes: NoNotes, items: Tensor) -> Tensor:
        return items[:, 0].double()
