"""What else is switched on in a process must not change a row, a gain or a score, and stays switched on."""

import contextlib
import sys
import threading

import numpy as np
import pytest
import torch

import tonsure as tn
from tonsure.information import conditional_entropy, mutual_information
from tonsure.surroundings import selecting, undisturbed

N, D, K = 40, 5, 4


@contextlib.contextmanager
def switched(switch, on, off):
    switch(on)
    try:
        yield
    finally:
        switch(off)


SURROUNDINGS = {
    "autocast in bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast in float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "default type float64": lambda: switched(torch.set_default_dtype, torch.float64, torch.float32),
    "default type bfloat16": lambda: switched(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "default device": lambda: switched(torch.set_default_device, "meta", None),
    "context of a device": lambda: torch.device("meta"),
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "deterministic mode": lambda: switched(torch.use_deterministic_algorithms, True, False),
    "one thread": lambda: switched(torch.set_num_threads, 1, torch.get_num_threads()),
    "three threads": lambda: switched(torch.set_num_threads, 3, torch.get_num_threads()),
    "short products": lambda: switched(torch.set_float32_matmul_precision, "medium", "highest"),
    "flushed denormals": lambda: switched(torch.set_flush_denormal, True, False),
    "errors of NumPy": lambda: np.errstate(all="raise"),
    "anomalies": torch.autograd.detect_anomaly,
}


@pytest.fixture(scope="module")
def pool():
    generator = torch.Generator().manual_seed(0)
    log_probs_N_K_C = (2 * torch.randn(N, 6, 3, generator=generator)).log_softmax(-1)
    return {
        "predictions": log_probs_N_K_C,
        "features": torch.randn(N, D, generator=generator),
        "labeled": list(range(0, N, 5)),
        "labels": [row % 3 for row in range(0, N, 5)],
    }


@pytest.fixture(scope="module")
def undisturbed_rows(pool):
    return {name: tn.select(method=name, k=K, **pool) for name in tn.METHODS}


def switches():
    """All that can be read of the surroundings."""
    return (
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.get_default_dtype(),
        torch.empty(0).device,
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        sys.float_info.min / 2,
        np.geterr(),
    )


FOR_ALL = ("autocast in bfloat16", "default type float64", "default device", "three threads")
"""Surroundings in which all methods are tried; in the others, one of each kind."""

FEW = ("margin", "PLBB", "BatchBALD", "EPIG", "facility-location", "BADGE", "BAIT", "TypiClust", "LCMD")


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_rows_and_gains_are_the_same_to_the_last_bit(surroundings, pool, undisturbed_rows):
    with SURROUNDINGS[surroundings]():
        before = switches()
        for name in undisturbed_rows if surroundings in FOR_ALL else FEW:
            expected = undisturbed_rows[name]
            found = tn.select(method=name, k=K, **pool)
            assert found.rows.tolist() == expected.rows.tolist(), name
            assert found.gains.tolist() == expected.gains.tolist(), name
            assert not found.gains.is_inference(), name
        assert switches() == before


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_scores_and_informations_are_the_same_to_the_last_bit(surroundings, pool):
    log_probs_N_K_C = pool["predictions"]

    def all_of_them():
        pairs_N_N = mutual_information(log_probs_N_K_C, log_probs_N_K_C)
        return [*(score(log_probs_N_K_C) for score in SCORES), conditional_entropy(log_probs_N_K_C), pairs_N_N]

    expected = all_of_them()
    with SURROUNDINGS[surroundings]():
        before, found = switches(), all_of_them()
        assert switches() == before
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


SCORES = [tn.bald, tn.entropy, tn.least_confidence, tn.margin, tn.variation_ratio, tn.mean_std]


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize("surroundings", ["autocast in bfloat16", "default type float64", "context of a device"])
def test_compare_measures_the_same(surroundings, pool):
    expected = tn.compare(pool["predictions"], K, ["BALD", "LBB", "random"], seed=3)
    with SURROUNDINGS[surroundings]():
        found = tn.compare(pool["predictions"], K, ["BALD", "LBB", "random"], seed=3)
    assert found.pool == expected.pool
    for name, batch in expected.batches.items():
        other = found.batches[name]
        assert (batch.information, batch.redundancy) == (other.information, other.redundancy)
        assert batch.averages == other.averages


@pytest.mark.parametrize("surroundings", ["autocast in bfloat16", "default type float64", "context of a device"])
def test_a_strategy_by_itself_is_the_same(surroundings, pool):
    rows = torch.arange(N)
    seen = rows[:3], torch.tensor([0, 1, 2]), rows[3:], pool["features"], pool["predictions"][3:]
    strategies = [tn.CoreSet(), tn.FacilityLocation(), tn.Targeted(tn.SecondOrderEPIG, count=9)]

    def choose():
        state = tn.PoolState(*seen)
        return [one.choose(state, K, torch.Generator().manual_seed(0)) for one in strategies]

    expected = choose()
    with SURROUNDINGS[surroundings]():
        found = choose()
    assert [one.gains.tolist() for one in found] == [one.gains.tolist() for one in expected]
    assert [one.rows.tolist() for one in found] == [one.rows.tolist() for one in expected]


def test_gradients_flow_through_scores_and_not_through_selections(pool):
    log_probs_N_K_C = pool["predictions"].clone().requires_grad_()
    assert tn.entropy(log_probs_N_K_C).requires_grad
    assert not tn.select(log_probs_N_K_C, tn.entropy, k=2).gains.requires_grad
    with torch.inference_mode():
        seen = pool["predictions"].clone()
        made = tn.select(seen, "BALD", k=2)
    made.gains.add_(1)  # an inference tensor would refuse it


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_nothing_is_switched_on_within(surroundings):
    with SURROUNDINGS[surroundings](), selecting():
        assert not torch.is_autocast_enabled("cpu")
        assert torch.empty(0).device.type == "cpu"
        assert not torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.are_deterministic_algorithms_enabled()
        assert sys.float_info.min / 2 > 0
        assert np.geterr() == {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@pytest.mark.parametrize("manager", [undisturbed, selecting])
def test_surroundings_are_restored_after_an_error(manager):
    with contextlib.ExitStack() as stack:
        for name in ("autocast in bfloat16", "context of a device", "deterministic mode", "short products"):
            stack.enter_context(SURROUNDINGS[name]())
        before = switches()
        with pytest.raises(KeyError, match="True"), manager():
            {}[switches() != before]
        assert switches() == before


def test_the_last_of_two_threads_restores_what_the_first_has_changed():
    entered, left = threading.Event(), threading.Event()

    def other():
        with undisturbed():
            entered.set()
            left.wait(10)

    with SURROUNDINGS["deterministic mode"](), SURROUNDINGS["short products"]():
        before = switches()
        with undisturbed():
            thread = threading.Thread(target=other)
            thread.start()
            entered.wait(10)
        assert switches() != before
        left.set()
        thread.join()
        assert switches() == before


def test_what_another_thread_sets_during_a_selection_stays():
    try:
        with undisturbed():
            torch.use_deterministic_algorithms(True, warn_only=True)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        with undisturbed():
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_network_that_does_not_fit_its_inputs_is_refused_with_the_default_dtype():
    with SURROUNDINGS["default type float64"]():
        model = tn.Ensemble(lambda: torch.nn.Linear(3, 2), 2)
        with pytest.raises(
            tn.InputError, match=r"cannot be used on .*float32.* \(the default dtype is torch.float64\): "
        ):
            model.fit(torch.randn(4, 3, dtype=torch.float32), torch.tensor([0, 1, 0, 1]))


def test_a_precision_that_was_set_for_one_kind_of_product_is_kept():
    products = torch.backends.mkldnn.matmul
    if not hasattr(products, "fp32_precision"):
        pytest.skip("this torch has one precision for all products")
    before = products.fp32_precision
    with switched(lambda precision: setattr(products, "fp32_precision", precision), "bf16", before):
        with undisturbed():
            assert products.fp32_precision == "ieee"
        assert products.fp32_precision == "bf16"


def test_the_caller_of_rounds_keeps_the_surroundings(pool):
    class Given(tn.BayesianModel):
        samples = 6

        def fit(self, inputs, labels_n, *, seed=0):
            pass

        def members(self):
            yield lambda inputs: pool["predictions"][inputs[:, 0].long()]

    inputs = torch.arange(N, dtype=torch.float32)[:, None]
    start = {row: row % 3 for row in range(4)}

    def rows():
        given = tn.KnownLabels(torch.arange(N) % 3)
        made = tn.rounds(tn.Pool(inputs, dict(start)), Given(), "LBB", 3, oracle=given, max_labels=10)
        found = []
        for one in made:
            found.append(one.rows)
            assert switches() == before
        return found

    before = switches()
    expected = rows()
    for name in ("autocast in bfloat16", "default type float64"):
        with SURROUNDINGS[name]():
            before = switches()
            assert rows() == expected
