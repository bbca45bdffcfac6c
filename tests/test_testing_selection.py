"""The contracts catch what breaks them: each class here breaks one promise, and is refused for it."""

import importlib
import sys
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch

import tonsure as tn
from cases import OBJECTIVES
from tonsure.testing import check_objective, check_optimizer


class Column(NamedTuple):
    column_n: torch.Tensor


@dataclass(frozen=True)
class Sound(tn.Objective):
    """Diminishing: the first gain, less the similarity to what has been chosen."""

    structure = tn.Structure.SUBMODULAR

    def init_notes(self, items):
        return Column(tn.bald(items).double())

    def update_notes(self, notes, items, chosen_m):
        means_n, means_m = items.exp().mean(1), chosen_m.exp().mean(1)
        return Column(notes.column_n - (means_n @ means_m.T).double().sum(1))

    def gain(self, state, notes, items):
        return notes.column_n


class ChangesItems(Sound):
    def gain(self, state, notes, items):
        items[0] = items[1]
        return notes.column_n


class ChangesNotes(Sound):
    def update_notes(self, notes, items, chosen_m):
        notes.column_n.sub_(1)
        return notes


class PlainNotes(Sound):
    def init_notes(self, items):
        return (torch.zeros(len(items)),)


class ShortNotes(Sound):
    def init_notes(self, items):
        return Column(torch.zeros(len(items) - 1))


class LooksAtTheBlock(Sound):
    def init_notes(self, items):
        return Column(tn.bald(items).double() / len(items))


class LooksAtTheOrder(Sound):
    def init_notes(self, items):
        return Column(tn.bald(items).double() + torch.linspace(0, 1e-3, len(items)))


class OnlyTheLastOfABlock(Sound):
    def update_notes(self, notes, items, chosen_m):
        return super().update_notes(notes, items, chosen_m[-1:])


class Rises(Sound):
    def update_notes(self, notes, items, chosen_m):
        return Column(notes.column_n + 0.01 * len(chosen_m))


class MovesThoughFixed(Sound):
    structure = tn.Structure.MODULAR


class DiffersThoughEqual(tn.Objective):
    structure = tn.Structure.CONSTANT

    def gain(self, state, notes, items):
        return tn.bald(items).double()

    def __eq__(self, other):
        return isinstance(other, DiffersThoughEqual)

    __hash__ = None


class IsNan(Sound):
    def gain(self, state, notes, items):
        return notes.column_n.where(torch.arange(len(items)) != 3, torch.nan)


class PassesTheCeiling(Sound):
    def ceiling(self, like):
        return 0.1


class Rounds(Sound):
    def init_notes(self, items):
        return Column(tn.bald(items).double() + (0.01 if items.dtype == torch.float32 else 0.0))


class CoarseFallsFaster(tn.LargeBatchBALD):
    def coarse(self, log_probs_n_K_C):
        return (2 * log_probs_n_K_C).log_softmax(-1)


class ShortPrepare(Sound):
    def prepare(self, log_probs_n_K_C):
        return log_probs_n_K_C[1:]


class Unequal(Sound):
    def __eq__(self, other):
        return self is other

    __hash__ = None


BROKEN = {
    ChangesItems: "the items were changed",
    ChangesNotes: "update_notes changed the notes that it was given",
    PlainNotes: "the notes are a tuple, expected a NamedTuple",
    ShortNotes: "the notes' column_n has 23 rows for 24 items",
    LooksAtTheBlock: "gains of the pool, and in two blocks differ",
    LooksAtTheOrder: "gains of the pool, and (in two blocks|in reverse order) differ",
    OnlyTheLastOfABlock: "gains after 8 chosen items one by one, and at once differ",
    Rises: "structure is SUBMODULAR, but a gain increased by 0.01",
    MovesThoughFixed: "structure is MODULAR, but a gain changed by",
    DiffersThoughEqual: "structure is CONSTANT, but gains differ",
    IsNan: "the gain of item 3 is nan",
    PassesTheCeiling: "above the ceiling 0.1",
    Rounds: "float32 moves a gain by 0.01 after 0 chosen items, not by 1e-05",
    CoarseFallsFaster: "on coarse items a gain falls by .* more than on the items themselves",
    ShortPrepare: "prepare gave 23 rows for 24 items",
    Unequal: "not the same after pickling",
}


def test_a_sound_one_passes(make_log_probs):
    check_objective(Sound(), make_log_probs())


@pytest.mark.parametrize(("broken", "message"), BROKEN.items(), ids=lambda case: getattr(case, "__name__", ""))
def test_a_broken_objective_is_caught(make_log_probs, broken, message):
    with pytest.raises(AssertionError, match=message):
        check_objective(broken(), make_log_probs())


class Greedy(tn.Optimizer):
    """Sound, to be broken."""

    def search(self, space, k, generator):
        for _ in range(k):
            row = space.best()
            yield row, space.choose(row)


class SameRowTwice(Greedy):
    def search(self, space, k, generator):
        for row, gain in super().search(space, k, generator):
            yield row // 2, gain


class AnotherDrawEachTime(Greedy):
    def search(self, space, k, generator):
        space.rank_by(lambda gain_n, noise_n: gain_n + noise_n, torch.randn(len(space)).double())
        yield from super().search(space, k, generator)


class LooksAtTheSize(Greedy):
    def search(self, space, k, generator):
        noise = torch.arange(len(space)).double().roll(k)
        space.rank_by(lambda gain_n, noise_n: gain_n + noise_n, noise)
        yield from super().search(space, k, generator)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (SameRowTwice, "a row was chosen twice"),
        (AnotherDrawEachTime, "the same seed gave other rows"),
        (LooksAtTheSize, "a smaller batch is not the beginning of a larger one"),
    ],
)
def test_a_broken_optimizer_is_caught(make_log_probs, broken, message):
    check_optimizer(Greedy(), tn.LargeBatchBALD(), make_log_probs().float())
    with pytest.raises(AssertionError, match=message):
        check_optimizer(broken(), tn.LargeBatchBALD(), make_log_probs().float())


def test_lazy_greedy_is_caught_when_a_promise_is_broken(make_log_probs):
    """Structure that fall among the first items, and rise later: only the search over all of them shows it."""
    with pytest.raises(AssertionError, match=r"lazy greedy chose|but a gain increased"):
        check_objective(LateRise(), make_log_probs(400))


@dataclass(frozen=True)
class LateRise(tn.Objective):
    structure = tn.Structure.SUBMODULAR

    def init_state(self, like):
        return torch.zeros((), dtype=torch.float64)

    def update_state(self, state, chosen_1):
        return state + 1

    def gain(self, state, notes, items):
        share = tn.bald(items).double()
        return share if state < 150 else 10 - share


def test_the_table_names_every_objective():
    final = {value for value in vars(tn).values() if isinstance(value, type) and issubclass(value, tn.Objective)}
    assert {type(case) for case in OBJECTIVES} == final - {tn.Objective}


def test_inputs_say_what_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "tonsure.testing.inputs", raising=False)
    with pytest.raises(tn.MissingExtraError, match=r"tonsure\[testing\]"):
        importlib.import_module("tonsure.testing.inputs")
