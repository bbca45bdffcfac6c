import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of
from tonsure.strategies import bait


def informations(view, binary, likeliest=None):
    """I(x) for every row of the pool, written out, [N, C · D, C · D]."""
    N = len(view)
    probs = torch.zeros(N, view.log_probs_n_K_C.shape[2], dtype=torch.float64)
    probs[view.unlabeled_rows] = view.log_probs_n_K_C.double().exp().mean(dim=1)
    probs[view.labeled_rows] = view.labeled_log_probs_m_K_C.double().exp().mean(dim=1)
    found = []
    for p, h in zip(probs, view.features_N_D.double(), strict=True):
        of_logits = torch.diag(p) - torch.outer(p, p)
        if binary:
            of_logits = torch.tensor([[p.max() * (1 - p.max())]], dtype=torch.float64)
        elif likeliest is not None:  # the sum over the outcomes, one by one
            errors = torch.eye(len(p)).double() - p
            of_logits = sum(p[y] * torch.outer(errors[y], errors[y]) for y in p.argsort(descending=True)[:likeliest])
        found.append(torch.kron(of_logits, torch.outer(h, h)))
    return torch.stack(found)


def by_hand(view, k, *, prior=1.0, oversampling=2.0, binary=False, likeliest=None):
    """Forward and backward, with an inverse for every candidate."""
    information = informations(view, binary, likeliest)
    asked = information[view.unlabeled_rows].mean(dim=0)
    start = information[view.labeled_rows].sum(dim=0) + prior * torch.eye(len(asked), dtype=torch.float64)

    def trace(rows):
        return float(torch.trace(torch.linalg.inv(start + information[rows].sum(dim=0)) @ asked))

    joined: dict[int, float] = {}
    unlabeled = view.unlabeled_rows.tolist()
    for _ in range(min(len(unlabeled), int(oversampling * k))):
        after = {row: trace([*joined, row]) for row in unlabeled if row not in joined}
        best = min(after, key=after.get)
        joined[best] = trace(list(joined)) - after[best]
    while len(joined) > k:
        after = {row: trace([other for other in joined if other != row]) for row in joined}
        del joined[min(after, key=after.get)]
    return joined


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"oversampling": 1.0},
        {"prior": 0.01, "oversampling": 1.5},
        {"prior": 30.0},
        {"binary": True},
        {"likeliest": 1},
        {"likeliest": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 1])
def test_same_as_explicit_matrices(settings, seed):
    view = random_state(25, 4, D=3, seed=seed)
    found, expected = choose(tn.BAIT(**settings), view, 6), by_hand(view, 6, **settings)
    assert found.rows.tolist() == list(expected)
    torch.testing.assert_close(found.gains, torch.tensor(list(expected.values()), dtype=torch.float64))


def test_many_steps_stay_exact():
    """What is kept up to date is what it would be if computed anew."""
    view = random_state(60, 4, D=6, C=4)
    found, expected = choose(tn.BAIT(oversampling=1.0), view, 40), by_hand(view, 40, oversampling=1.0)
    assert found.rows.tolist() == list(expected)
    torch.testing.assert_close(
        found.gains, torch.tensor(list(expected.values()), dtype=torch.float64), rtol=1e-6, atol=0
    )


def test_all_classes_are_the_likeliest():
    view = random_state(25, 4, D=3, C=4)
    expected = choose(tn.BAIT(), view, 6)
    for likeliest in (4, 9):
        assert torch.equal(choose(tn.BAIT(likeliest=likeliest), view, 6).gains, expected.gains)


@pytest.mark.parametrize("block", [1, 4, 7])
def test_whatever_the_block(block, monkeypatch):
    view = random_state(40, 4, D=3)
    expected = choose(tn.BAIT(), view, 8)
    monkeypatch.setattr(bait, "BLOCK", block)
    found = choose(tn.BAIT(), view, 8)
    assert found.rows.tolist() == expected.rows.tolist()
    torch.testing.assert_close(found.gains, expected.gains)


def test_ties_go_to_the_lowest_row():
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    view = state_of(features, labels=[], log_probs_N_K_C=torch.full((4, 2, 2), 0.5).log())
    assert choose(tn.BAIT(oversampling=1.0), view, 4).rows.tolist() == [0, 1, 2, 3]


def test_a_last_layer_that_is_too_large_is_refused(monkeypatch):
    view = random_state(20, 3, D=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bait, "LARGEST", 11)
        with pytest.raises(
            tn.InputError, match=r"3 classes · 4 features = 12, expected at most 11; BAIT\(binary=True\)"
        ):
            choose(tn.BAIT(), view, 2)
        choose(tn.BAIT(binary=True), view, 2)
