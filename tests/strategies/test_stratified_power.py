"""Power noise within predicted classes, against probabilities that are worked out by hand."""

import itertools
from dataclasses import replace

import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of

CLASS = [0, 1, 0, 1, 1, 2]
LEAD = [0.8, 0.6, 0.5, 0.9, 0.5, 0.7]

DRAWS = 300


def first_of(log_probs_n_K_C):
    """A score that is known: the largest probability."""
    return log_probs_n_K_C[:, 0].exp().amax(1)


def pool():
    probs = torch.tensor([[(1 - lead) / 2] * 3 for lead in LEAD])
    probs[torch.arange(6), torch.tensor(CLASS)] = torch.tensor(LEAD)
    return state_of(torch.zeros(6, 1), log_probs_N_K_C=probs.log()[:, None])


@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.parametrize("beta", [0.0, 1.0, 3.0])
def test_every_class_draws_in_proportion_to_the_power(beta):
    """One row of each of three classes: the product of the probabilities within classes."""
    view, counts = pool(), dict.fromkeys(itertools.product((0, 2), (1, 3, 4)), 0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        rows = tn.StratifiedPower(first_of, beta=beta).choose(view, 3, generator).rows.tolist()
        assert 5 in rows
        counts[tuple(sorted(rows, key=CLASS.__getitem__)[:2])] += 1
    weights = [lead**beta for lead in LEAD]
    for (one, other), count in counts.items():
        expected = weights[one] / sum(weights[row] for row in (0, 2)) * weights[other]
        expected /= sum(weights[row] for row in (1, 3, 4))
        assert abs(count / DRAWS - expected) < 4.5 * (expected * (1 - expected) / DRAWS) ** 0.5, (one, other)


@pytest.mark.usefixtures("annotations_unchecked")
def test_whose_turn_it_is_is_drawn():
    counts = torch.zeros(3)
    for seed in range(150):
        counts[CLASS[int(choose(tn.StratifiedPower(first_of), pool(), 1, seed).rows[0])]] += 1
    assert float(counts.min()) > 25  # of 50; four deviations and more


def test_classes_take_turns_as_long_as_they_have_rows():
    view = random_state(40, 4)
    label_n = view.mean_probs().argmax(1)
    of_row = dict(zip(view.unlabeled_rows.tolist(), label_n.tolist(), strict=True))
    found = choose(tn.StratifiedPower(), view, 36)
    assert sorted(found.rows.tolist()) == view.unlabeled_rows.tolist()
    for k in range(1, 37):
        counts = torch.tensor([of_row[row] for row in found.rows[:k].tolist()]).bincount(minlength=3)
        for label, count in enumerate(counts.tolist()):
            assert count in (int((label_n == label).sum()), int(counts.max()), int(counts.max()) - 1)
        assert choose(tn.StratifiedPower(), view, k).rows.tolist() == found.rows[:k].tolist()
    expected_n = tn.entropy(view.log_probs_n_K_C).double()
    places = torch.searchsorted(view.unlabeled_rows, found.rows)
    torch.testing.assert_close(found.gains, expected_n[places])


def test_a_large_power_takes_the_largest_of_each_class():
    view = pool()
    assert sorted(choose(tn.StratifiedPower(first_of, beta=1e4), view, 3).rows.tolist()) == [0, 3, 5]


def test_candidates_do_not_change_the_noise_of_a_row():
    """What may be chosen is drawn as before: rows that were chosen stay if others may not be."""
    view = random_state(40, 4)
    chosen = choose(tn.StratifiedPower(), view, 9).rows
    left = replace(view, candidate_rows=chosen)
    assert choose(tn.StratifiedPower(), left, 9).rows.tolist() == chosen.tolist()


def test_one_class_is_power_sampling():
    """In distribution; here the order of the same noise, with a generator at the same place."""
    log_probs = torch.tensor([0.9, 0.05, 0.05]).repeat(12, 1, 1)
    log_probs[:, 0, 1] += 0.02 * torch.rand(12, generator=torch.Generator().manual_seed(0))
    log_probs = (log_probs / log_probs.sum(-1, keepdim=True)).log()
    view = state_of(torch.zeros(12, 1), log_probs_N_K_C=log_probs)
    expected = tn.select(log_probs, tn.Pointwise(tn.entropy), 7, optimizer=tn.PowerSample(beta=2.0), seed=5)
    found = choose(tn.StratifiedPower(beta=2.0), view, 7, seed=5)
    assert found.rows.tolist() == expected.rows.tolist()
