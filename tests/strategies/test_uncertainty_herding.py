"""UncertaintyHerding: coverage of calibrated uncertainty, with a width that shrinks as labels come in."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

import tonsure as tn
from pool_states import choose, greedy_cover, random_state, state_of
from tonsure.predictions import reader
from tonsure.strategies import coverage, uncertainty_herding
from tonsure.strategies.sphere import Features, Sphere

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


def worth(state, temperature):
    """u of all rows, in NumPy."""
    probs = state.predictions().double().exp().mean(dim=1).numpy() ** (1 / temperature)
    top = np.sort(probs / probs.sum(axis=1, keepdims=True), axis=1)
    weight_N = np.zeros(len(state))
    weight_N[state.unlabeled_rows] = 1 - (top[:, -1] - top[:, -2])
    return weight_N


def shortest(state):
    """The smallest positive distance between the directions of labeled rows."""
    labeled = [(row / row.norm()).tolist() for row in state.features().double()[state.labeled_rows]]
    return min(distance for one, other in combinations(labeled, 2) if (distance := math.dist(one, other)) > 1e-9)


def calibration(probs, labels):
    """The expected calibration error of 15 bins, bin by bin."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    bins = np.digitize(confidence, np.arange(1, 15) / 15, right=True)
    parts = [(bins == one) for one in range(15)]
    return sum(abs(right[part].mean() - confidence[part].mean()) * part.mean() for part in parts if part.any())


@pytest.mark.parametrize(("N", "m", "D"), [(60, 2, 3), (60, 9, 3), (80, 30, 6), (12, 3, 2)])
@pytest.mark.parametrize("temperature", [1.0, 4.5])
@pytest.mark.parametrize("some", [False, True])
def test_it_is_greedy_in_what_the_docstring_says(N, m, D, temperature, some):
    state = random_state(N, m, D, seed=N + m)
    if some:
        state = replace(state, candidate_rows=state.unlabeled_rows[::2])
    k = len(state.choosable_rows) // 2
    found = choose(tn.UncertaintyHerding(temperature), state, k)
    rows, gains = greedy_cover(state, k, shortest(state) ** 2, worth(state, temperature))
    assert found.rows.tolist() == rows
    assert found.gains.tolist() == pytest.approx(gains, rel=1e-4)


def test_the_temperature_is_that_of_the_held_out_labels():
    """It is as if it had been given, and other labels give another."""
    state, found = random_state(60, 20, labels=[0, 1] * 10, seed=3), []
    for labels in ([0, 1] * 10, [1, 2] * 10):
        state = replace(state, labels_m=torch.tensor(labels))
        probs = state.held_out_log_probs_n_K_C.double().exp().mean(dim=1).numpy()
        of_row = dict(zip(state.labeled_rows.tolist(), labels, strict=True))
        known = np.array([of_row[row] for row in state.held_out_rows.tolist()])
        errors = []
        for tenth in range(10, 200):
            flat = probs ** (10 / tenth)
            errors.append(calibration(flat / flat.sum(axis=1, keepdims=True), known))
        temperature = (10 + int(np.argmin(np.round(errors, 9)))) / 10
        expected = choose(tn.UncertaintyHerding(temperature), state, 15)
        assert torch.equal(choose(tn.UncertaintyHerding(), state, 15).gains, expected.gains)
        found.append(temperature)
    assert len(set(found)) == 2
    assert max(found) > 1


def test_the_temperature_of_predictions_that_are_too_sure():
    generator = torch.Generator().manual_seed(0)
    probs = (2 * torch.randn(4000, 3, generator=generator, dtype=torch.float64)).softmax(1)
    labels = probs.multinomial(1, generator=generator)[:, 0]
    for sharper in (1, 2, 5):
        sure = probs**sharper
        found = uncertainty_herding.best_temperature(sure / sure.sum(1, keepdim=True), labels)
        assert found == pytest.approx(sharper, rel=0.1)


def test_the_lowest_temperature_of_those_that_tie():
    right = torch.eye(3, dtype=torch.float64)
    assert uncertainty_herding.best_temperature(right, torch.tensor([0, 1, 2])) == 1.0
    assert uncertainty_herding.best_temperature(right, torch.tensor([1, 2, 7])) == 1.0  # a class it does not know
    assert uncertainty_herding.best_temperature(right[:0], torch.zeros(0, dtype=torch.int64)) == 1.0


