"""The memory plan where a pair of items, a labeling or the targets take more than a row of the pool."""

import gc
import multiprocessing
import re
import warnings
from dataclasses import dataclass

import pytest
import torch

import tonsure as tn
from peak_memory import in_a_process, measured, of_this_process
from tonsure import information
from tonsure.predictions.reader import PoolReader
from tonsure.search.plan import FIXED, as_bytes, plan

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


def random_log_probs(N, K, C, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.empty(N, K, C, dtype=dtype)
    for row in range(N):  # so that nothing else has ever been as large
        log_probs[row] = torch.randn(K, C, generator=generator).log_softmax(-1)
    return log_probs


METHODS = {
    "LBB": lambda log_probs: tn.LargeBatchBALD(),
    "corrected LBB": lambda log_probs: tn.LargeBatchBALD(corrected=True),
    "second-order LBB": lambda log_probs: tn.SecondOrderLBB(),
    "BatchBALD": lambda log_probs: tn.BatchBALD(),
    "discounted": lambda log_probs: tn.Discounted(),
    "log-det": lambda log_probs: tn.LogDet(),
    "spread": lambda log_probs: tn.Spread(),
    "bald": lambda log_probs: tn.Pointwise(tn.bald),
    "EPIG": lambda log_probs: tn.EPIG(log_probs[:8].clone()),
    "second-order EPIG": lambda log_probs: tn.SecondOrderEPIG(log_probs[:8].clone()),
    "V-optimal": lambda log_probs: tn.VOptimal(log_probs[:8].clone()),
    "random": lambda log_probs: tn.Random(),
}

# Few and small, as the cost of a pair is C². In a larger grid (N to 1,000, K = 100, C = 5,000) it is the same.
GRID = [(10, 100, 2, 3), (2, 2, 1500, 2)]
CASES = [(name, *sizes) for name in METHODS for sizes in GRID if name != "EPIG" or sizes[2] < 1500]


def held_and_planned(name, N, K, C, k):
    """The bytes that are held where the least that is accepted is given, and that number."""
    log_probs = random_log_probs(N, K, C)
    objective = METHODS[name](log_probs)
    least = plan(PoolReader([log_probs]), objective, k).least
    gc.collect()
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = of_this_process("VmHWM")
    tn.select(log_probs, objective, k, memory=least)
    return of_this_process("VmHWM") - before, least


def all_held_and_planned():
    """Each in a process of its own, as freed memory is used again; forked from one that has done all before."""
    warnings.simplefilter("ignore")
    for name in METHODS:
        held_and_planned(name, 8, 3, 4, 2)
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as processes:
        return dict(zip(CASES, processes.starmap(held_and_planned, CASES, chunksize=1), strict=True))


@pytest.mark.slow
@measured
def test_the_least_is_enough_for_pairs_too():
    """C = 1,500: one joint distribution has 17 MiB in double precision, and three of them would be held."""
    found = in_a_process(all_held_and_planned)
    assert {case: sizes for case, sizes in found.items() if sizes[0] > sizes[1]} == {}
    assert max(least for case, (_, least) in found.items() if case[0].endswith("LBB")) < 40 * 2**20
    held, least = found["BatchBALD", 2, 2, 1500, 2]
    assert held > 0.2 * least


def test_no_tensor_of_a_pair_is_larger_than_planned(monkeypatch):
    """In pieces of some classes, with the sum of one piece."""
    first, second = random_log_probs(2, 3, 40, torch.float64).exp()
    expected = information.joint_entropy(first[None], second[None])
    sizes, x_log_x = [], information.x_log_x
    monkeypatch.setattr(information, "x_log_x", lambda x: (sizes.append(x.numel()), x_log_x(x))[1])
    monkeypatch.setattr(information, "WORKING_ELEMENTS", {"cpu": 300})
    found = information.joint_entropy(first[None], second[None])
    assert sizes == [280] * 5 + [200]
    assert torch.allclose(found, expected, rtol=1e-14)


@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.parametrize("objective", [tn.LargeBatchBALD(), tn.BatchBALD(labelings=64)], ids=repr)
def test_pieces_change_no_row(make_log_probs, monkeypatch, objective):
    log_probs = make_log_probs(30, 5, 12).cpu()
    expected = tn.select(log_probs, objective, 6)
    monkeypatch.setattr(information, "WORKING_ELEMENTS", {"cpu": 50})
    found = tn.select(log_probs, objective, 6)
    assert found.rows.tolist() == expected.rows.tolist()
    assert torch.allclose(found.gains, expected.gains, rtol=1e-5)


def test_labelings_are_planned_as_they_multiply():
    """M of them are kept at most: 1, C, C², … before the last item."""
    reader = PoolReader([random_log_probs(3, 2, 50)])
    least = [plan(reader, tn.BatchBALD(labelings=300), k).least for k in (1, 2, 3, 9)]
    assert [more - least[0] for more in least[1:]] == [8 * (M - 1) * (5 * 50 + 6 * 2) for M in (50, 300, 300)]


def test_targets_are_planned():
    log_probs = random_log_probs(20, 4, 6)
    few, many = (plan(PoolReader([log_probs]), tn.EPIG(log_probs[:T]), 2).least for T in (2, 20))
    assert many - few >= 4 * 18 * 4 * 6 * 8


def test_a_block_of_more_rows_than_there_are():
    reader = PoolReader([random_log_probs(4, 2, 3)])
    for objective in (tn.LargeBatchBALD(), tn.Discounted()):
        fits = plan(reader, objective, 2, block=4)
        assert plan(reader, objective, 2, block=10**9) == fits
        assert fits.block == 4
        assert fits.least < FIXED + 8 * 2**20


def test_too_little_is_refused_with_the_least_that_is_accepted():
    log_probs = random_log_probs(3, 2, 5000)
    for objective in (tn.LargeBatchBALD(), tn.BatchBALD()):
        with pytest.raises(tn.InputError, match=r"needs at least [\d.]+ MiB beyond") as refused:
            tn.select(log_probs, objective, 3, memory="20MiB")
        least = as_bytes(re.search(r"at least ([\d.]+ \w+)", str(refused.value))[1])
        assert plan(PoolReader([log_probs]), objective, 3, least).total <= least


@dataclass(frozen=True)
class Greedy(tn.Objective):
    """Asks for what no machine has, in one of its ways."""

    ask: object

    def gain(self, state, notes, items):
        return self.ask(len(items))


ASKED = {
    "of torch": lambda n: torch.empty(2**60, dtype=torch.uint8),
    "overflow": lambda n: torch.empty(2**62, dtype=torch.float64),
    "of NumPy": lambda n: __import__("numpy").empty(2**60, "u1"),
    "of Python": lambda n: bytearray(2**62),
    "of a GPU": lambda n: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")),
}


@pytest.mark.parametrize("asked", ASKED)
def test_memory_that_is_not_there_is_an_error_of_ours(make_log_probs, asked):
    with pytest.raises(tn.OutOfMemoryError, match="there is not enough memory for the selection: ") as refused:
        tn.select(make_log_probs(), Greedy(ASKED[asked]), 2)
    assert isinstance(refused.value, MemoryError)
    assert isinstance(refused.value, tn.TonsureError)
    assert "\n" not in str(refused.value)


def test_other_errors_are_not_of_memory(make_log_probs):
    with pytest.raises(RuntimeError, match="shape"):
        tn.select(make_log_probs(), Greedy(lambda n: torch.ones(2) @ torch.ones(3, 3)), 2)
