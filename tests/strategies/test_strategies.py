"""Every strategy × what all of them promise."""

import dataclasses
import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import tonsure as tn
from cases import rest
from pool_states import choose, random_state, state_of
from tonsure.testing import check_strategy

STRATEGIES = [
    tn.CoreSet(),
    tn.LCMD(),
    tn.Novelty(),
    tn.FacilityLocation(),
    tn.FacilityLocation(tn.bald, radius=2.0, most=9),
    tn.MaxHerding(),
    tn.MaxHerding(sigma=0.2, most=9),
    tn.UncertaintyHerding(),
    tn.UncertaintyHerding(temperature=3.0, most=9),
    tn.PredictionCoverage(),
    tn.PredictionCoverage(tn.entropy, radius=0.5, most=9),
    tn.Novelty(tn.entropy, strength=8.0, beta=1.0),
    tn.BADGE(),
    tn.TypiClust(),
    tn.TypiClust(neighbors=3, max_clusters=5),
    tn.ProbCover(),
    tn.ProbCover(delta=0.5),
    tn.WeightedKMeans(),
    tn.WeightedKMeans(tn.bald, beta=2),
    tn.BAIT(),
    tn.BAIT(binary=True, prior=0.1),
    tn.BAIT(oversampling=1.0),
    tn.BAIT(likeliest=2),
    tn.DropQuery(),
    tn.DropQuery(share=0.0),
    tn.StratifiedPower(),
    tn.StratifiedPower(tn.margin, beta=4.0),
    tn.DIRECT(),
    tn.DIRECT(search=1.0),
    tn.Targeted(tn.EPIG),
    tn.Targeted(tn.EPIG, count=5, optimizer=tn.PowerSample()),
    tn.Refine([tn.margin, tn.BADGE()], rounds=2, batches=2),
    tn.Refine([(tn.bald, tn.PowerSample()), tn.BAIT(binary=True)], rounds=1, batches=1, share=0.9, last=tn.CoreSet()),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_the_contract(strategy):
    check_strategy(strategy, random_state())


ORDINARY = [rest(strategy) if isinstance(strategy, tn.Refine) else strategy for strategy in STRATEGIES]
"""Without those that only run others."""


@pytest.mark.parametrize("strategy", ORDINARY, ids=str)
def test_copies_of_one_item(strategy):
    """Nothing tells the rows of the pool apart."""
    uniform = torch.full((20, 4, 3), 1 / 3).log()
    check_strategy(strategy, state_of(torch.ones(20, 2), [3, 8], log_probs_N_K_C=uniform))
    check_strategy(strategy, state_of(torch.zeros(20, 2), [3, 8], log_probs_N_K_C=uniform))


@pytest.mark.parametrize("strategy", ORDINARY, ids=str)
def test_certain_predictions(strategy):
    certain = torch.full((20, 4, 3), -torch.inf)
    certain[..., 1] = 0
    check_strategy(strategy, random_state(20, 3, log_probs_N_K_C=certain))


def test_the_table_names_every_strategy():
    final = {value for value in vars(tn).values() if isinstance(value, type) and issubclass(value, tn.Strategy)}
    assert {type(case) for case in STRATEGIES} == final - {tn.Strategy}


def test_seeds_differ():
    view = random_state()
    for strategy in (tn.BADGE(), tn.Novelty(), tn.Targeted(tn.EPIG, count=3), tn.StratifiedPower(), tn.DIRECT()):
        assert len({tuple(choose(strategy, view, 5, seed).rows.tolist()) for seed in range(5)}) > 1, strategy


def test_they_print_what_they_are():
    assert repr(tn.CoreSet()) == "CoreSet()"
    assert repr(tn.BAIT()) == "BAIT(prior=1.0, oversampling=2.0, binary=False)"
    assert repr(tn.BAIT(likeliest=3)) == "BAIT(prior=1.0, oversampling=2.0, binary=False, likeliest=3)"
    assert repr(tn.StratifiedPower(tn.margin, 3.0)) == "StratifiedPower(margin, beta=3.0)"
    assert repr(tn.Targeted(tn.EPIG)) == "Targeted(EPIG, count=500)"
    assert repr(tn.Targeted(tn.EPIG, 7, tn.TopK())) == "Targeted(EPIG, count=7, optimizer=TopK())"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tn.TypiClust(neighbors=0), "TypiClust: neighbors is 0, expected a whole number from 1"),
        (lambda: tn.TypiClust(max_clusters=0), "max_clusters is 0, expected a whole number from 1"),
        (lambda: tn.ProbCover(delta=0.0), "delta is 0.0, expected a finite number above 0 and at most 2"),
        (lambda: tn.ProbCover(delta=float("nan")), "delta is nan, expected a finite number above 0"),
        (lambda: tn.ProbCover(purity=1.1), "purity is 1.1, expected a finite number above 0 and at most 1"),
        (lambda: tn.ProbCover(classes=1), "classes is 1, expected a whole number from 2"),
        (lambda: tn.BAIT(prior=0.0), "prior is 0.0, expected a finite number above 0"),
        (lambda: tn.BAIT(likeliest=0), "likeliest is 0, expected a whole number from 1"),
        (lambda: tn.BAIT(binary=True, likeliest=2), "likeliest is 2, expected None with binary=True"),
        (lambda: tn.DropQuery(share=1.0), "share is 1.0, expected a finite number of at least 0 and below 1"),
        (lambda: tn.StratifiedPower(beta=-1.0), "beta is -1.0, expected a finite number of at least 0"),
        (lambda: tn.DIRECT(search=1.5), "DIRECT: search is 1.5, expected a finite number of at least 0 and at most 1"),
        (lambda: tn.BAIT(oversampling=0.5), "oversampling is 0.5, expected a finite number of at least 1"),
        (lambda: tn.Refine([]), r"methods is \[\], expected a list of methods, each a strategy, an objective, a score"),
        (lambda: tn.Refine("BADGE"), "methods is 'BADGE', expected a list of methods"),
        (
            lambda: tn.Refine([tn.bald, tn.TopK()]),
            r"Refine: methods\[1\] is TopK\(\), expected a strategy, an objective",
        ),
        (lambda: tn.Refine([tn.BADGE]), r"methods\[0\] is the class BADGE, expected"),
        (lambda: tn.Refine([(tn.BADGE(), tn.TopK())]), r"methods\[0\] is \(BADGE\(\), TopK\(\)\), expected"),
        (lambda: tn.Refine(last=None), "Refine: last is None, expected a strategy"),
        (lambda: tn.Refine(rounds=0), "rounds is 0, expected a whole number from 1"),
        (lambda: tn.Refine(batches=0), "batches is 0, expected a whole number from 1"),
        (lambda: tn.Refine(share=0.0), "share is 0.0, expected a finite number above 0 and at most 1"),
        (lambda: tn.UncertaintyHerding(temperature=0.0), "UncertaintyHerding: temperature is 0.0, expected .* above 0"),
        (lambda: tn.UncertaintyHerding(most=0), "UncertaintyHerding: most is 0, expected a whole number from 1"),
        (lambda: tn.WeightedKMeans(beta=0), "WeightedKMeans: beta is 0, expected a whole number from 1"),
        (lambda: tn.Targeted(tn.EPIG, count=0), "Targeted: count is 0, expected a whole number from 1"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(tn.InputError, match=message):
        make()


def changed(**changes):
    return dataclasses.replace(random_state(10, 3), **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features_N_D": torch.ones(9, 2)}, r"features_N_D has the shape \[9, 2\], expected 10 rows: 3 rows"),
        ({"features_N_D": torch.ones(10, 0)}, r"features are .* \[10, 0\], expected floating-point numbers"),
        (
            {"features_N_D": torch.eye(10).where(torch.eye(10) < 1, torch.nan)[[1, 1]].repeat(5, 1)},
            r"features are torch.float32 of shape \[10, 10\]; row 0 holds nan or infinity",
        ),
        ({"log_probs_n_K_C": torch.zeros(8, 1, 3)}, r"log_probs_n_K_C has the shape \[8, 1, 3\], expected 7 rows"),
        ({"labeled_log_probs_m_K_C": torch.zeros(2, 1, 3)}, "labeled_log_probs_m_K_C has .* expected 3 rows"),
        ({"held_out_rows": torch.tensor([2, 2])}, "held_out_rows holds 2 twice"),
        ({"held_out_rows": torch.tensor([10])}, "held_out_rows holds 10, expected numbers from 0 to 9"),
        ({"held_out_rows": None}, "belong together, but one of them is None"),
        (
            {"held_out_rows": torch.tensor([0, 1])},
            "there are 2 held_out_rows, but held_out_log_probs_n_K_C has another length",
        ),
        (
            {"held_out_log_probs_n_K_C": torch.zeros(1, 1, 3)},
            "row 0, sample 0 of the predictions .* is no distribution",
        ),
        ({"held_out_rows": random_state(10, 3).unlabeled_rows[:1]}, r"row \d is held out, but it is not labeled"),
        (
            {"unlabeled_rows": torch.arange(7)},
            "3 labeled and 7 unlabeled rows are not a pool: expected every row from 0 to 9",
        ),
    ],
)
def test_a_view_that_does_not_fit_is_refused(change, message):
    with pytest.raises(tn.InputError, match=message):
        changed(**change)