def test_before_any_label_it_is_max_herding():
    state = random_state(50, 0, D=4)
    bare = replace(state, log_probs_n_K_C=None, held_out_rows=None, held_out_log_probs_n_K_C=None)
    expected = choose(tn.MaxHerding(), state, 12)
    for seen in (state, bare):
        found = choose(tn.UncertaintyHerding(), seen, 12)
        assert torch.equal(found.rows, expected.rows)
        assert torch.equal(found.gains, expected.gains)


@pytest.mark.parametrize("labeled", [[4], [4, 7, 9]])
def test_without_two_different_labeled_rows_the_width_is_one(labeled):
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    features[labeled] = features[4] * torch.tensor([1.0, 3.7, 0.1])[: len(labeled), None]  # one direction
    state = state_of(features, labeled)
    rows, _ = greedy_cover(state, 8, 1.0, worth(state, 2.0))
    assert choose(tn.UncertaintyHerding(2.0), state, 8).rows.tolist() == rows


def test_the_width_in_blocks_and_of_copies(monkeypatch):
    state = random_state(120, 50, D=5)
    features = state.features().clone()
    features[state.labeled_rows[::2]] = features[state.labeled_rows[1::2]]
    state = replace(state, features_N_D=features)
    sphere = Sphere([Features.of(state.feature_reader(), None, torch.Generator())])
    for block, read in ((64, 4096), (7, 11), (25, 25)):
        monkeypatch.setattr(coverage, "BLOCK", block)
        monkeypatch.setattr(reader, "ROWS", read)
        found = coverage.between_labeled(sphere, state.labeled_rows, state.unlabeled_rows, 5, torch.Generator())
        assert found == pytest.approx(shortest(state) ** 2, rel=1e-9)


def test_predictions_of_labeled_rows_stand_in_where_there_is_no_model(make_log_probs):
    log_probs, features = make_log_probs(60, C=4, dtype=torch.float32).cpu(), random_state(60).features()
    labeled, labels = torch.arange(40, 4, -3), torch.arange(12) % 4
    given = {"features": features, "labeled": labeled, "labels": labels}
    found = tn.select(log_probs, "uncertainty-herding", 9, **given)
    other = tn.select(log_probs, "uncertainty-herding", 9, **given | {"labels": labels.roll(1)})
    assert not torch.equal(found.gains, other.gains)
    unlabeled = torch.tensor([row for row in range(60) if row not in labeled.tolist()])
    state = tn.PoolState(
        labeled,
        labels,
        unlabeled,
        features,
        log_probs[unlabeled],
        held_out_rows=labeled.flip(0),
        held_out_log_probs_n_K_C=log_probs[labeled.flip(0)],
    )
    assert torch.equal(choose(tn.UncertaintyHerding(), state, 9).gains, found.gains)
    again = tn.select(
        log_probs, "uncertainty-herding", 9, **given | {"labeled": labeled.flip(0), "labels": labels.flip(0)}
    )
    assert torch.equal(again.gains, found.gains)


def test_a_temperature_that_is_given_needs_no_labels(make_log_probs):
    log_probs, features = make_log_probs(40), random_state(40).features()
    fixed = tn.UncertaintyHerding(temperature=2.0)
    found = tn.select(log_probs, fixed, 5, features=features, labeled=[3, 4])
    log_probs[3:5] = log_probs[:2]
    assert torch.equal(tn.select(log_probs, fixed, 5, features=features, labeled=[3, 4]).rows, found.rows)


def test_in_rounds_it_finds_its_temperature(monkeypatch):
    """The rows of a round are those of the state that the round makes."""

    class Model(tn.BayesianModel):
        samples, has_features = 1, True

        def fit(self, inputs, labels_n, *, seed=0):
            self.sure = float(len(labels_n))

        def members(self):
            yield lambda inputs: (self.sure * inputs[:, :3]).log_softmax(1)[:, None]

        def features(self, inputs):
            return inputs

    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    labels = (inputs[:, :3] + 0.8 * torch.randn(60, 3, generator=torch.Generator().manual_seed(1))).argmax(1)
    pool = tn.Pool(inputs, {row: int(labels[row]) for row in range(20)})
    found, of_temperature = [], uncertainty_herding.TemperedMargin
    monkeypatch.setattr(uncertainty_herding, "TemperedMargin", lambda one: found.append(one) or of_temperature(one))
    turn = next(tn.rounds(pool, Model(), "uncertainty-herding", 8, oracle=lambda rows: labels[rows], max_labels=60))
    rows = torch.arange(60)
    state = tn.PoolState(rows[:20], None, rows[20:], inputs, (20 * inputs[20:, :3]).log_softmax(1)[:, None])
    [temperature] = found
    assert temperature > 2
    assert choose(tn.UncertaintyHerding(temperature), state, 8).rows.tolist() == turn.rows
