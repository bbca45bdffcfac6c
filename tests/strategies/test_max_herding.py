"""MaxHerding: coverage of the whole pool by a kernel of one width."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import tonsure as tn
from pool_states import choose, greedy_cover, random_state, state_of

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


@pytest.mark.parametrize(("N", "m", "D", "sigma"), [(60, 7, 3, 1.0), (60, 0, 5, 1.0), (60, 20, 8, 0.3), (9, 1, 2, 2.0)])
@pytest.mark.parametrize("some", [False, True])
def test_it_is_greedy_in_what_the_docstring_says(N, m, D, sigma, some):
    state = random_state(N, m, D, seed=N + m)
    if some:
        state = replace(state, candidate_rows=state.unlabeled_rows[::2])
    k = len(state.choosable_rows) // 2
    found = choose(tn.MaxHerding(sigma), state, k)
    rows, gains = greedy_cover(state, k, sigma**2, np.ones(N))
    assert found.rows.tolist() == rows
    assert found.gains.tolist() == pytest.approx(gains, abs=1e-5)


@pytest.mark.parametrize(
    ("labeled", "expected"),
    [
        ([3, 11], [35, 19, 16, 6, 14, 31, 9, 25, 8, 30, 15, 10]),
        ([], [9, 19, 16, 31, 14, 11, 39, 6, 25, 8, 30, 15]),
    ],
)
def test_the_rows_of_another_library(labeled, expected):
    """Recorded from MaxHerding(metric_dict={"gamma": 1.0}) of scikit-activeml 1.0.1."""
    rows, axes = np.arange(40)[:, None], np.arange(4)
    features = np.sin((rows + 1) * (axes + 1) * 0.7) + 0.5 + (rows % 5 == 0) * (axes == 1)
    assert tn.select(features=features, method="max-herding", k=12, labeled=labeled).rows.tolist() == expected


def test_lengths_have_no_influence_and_the_mean_has():
    state = random_state(50, 5, D=4)
    length_N_1 = 2.0 ** torch.arange(50)[:, None].remainder(7)
    expected = choose(tn.MaxHerding(), state, 12).rows.tolist()
    for features, same in ((state.features() * length_N_1, True), (state.features() + 3, False)):
        found = choose(tn.MaxHerding(), replace(state, features_N_D=features), 12)
        assert (found.rows.tolist() == expected) == same


def test_copies_are_covered_and_the_lowest_of_them_is_chosen():
    angles = torch.tensor([0.0, 0.0, 2.0, 2.0, 4.0, 4.0, 4.0])
    state = state_of(torch.stack([angles.cos(), angles.sin()], 1), [3])
    found = choose(tn.MaxHerding(), state, 6)
    assert found.rows[:2].tolist() == [4, 0]
    assert found.gains[2:].tolist() == [0.0] * 4  # nothing is left, and the rest is drawn


def test_all_rows_are_looked_at_unless_most_says_fewer():
    state = random_state(300, 4)
    assert tn.MaxHerding()._plan(state, 2).targets == 296
    assert tn.MaxHerding(most=50)._plan(state, 2).targets == 50
    assert len(set(choose(tn.MaxHerding(most=50), state, 30).rows.tolist())) == 30


@pytest.mark.parametrize(
    ("name", "number"), [("sigma", 0.0), ("sigma", -1.0), ("sigma", math.inf), ("sigma", math.nan), ("most", 0)]
)
def test_numbers_out_of_range(name, number):
    with pytest.raises(tn.InputError, match=f"MaxHerding: {name} is {number}"):
        tn.MaxHerding(**{name: number})
