import math

import pytest
import torch

import tonsure as tn
from enumeration import joint_information, label_information
from tonsure.testing import check_objective


@pytest.mark.parametrize("impossible", [False, True])
def test_two_items_are_worth_their_joint_information(make_log_probs, impossible):
    log_probs = make_log_probs(12, impossible=impossible)
    for seed in range(5):
        pair = log_probs[torch.randperm(12, generator=torch.Generator().manual_seed(seed))[:2]]
        total = float(tn.select(pair, tn.LargeBatchBALD(), 2, optimizer=tn.Greedy()).gains.sum())
        assert total == pytest.approx(joint_information(pair.exp()), abs=1e-12)


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
def test_every_unordered_pair_counts_once(make_log_probs, weight):
    log_probs = make_log_probs(12)
    chosen = tn.select(log_probs, tn.LargeBatchBALD(weight), 6)
    batch = log_probs[chosen.rows].exp()
    alone = sum(joint_information(item) for item in batch.split(1))
    pairs = sum(label_information(batch[i], batch[j]) for i in range(6) for j in range(i))
    assert float(chosen.gains.sum()) == pytest.approx(alone - weight * pairs, abs=1e-12)


def test_every_pick_is_the_best_of_all(make_log_probs):
    """Against the sum written out for every candidate and every step."""
    probs = make_log_probs(12).exp()
    batch: list[int] = []
    for _ in range(5):
        gains = {
            row: joint_information(probs[row : row + 1]) - sum(label_information(probs[row], probs[j]) for j in batch)
            for row in range(12)
            if row not in batch
        }
        batch.append(max(gains, key=gains.__getitem__))
    assert tn.select(probs.log(), tn.LargeBatchBALD(), 5).rows.tolist() == batch


def test_copies_are_left_alone():
    """20 copies of an item on which half of the samples disagree with the other half, and 20 unlike each other."""
    generator = torch.Generator().manual_seed(0)
    sides = torch.ones(64).where(torch.arange(64) < 32, -1)
    shuffled = torch.stack([sides[torch.randperm(64, generator=generator)] for _ in range(20)])
    logit = 1.4 * torch.cat([sides.expand(20, -1), shuffled])
    log_probs = torch.stack([logit, -logit], -1).log_softmax(-1)
    assert int((tn.select(log_probs, tn.LargeBatchBALD(), 20).rows < 20).sum()) <= 2


def test_gain_turns_negative_and_says_so(make_log_probs):
    with pytest.warns(tn.SelectionWarning, match="only 3 of the 24 rows have a positive gain"):
        chosen = tn.select(make_log_probs(24), tn.LargeBatchBALD(weight=2.0), 24)
    assert chosen.positive == 3


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_that_breaks_the_promise_is_refused(weight):
    with pytest.raises(tn.InputError, match=f"weight is {weight}"):
        tn.LargeBatchBALD(weight)


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("C", [11, 40])
def test_many_classes_are_looked_at_coarsely_first(make_log_probs, impossible, C):
    log_probs = make_log_probs(24, C=C, impossible=impossible)
    assert tn.LargeBatchBALD().coarse(log_probs).shape == (24, 6, 10)
    check_objective(tn.LargeBatchBALD(), log_probs)
