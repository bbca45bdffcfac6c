"""DIRECT, against thresholds that are enumerated."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tonsure as tn
from pool_states import choose, random_state, state_of

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


def leads(view):
    """m_c − max_{c' ≠ c} m_c' of every row, in NumPy, [N, C]."""
    N, C = len(view), view.log_probs_n_K_C.shape[2]
    mean = np.zeros((N, C))
    mean[view.unlabeled_rows] = np.exp(view.log_probs_n_K_C.double().numpy()).mean(1)
    mean[view.labeled_rows] = np.exp(view.labeled_log_probs_m_K_C.double().numpy()).mean(1)
    mean /= mean.sum(1, keepdims=True)
    return np.stack([mean[:, c] - np.delete(mean, c, 1).max(1) for c in range(C)], 1)


def separation(lead, labeled, labels, label):
    """Every threshold tried: the order of ranks, the best one, and where it may lie."""
    order = sorted(range(len(lead)), key=lambda row: (-lead[row], row))
    known = dict(zip(labeled, labels, strict=True))
    errors = [
        sum((known[row] == label) != (place < t) for place, row in enumerate(order) if row in known)
        for t in range(len(order) + 1)
    ]
    own = int((lead > 0).sum())
    threshold = min(range(len(errors)), key=lambda t: (errors[t], abs(t - own), t))
    others = [place for place, row in enumerate(order) if row in known and known[row] != label]
    same = [place + 1 for place, row in enumerate(order) if row in known and known[row] == label]
    ends = (min(others, default=len(order)), max(same, default=0))
    return order, threshold, min(ends), max(ends)


def by_hand(view, k, search):
    """For each class what may be drawn and what is around the threshold; classes in the order of the generator."""
    generator = torch.Generator().manual_seed(0)
    lead, C = leads(view), view.log_probs_n_K_C.shape[2]
    left, chosen, gains = set(view.choosable_rows.tolist()), [], []
    for turn, label in enumerate(torch.randperm(C, generator=generator).tolist()):
        count = k // C + (turn < k % C)
        labels = view.labels_m.tolist()
        order, threshold, first, last = separation(lead[:, label], view.labeled_rows.tolist(), labels, label)
        within = [row for row in order[first:last] if row in left]
        drawn = torch.randperm(len(within), generator=generator)[: int(search * count)]
        mine = [within[place] for place in drawn.tolist()]
        left -= set(mine)
        before = [row for row in order[:threshold][::-1] if row in left]
        after = [row for row in order[threshold:] if row in left]
        sides = [(place, side, row) for side, rows in enumerate((before, after)) for place, row in enumerate(rows)]
        mine += [row for _, _, row in sorted(sides)[: count - len(mine)]]
        left -= set(mine)
        chosen += mine
        gains += [1 - abs(lead[row, label]) for row in mine]
    return chosen, gains


@pytest.mark.parametrize("search", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("k", [2, 9, 30])
def test_same_as_thresholds_that_are_tried(k, search):
    for seed, C in ((0, 2), (1, 3), (2, 5)):
        view = random_state(40, 8, C=C, seed=seed)
        found, (rows, gains) = choose(tn.DIRECT(search=search), view, k), by_hand(view, k, search)
        assert found.rows.tolist() == rows
        assert found.gains.tolist() == pytest.approx(gains, abs=1e-6)


def line(lead, labeled, labels):
    """A pool of two classes, in which class 1 leads by so much."""
    probs = torch.tensor(lead, dtype=torch.float64) / 2 + 0.5
    log_probs = torch.stack([1 - probs, probs], 1).log()[:, None]
    return state_of(torch.zeros(len(lead), 1), labeled, labels=labels, log_probs_N_K_C=log_probs)


LEAD = [0.9 - 0.018 * row for row in range(101)]  # the model separates the rows 49 and 50


@pytest.mark.parametrize(
    ("labeled", "labels", "expected"),
    [
        ([], [], {49, 50}),  # the model's own threshold
        ([45, 55], [1, 0], {49, 50}),  # which the labels allow
        ([10, 55], [0, 0], {9, 11}),  # but not here: the nearest that they allow
        ([60, 95], [1, 0], {59, 61}),
        ([60, 62, 64, 66, 50], [1, 1, 1, 1, 0], {65, 67}),  # noise: one error, whatever the threshold
        ([60, 61, 62, 63, 64, 58, 59], [0, 1, 0, 0, 0, 1, 1], {57, 65}),
    ],
)
def test_rows_around_the_threshold_of_the_labels(labeled, labels, expected):
    found = choose(tn.DIRECT(search=0.0), line(LEAD, labeled, labels), 4)
    # Both classes have the same threshold, and the second takes what is left nearest to it.
    assert expected <= set(found.rows.tolist())


def test_search_is_between_the_labels_that_may_lie():
    view = line(LEAD, [20, 40, 70, 90], [1, 1, 0, 0])
    seen = set()
    for seed in range(30):
        seen |= set(choose(tn.DIRECT(search=1.0), view, 10, seed).rows.tolist())
    assert seen <= set(range(41, 70))
    assert len(seen) > 25
    noisy = line(LEAD, [20, 40, 70, 90], [0, 1, 0, 1])
    seen = {row for seed in range(30) for row in choose(tn.DIRECT(search=1.0), noisy, 30, seed).rows.tolist()}
    assert min(seen) > 20
    assert max(seen) < 90
    assert {21, 22, 88, 89} & seen


def test_every_class_has_its_share_of_the_batch():
    """A model that has never seen a class finds rows that lead in it."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 1, 4, generator=generator)
    logits[:, :, 0] += 3  # nearly all are predicted to be of the first class
    view = state_of(torch.zeros(200, 1), range(10), labels=[0] * 10, log_probs_N_K_C=logits.log_softmax(-1))
    lead = leads(view)
    found = choose(tn.DIRECT(search=0.0), view, 40)
    for label in (1, 2, 3):
        rank = (-lead[:, label]).argsort().argsort()
        assert sum(rank[row] < 40 for row in found.rows.tolist()) >= 10


def test_labels_are_needed_where_rows_are_labeled():
    view = random_state(30, 4)
    with pytest.raises(tn.InputError, match="labels of the labeled rows"):
        choose(tn.DIRECT(), replace(view, labels_m=None), 3)
    assert len(choose(tn.DIRECT(), random_state(30, 0), 30)) == 30


def test_ties_are_ranked_by_row():
    """Leads that differ by what rounding does to a mean."""
    probs = torch.full((12, 1, 3), 1 / 3, dtype=torch.float64)
    probs[:, 0, 0] += 1e-13 * torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    view = state_of(torch.zeros(12, 1), log_probs_N_K_C=probs.log())
    assert choose(tn.DIRECT(search=0.0), view, 3).rows.tolist() == [0, 1, 2]
