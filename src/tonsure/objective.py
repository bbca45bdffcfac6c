"""Objective: what an acquisition function is."""

from abc import ABC, abstractmethod
from enum import Enum
from typing import ClassVar, Generic, NamedTuple, TypeVar

from torch import Tensor


class Gains(Enum):
    """How the gain of an item moves while the batch grows: what an optimizer may rely on."""

    EQUAL = "all items gain the same, so that only a draw can tell them apart"
    FIXED = "an item gains the same whatever has been chosen"
    FALLING = "a gain never rises, so that one of long ago is an upper bound"
    FREE = "a gain may fall and rise"


class NoNotes(NamedTuple):
    """The notes of an objective that remembers nothing of its candidates."""


State = TypeVar("State")
Notes = TypeVar("Notes", bound=tuple[Tensor, ...])


class Objective(ABC, Generic[State, Notes]):
    """An immutable set function of items, given by what one more item adds: f(S + x) − f(S).

    It sees items, never indices: whoever runs it may cut the pool into blocks, leave it on disk, or keep it on
    several machines. What it must remember goes in two places: ``state`` sums up the chosen set, and ``notes``,
    a NamedTuple of tensors, holds one row per candidate. No method changes what it is given.

    Items are ``log_probs_n_K_C``: float32 or float64, every row over C a distribution, −inf an impossible class; or
    what ``prepare`` makes of them, if it is worth making once. Rows are compared in float32 first, and those that
    may win in float64, so that the same rows win however the pool is cut.
    To write one: a frozen dataclass with ``gain`` and as much of the rest as it needs, in one file;
    ``tonsure.testing.check_objective(mine, items)`` checks that it keeps the contract.
    """

    gains: ClassVar[Gains] = Gains.FREE
    """What is promised of its gains; without a promise every gain is computed anew at every step."""

    block: ClassVar[int | None] = None
    """None: the pool may be cut anywhere. A number: notes are made for blocks of so many rows, in pool order,
    because (as in the released code of the LBB paper) they depend on the company."""

    rounding: ClassVar[float] = 1e-5
    """What float32 does to a gain at most, in its unit or relative to it, for every chosen item and one more."""

    @property
    def samples_needed(self) -> int:
        """The fewest posterior samples K that it makes sense with."""
        return 1

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        """The items as all other methods want them, one row each; kept in memory where there is room."""
        return log_probs_n_K_C

    def coarse(self, log_probs_n_K_C: Tensor) -> Tensor:
        """Cheaper items, with fewer classes, whose gains fall no faster than those of these items.

        For objectives whose gains fall: lazy search looks at these first, and leaves behind what cannot win.
        """
        return log_probs_n_K_C

    def first_state(self, like: Tensor) -> State:
        """The sum-up of the empty set, for items like these."""
        return None  # type: ignore[return-value]  # the state of an objective that has none

    def next_state(self, state: State, chosen_1: Tensor) -> State:
        """The sum-up once one more item, of shape [1, ...], has joined."""
        return state

    def first_notes(self, items: Tensor) -> Notes:
        """One row per candidate, before anything is chosen."""
        return NoNotes()  # type: ignore[return-value]  # the notes of an objective that has none

    def next_notes(self, notes: Notes, items: Tensor, chosen_m: Tensor) -> Notes:
        """The notes brought up to date with m chosen items at once, those that joined since they were last."""
        return notes

    @abstractmethod
    def gain(self, state: State, notes: Notes, items: Tensor) -> Tensor:
        """What each item would add, [n]; in nats where the objective is an information."""

    def ceiling(self, like: Tensor) -> float:
        """The most that any set of such items can be worth."""
        return float("inf")

    def standard_error(self, state: State) -> float:
        """The sampling error of the worth of the chosen set, in its unit; zero where nothing is sampled."""
        return 0.0