def test_a_row_of_features_that_is_nan_is_named():
    features = torch.ones(10, 2)
    features[7, 1] = torch.inf
    with pytest.raises(tn.InputError, match="row 7 holds nan or infinity"):
        changed(features_N_D=features)


def test_predictions_that_are_no_distributions_are_refused():
    with pytest.raises(tn.InputError, match=r"row 0, sample 0 of the predictions .* is no distribution"):
        changed(log_probs_n_K_C=torch.zeros(7, 2, 3))


@pytest.mark.parametrize(
    "strategy", [tn.TypiClust(), tn.ProbCover(), tn.DropQuery(share=0.0), tn.WeightedKMeans()], ids=str
)
def test_a_missing_library_is_named(strategy, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.cluster", None)
    with pytest.raises(tn.errors.MissingExtraError, match=r"tonsure\[clusters\]"):
        choose(strategy, random_state(), 3)


def test_the_rest_without_a_gain_is_told():
    view = state_of([[0.0], [0.0], [1.0], [0.0], [1.0]], [0])
    with pytest.warns(tn.SelectionWarning, match=r"only 1 of the 3 rows have a positive gain under CoreSet\(\)"):
        choose(tn.CoreSet(), view, 3)


# What the contract catches.


@dataclass(frozen=True)
class Sound(tn.Strategy):
    """Rows in a random order."""

    needs_predictions: ClassVar[bool] = True

    def choose(self, view, k, generator):
        view.check_count(k)
        view.predictions()
        rows = view.choosable_rows
        drawn = torch.randperm(len(rows), generator=generator)[:k]
        return tn.Selection(rows[drawn], torch.ones(k).double())


class Positions(Sound):
    def choose(self, view, k, generator):
        found = super().choose(view, k, generator)
        return tn.Selection(torch.searchsorted(view.unlabeled_rows, found.rows), found.gains)


class Twice(Sound):
    def choose(self, view, k, generator):
        found = super().choose(view, k, generator)
        return tn.Selection(found.rows[torch.arange(k) // 2], found.gains)


class Fewer(Sound):
    def choose(self, view, k, generator):
        found = super().choose(view, k, generator)
        return tn.Selection(found.rows[: k - 1], found.gains[: k - 1])


class Global(Sound):
    def choose(self, view, k, generator):
        return super().choose(view, k, torch.Generator().manual_seed(int(torch.rand(()) * 1e6)))


class NumPys(Sound):
    def choose(self, view, k, generator):
        np.random.rand()
        return super().choose(view, k, generator)


class AnyCount(Sound):
    def choose(self, view, k, generator):
        return super().choose(view, max(1, k), generator)


class Undeclared(Sound):
    def choose(self, view, k, generator):
        return super().choose(view, k, generator if view.features_N_D is None else torch.Generator().manual_seed(9))


class Peeking(Sound):
    def choose(self, view, k, generator):
        return super().choose(view, k, generator if view.held_out_rows is None else torch.Generator().manual_seed(9))


class NotPeeking(Sound):
    needs_held_out_predictions = True


class Unasked(Sound):
    needs_predictions = True

    def choose(self, view, k, generator):
        return super().choose(changed_predictions(view), k, generator)


def changed_predictions(view):
    n = len(view.unlabeled_rows)
    return dataclasses.replace(view, log_probs_n_K_C=torch.zeros(n, 1, 2).log_softmax(-1))


class ChangesFeatures(Sound):
    needs_features = True

    def choose(self, view, k, generator):
        view.features().add_(1)
        return super().choose(view, k, generator)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Positions, "was chosen, which is none of the rows that may be chosen"),
        (Twice, "a row was chosen twice"),
        (Fewer, "0 rows with 0 gains were chosen, not 1"),
        (Global, "torch's global generator was used"),
        (NumPys, "NumPy's global generator was used"),
        (AnyCount, "k = 0 of 34 unlabeled rows is no InputError"),
        (Undeclared, "what is not needed has an influence"),
        (Peeking, "what is not needed has an influence"),
        (NotPeeking, "a state without held-out predictions is no InputError"),
        (Unasked, "a state without log_probs_n_K_C is no InputError"),
        (ChangesFeatures, "features_N_D was changed"),
    ],
)
def test_a_broken_strategy_is_caught(broken, message):
    check_strategy(Sound(), random_state())
    with pytest.raises(AssertionError, match=message):
        check_strategy(broken(), random_state())


def test_what_the_check_itself_needs():
    with pytest.raises(AssertionError, match="at least 12 unlabeled rows, got 7"):
        check_strategy(Sound(), random_state(10, 3))
    with pytest.raises(AssertionError, match="but features_N_D are None"):
        check_strategy(Sound(), dataclasses.replace(random_state(), features_N_D=None))
    without = dataclasses.replace(random_state(), held_out_rows=None, held_out_log_probs_n_K_C=None)
    check_strategy(Sound(), without)
    with pytest.raises(AssertionError, match="but held_out_log_probs_n_K_C, held_out_rows are None"):
        check_strategy(tn.UncertaintyHerding(), without)
    assert pickle.loads(pickle.dumps(Sound())) == Sound()
