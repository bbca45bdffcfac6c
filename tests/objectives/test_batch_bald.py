import json
import math
from pathlib import Path

import pytest
import torch

import tonsure as tn
from cases import rest
from enumeration import joint_information
from tonsure.predictions.reader import PoolReader
from tonsure.selection import search


def total(objective, log_probs_b):
    """The worth of a batch, in the order given, and its standard error."""
    state, worth = objective.init_state(log_probs_b), 0.0
    for item in log_probs_b.split(1):
        worth += float(objective.gain(state, objective.init_notes(item), item))
        state = objective.update_state(state, item)
    return worth, objective.standard_error(state)


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("b", [1, 2, 3, 5])
def test_few_labelings_are_enumerated(make_log_probs, b, impossible):
    log_probs = make_log_probs(impossible=impossible)[:b]
    worth, error = total(tn.BatchBALD(labelings=3**5), log_probs)
    assert worth == pytest.approx(joint_information(log_probs.exp()), abs=1e-12)
    assert error == 0


def test_rows_are_those_of_exhaustive_greedy(make_log_probs):
    log_probs = make_log_probs(10)
    batch: list[int] = []
    for _ in range(4):
        worth = {row: joint_information(log_probs[[*batch, row]].exp()) for row in range(10) if row not in batch}
        batch.append(max(worth, key=worth.__getitem__))
    assert tn.select(log_probs, tn.BatchBALD(), 4).rows.tolist() == batch


@pytest.mark.usefixtures("annotations_unchecked")
def test_sampled_labelings_come_near_within_their_error(make_log_probs):
    """The mean over 50 seeds is the truth, and the spread over them is what each estimate says of itself."""
    log_probs = (make_log_probs(8, K=40, C=3, seed=3) / 2).log_softmax(-1)
    truth = joint_information(log_probs.exp())
    worths, errors = zip(*(total(tn.BatchBALD(64, seed), log_probs) for seed in range(50)), strict=True)
    worth, error = torch.tensor(worths), torch.tensor(errors)
    assert float(worth.std()) > 0
    assert abs(float(worth.mean()) - truth) < 4 * float(worth.std()) / math.sqrt(50) + 0.002
    assert 0.7 < float(error.mean() / worth.std()) < 1.4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("K", [2, 10, 20])
def test_the_total_stays_below_the_ceiling_and_does_not_fall(make_log_probs, K, dtype):
    """Where sampled estimates of others drift above the ceiling or fall (64 labelings, batches of 60)."""
    log_probs = make_log_probs(60, K, 10, seed=K, dtype=dtype)
    with pytest.warns(tn.SelectionWarning, match=f"{K} posterior samples carry at most log"):
        chosen = tn.select(log_probs, tn.BatchBALD(labelings=64), 60)
    assert (chosen.gains >= 0).all()
    assert float(chosen.gains.sum()) <= math.log(K) + 1e-12


def test_the_warning_counts_the_informed_picks(make_log_probs):
    log_probs = make_log_probs(200, K=4, C=5, seed=1)
    with pytest.warns(tn.SelectionWarning) as caught:
        chosen = tn.select(log_probs, tn.BatchBALD(), 20)
    informed = int((chosen.gains.cumsum(0) < 0.98 * math.log(4)).sum()) + 1
    assert f"log 4 = 1.39 nats of information, and the first {informed} of the 20 rows" in str(caught[0].message)


def test_certain_samples_do_not_underflow():
    """400 items of 10 classes, on which every sample is all but certain: products of 400 probabilities."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (400, 8), generator=generator)
    log_probs = torch.where(torch.nn.functional.one_hot(labels, 10).bool(), 0.0, -60.0).log_softmax(-1)
    worth, _ = total(tn.BatchBALD(labelings=64), log_probs)
    assert worth == pytest.approx(math.log(8), abs=1e-5)


def test_the_numbers_of_batchbald_redux():
    """Its exact joint entropies and its greedy batch, recorded by recorded/make_batchbald_redux.py."""
    recorded = json.loads((Path(__file__).parents[1] / "recorded" / "batchbald_redux.json").read_text())
    i, k, c = torch.meshgrid(*map(torch.arange, recorded["shape"]), indexing="ij")
    log_probs = (3 * torch.sin(1.7 * i + 2.3 * k * (i % 5) + 3.1 * c * c).double()).log_softmax(-1)
    chosen = tn.select(log_probs, tn.BatchBALD(), len(recorded["rows"]))
    assert chosen.rows.tolist() == recorded["rows"]
    assert chosen.gains.cumsum(0).tolist() == pytest.approx(recorded["totals"], abs=1e-9)
    assert tn.bald(log_probs).tolist() == pytest.approx(recorded["bald"], abs=1e-9)


def test_too_few_labelings_are_refused():
    with pytest.raises(tn.InputError, match="labelings is 31, expected a whole number from 32 to 1048576"):
        tn.BatchBALD(labelings=31)


@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize(("seed", "K"), [(18, 20), rest(19, 20), (22, 5), rest(26, 20), rest(37, 20), rest(39, 20)])
def test_when_nothing_is_left_rounding_does_not_decide(make_log_probs, seed, K):
    """Long after log K is told, blocks of one row still give the same rows: what is scaled up is not noise."""
    log_probs = make_log_probs(60, K, 10, seed=seed, dtype=torch.float32)
    expected = tn.select(log_probs, tn.BatchBALD(labelings=32), 30).rows.tolist()
    assert search(PoolReader([log_probs]), tn.BatchBALD(labelings=32), 30, block=1).rows.tolist() == expected
