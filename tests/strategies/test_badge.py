import dataclasses

import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of
from tonsure.strategies.badge import draw


def gradients(view):
    """g_i written out: the gradient of the loss for the last layer's weights, by automatic differentiation."""
    probs_n_C = view.log_probs_n_K_C.double().exp().mean(dim=1)
    found = []
    for probs_C, features_D in zip(probs_n_C, view.features_N_D[view.unlabeled_rows].double(), strict=True):
        weights = torch.zeros(len(probs_C), len(features_D), dtype=torch.float64, requires_grad=True)
        logits = probs_C.log() + weights @ features_D
        torch.nn.functional.cross_entropy(logits[None], probs_C.argmax()[None]).backward()
        found.append(weights.grad.flatten())
    return torch.stack(found)


def test_gains_are_distances_of_gradients():
    view = random_state(30, 4, D=5)
    found = choose(tn.BADGE(), view, 26)
    places = torch.searchsorted(view.unlabeled_rows, found.rows)
    gradients_b = gradients(view)[places]
    assert float(found.gains[0]) == pytest.approx(float(gradients_b[0].norm()), rel=1e-6)
    for t in range(1, 26):
        nearest = float((gradients_b[:t] - gradients_b[t]).norm(dim=1).min())
        assert float(found.gains[t]) == pytest.approx(nearest, rel=1e-6)


@pytest.mark.usefixtures("annotations_unchecked")
def test_pairs_are_drawn_as_often_as_they_should_be():
    """Against the probabilities of every pair, enumerated."""
    view, times = random_state(7, 2), 600
    squared = torch.cdist(gradients(view), gradients(view)).square()
    expected = squared / squared.sum(dim=1, keepdim=True) / 5
    counts, generator = torch.zeros(5, 5), torch.Generator().manual_seed(0)
    for _ in range(times):
        rows = tn.BADGE().choose(view, 2, generator).rows
        first, second = torch.searchsorted(view.unlabeled_rows, rows).tolist()
        counts[first, second] += 1
    error = (counts / times - expected).abs() / (expected / times).sqrt().clamp_min(1e-3)
    assert float(error.max()) < 4
    assert float(counts.diagonal().sum()) == 0


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_copies_come_last():
    """Copies differ by nothing, so that they are drawn when nothing else is left."""
    features = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).repeat(3, 1)
    log_probs = (2 * torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(1))).log_softmax(-1).repeat(3, 1, 1)
    view = state_of(features, [0], log_probs_N_K_C=log_probs)
    for seed in range(5):
        found = choose(tn.BADGE(), view, 17, seed)
        assert sorted((found.rows[:6] % 6).tolist()) == list(range(6))
        assert found.positive == 6


def test_draws_only_what_has_a_weight():
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor([0.0, 1e-30, 0.0, 1.0, 3.0, 0.0], dtype=torch.float64)
    counts = torch.tensor([draw(weights, generator) for _ in range(2000)]).bincount(minlength=6)
    assert counts[[0, 1, 2, 5]].tolist() == [0, 0, 0, 0]
    assert float(counts[4]) / 2000 == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize(("point", "expected"), [(0.0, 1), (1.0, 2)])
def test_a_draw_at_the_very_ends(monkeypatch, point, expected):
    monkeypatch.setattr(torch, "rand", lambda *size, generator, dtype: torch.tensor(point, dtype=dtype))
    assert draw(torch.tensor([0.0, 2.0, 1.0, 0.0], dtype=torch.float64), torch.Generator()) == expected


def test_gradients_are_of_the_last_layer():
    """Where the pool has features of its own."""
    view = random_state(30, 4, D=5)
    own = dataclasses.replace(view, features_N_D=torch.zeros(30, 2), last_layer_N_D=view.features_N_D)
    for strategy in (tn.BADGE(), tn.BAIT(), tn.Refine([tn.BADGE()], last=tn.BADGE())):
        expected, found = choose(strategy, view, 5), choose(strategy, own, 5)
        assert torch.equal(found.rows, expected.rows)
        assert torch.equal(found.gains, expected.gains)
        assert strategy.memory_needed(own, 5) == strategy.memory_needed(view, 5)
