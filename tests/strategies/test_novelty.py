import math

import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of


def left_by_hand(view, chosen, strength):
    """The share of every row that a ridge regression on the labeled and chosen rows leaves, matrices written out."""
    features = view.features_N_D.double()
    features = features - features.mean(0)
    features /= math.sqrt(sum(float(row @ row) for row in features) / len(features))
    total = torch.eye(features.shape[1], dtype=torch.float64)
    for row in [*view.labeled_rows.tolist(), *chosen]:
        total += strength * torch.outer(features[row], features[row])
    inverse = torch.linalg.inv(total)
    return [float(row @ inverse @ row / (row @ row)) for row in features]


@pytest.mark.parametrize("score", [tn.margin, tn.bald])
@pytest.mark.parametrize("strength", [1.0, 5.0])
def test_every_gain_is_the_score_times_what_labels_and_batch_leave(strength, score):
    view = random_state(40, 6, D=5)
    found = choose(tn.Novelty(score, strength, beta=3.0), view, 15)
    scores = dict(zip(view.unlabeled_rows.tolist(), score(view.predictions()).tolist(), strict=True))
    rows = found.rows.tolist()
    for t, (row, gain) in enumerate(zip(rows, found.gains.tolist(), strict=True)):
        assert gain == pytest.approx(scores[row] * left_by_hand(view, rows[:t], strength)[row], abs=1e-6)


def test_with_a_large_power_it_is_greedy():
    view = random_state(30, 4, D=4)
    rows = choose(tn.Novelty(beta=1e9), view, 8).rows.tolist()
    scores = dict(zip(view.unlabeled_rows.tolist(), tn.margin(view.predictions()).tolist(), strict=True))
    for t, row in enumerate(rows):
        left = left_by_hand(view, rows[:t], 1.0)
        gains = {other: scores[other] * left[other] for other in scores if other not in rows[:t]}
        assert gains[row] == pytest.approx(max(gains.values()), abs=1e-9)


@pytest.mark.usefixtures("annotations_unchecked")
def test_without_strength_it_is_power_sampling_of_the_score():
    """Two draws of four rows, against probabilities that are worked out by hand."""
    probs = torch.tensor([0.9, 0.7, 0.6, 0.55, 0.8])
    log_probs = torch.stack([probs, 1 - probs], 1).log()[:, None]
    view = state_of(torch.eye(5), [4], C=2, log_probs_N_K_C=log_probs)
    weights = tn.margin(view.predictions()).square().tolist()
    counts = dict.fromkeys(range(4), 0)
    for seed in range(800):
        counts[int(choose(tn.Novelty(strength=0.0, beta=2.0), view, 1, seed).rows)] += 1
    for row, weight in enumerate(weights):
        expected = weight / sum(weights)
        assert abs(counts[row] / 800 - expected) < 4.5 * math.sqrt(expected * (1 - expected) / 800)


def test_what_is_like_a_labeled_row_or_a_chosen_one_waits():
    """Ten copies of a labeled row, ten of another, and one row alone, all equally undecided."""
    features = torch.cat([torch.eye(3)[:1].expand(11, 3), torch.eye(3)[1:2].expand(10, 3), torch.eye(3)[2:]])
    view = state_of(features, [0], log_probs_N_K_C=torch.zeros(22, 2, 3).log_softmax(-1))
    rows = choose(tn.Novelty(strength=100.0, beta=1e6), view, 2).rows.tolist()
    assert min(rows) > 10  # nothing like the labeled row
    assert 21 in rows


def test_where_all_items_are_alike_nothing_is_a_gain():
    view = state_of(torch.ones(6, 2), [0])
    with pytest.warns(tn.SelectionWarning, match="only 0 of the 5 rows"):
        assert sorted(choose(tn.Novelty(), view, 5).rows.tolist()) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["strength", "beta"])
@pytest.mark.parametrize("number", [-1.0, math.nan, math.inf])
def test_settings_out_of_range_are_refused(name, number):
    with pytest.raises(tn.InputError, match=f"Novelty: {name} is {number}"):
        tn.Novelty(**{name: number})


def test_it_prints_its_score_by_name():
    assert repr(tn.Novelty(tn.entropy)) == "Novelty(entropy, strength=1.0, beta=4.0)"
