"""Objective: the abstract class of acquisition functions that see predictions alone."""

from abc import ABC, abstractmethod
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from torch import Tensor

from tonsure.arguments import Settings


class Structure(Enum):
    """How the gain of an item changes while the batch grows. An optimizer may rely on it."""

    CONSTANT = "all items have the same gain, so that only a random draw can order them"
    MODULAR = "the gain of an item does not depend on the batch"
    SUBMODULAR = "the gain of an item never increases, so that an earlier gain is an upper bound"
    GENERAL = "a gain may decrease and increase"


class NoNotes(NamedTuple):
    """The notes of an objective that stores nothing per candidate."""


State = TypeVar("State")
Notes = TypeVar("Notes", bound=tuple[Tensor, ...])


class Objective(Settings, ABC, Generic[State, Notes]):
    """An immutable set function of items, defined by its gains f(S + x) − f(S).

    An objective sees items, never indices. The code that runs it may therefore split the pool into blocks, leave it on
    disk, or distribute it over several machines. What an objective must remember is in two places: ``state`` summarizes
    the chosen set, and ``notes``, a NamedTuple of tensors, holds one row per candidate. No method modifies its
    arguments.

    Items are ``log_probs_n_K_C``: float32 or float64, each row over C a distribution, −inf for an impossible class; or
    the output of ``prepare``. Gains are computed in float32 first, and in float64 for rows that may win, so that the
    same rows win however the pool is split.

    To write an objective: a frozen dataclass with ``gain``, and the other methods as needed, in one file. The class
    attributes and properties below declare what a search may rely on. They are read from the object, so a wrapper may
    forward them. ``tonsure.testing.check_objective(mine, items)`` checks the methods and the declarations.
    """

    @property
    def structure(self) -> Structure:
        """How gains change. With GENERAL all gains are computed at every step."""
        return Structure.GENERAL

    @property
    def rounding(self) -> float:
        """Upper bound on the error of a gain in float32, absolute or relative to the gain, per chosen item plus one."""
        return 1e-5

    @property
    def samples_needed(self) -> int:
        """The smallest number of posterior samples K for which the objective is defined."""
        return 1

    @property
    def needs_predictions(self) -> bool:
        """Whether its gains depend on the items at all."""
        return True

    @property
    def prepares(self) -> bool:
        """Whether ``prepare`` does work that is worth keeping in memory."""
        return True

    @property
    def uses_state(self) -> bool:
        """Whether ``update_state`` changes the state."""
        return True

    @property
    def updates_notes(self) -> bool:
        """Whether ``update_notes`` changes the notes."""
        return True

    def prepare(self, log_probs_n_K_C: Tensor) -> Tensor:
        """The items as all other methods take them, one row each; kept in memory if the budget allows."""
        return log_probs_n_K_C

    def coarse(self, log_probs_n_K_C: Tensor) -> Tensor:
        """Cheaper items with fewer classes, whose gains decrease no faster than those of the items themselves.

        For submodular objectives: lazy search evaluates coarse items first and discards rows that cannot win.
        """
        return log_probs_n_K_C

    def init_state(self, like: Tensor) -> State:
        """The state of the empty set, for items of the shape and type of ``like``."""
        return None  # type: ignore[return-value]  # the state of an objective that has none

    def update_state(self, state: State, chosen_1: Tensor) -> State:
        """The state after one more item, of shape [1, ...], has been chosen."""
        return state

    def init_notes(self, items: Tensor) -> Notes:
        """One row per candidate, before anything is chosen."""
        return NoNotes()  # type: ignore[return-value]  # the notes of an objective that has none

    def update_notes(self, notes: Notes, items: Tensor, chosen_m: Tensor) -> Notes:
        """The notes after m more items have been chosen, all of them at once."""
        return notes

    @abstractmethod
    def gain(self, state: State, notes: Notes, items: Tensor) -> Tensor:
        """f(S + x) − f(S) for each item, [n]; in nats where the objective is an information."""

    def ceiling(self, like: Tensor) -> float:
        """An upper bound on the value of any set of items of this shape."""
        return float("inf")

    def working_bytes(self, like: Tensor, k: int) -> int:
        """Bytes that one call takes at most beyond a few numbers for each of its items, for the memory plan.

        Args:
            like: log-probabilities of one item, [1, K, C].
            k: the number of items that are chosen.
        """
        return 0

    def standard_error(self, state: State) -> float:
        """The sampling error of the value of the chosen set, in its unit; zero where nothing is sampled."""
        return 0.0
