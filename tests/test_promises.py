"""What the README promises, for every method that has a name."""

import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch

import tonsure as tn
from cases import rest
from peak_memory import in_a_process, measured, of_this_process
from tonsure.search.backend import Backend, LocalBackend, LocalShards
from tonsure.search.plan import as_bytes

N, LABELED, K = 60, 10, 8

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")


@pytest.fixture
def inputs(make_log_probs):
    """All that any method looks at; 16 bits hold all of it exactly."""
    generator = torch.Generator().manual_seed(3)
    log_probs = make_log_probs(N, K=5, C=3).half()
    labeled = torch.randperm(N, generator=generator)[:LABELED]
    return {
        "predictions": log_probs,
        "features": torch.randn(N, 4, generator=generator).half(),
        "labeled": labeled,
        "labels": labeled % 3,
    }


@pytest.fixture(params=tn.METHODS)
def method(request):
    return request.param


def rows(method, inputs, **options):
    return tn.select(method=method, k=K, **{**inputs, **options}).rows.tolist()


def test_the_same_seed_gives_the_same_rows_and_leaves_the_inputs_as_they_are(method, inputs):
    before = {name: given.clone() for name, given in inputs.items()}
    expected = rows(method, inputs, seed=4)
    assert rows(method, inputs, seed=4) == expected
    assert not set(expected) & set(inputs["labeled"].tolist())
    for name, given in inputs.items():
        assert torch.equal(given, before[name]), name


def test_parts_arrays_and_a_store_give_the_same_rows(method, inputs, tmp_path):
    expected, predictions, features = rows(method, inputs), inputs["predictions"], inputs["features"]
    assert rows(method, inputs, predictions=[predictions[:7], predictions[7:20], predictions[20:]]) == expected
    assert rows(method, inputs, predictions=predictions.cpu().numpy(), features=features.numpy()) == expected
    store = tn.write_store(tmp_path / "store", predictions.cpu(), features=features, rows_per_shard=23)
    assert rows(method, inputs, predictions=store) == expected
    assert rows(method, inputs, predictions=store, features=None) == expected


def test_16_bits_give_the_rows_of_32(method, inputs):
    """Of the same numbers: probabilities that 16 bits have rounded are made to sum to one when they are read."""
    single = inputs["predictions"].float().log_softmax(-1)
    assert rows(method, inputs) == rows(method, inputs, predictions=single, features=inputs["features"].float())


def test_memory_changes_no_row_and_too_little_is_refused_with_the_least_that_is_accepted(method, inputs):
    expected = rows(method, inputs)
    with pytest.raises(tn.InputError, match=r"needs at least [\d.]+ [KMG]iB beyond") as refused:
        rows(method, inputs, memory=1000)
    least = re.search(r"at least ([\d.]+ [KMG]iB)", str(refused.value))[1]
    for memory in (least, 2 * as_bytes(least), "4GB"):
        assert rows(method, inputs, memory=memory) == expected
    with pytest.raises(tn.InputError, match="needs at least"):
        rows(method, inputs, memory=int(0.99 * as_bytes(least)) - 2**17)


@dataclass(frozen=True)
class Noted(Backend):
    """This process, in three shards; notes that it was used."""

    used: list = field(default_factory=list)

    @contextmanager
    def start(self, reader, objective, plan):
        self.used.append("start")
        third = len(reader) // 3
        cuts = [(0, third), (third, 2 * third), (2 * third, len(reader))]
        yield LocalShards([reader.slice(*cut) for cut in cuts], objective, plan)

    def map(self, reader, function):
        self.used.append("map")
        half = len(reader) // 2
        return [function(reader.slice(0, half)), function(reader.slice(half, len(reader)))]


def test_a_backend_is_used_or_refused(method, inputs):
    expected, backend = rows(method, inputs), Noted()
    made = tn.METHODS[method].method
    if isinstance(made, tn.Strategy) and not made.uses_backend:
        with pytest.raises(tn.InputError, match="runs in this process only: expected no backend, found Noted"):
            rows(method, inputs, backend=backend)
        assert not backend.used
    else:
        assert rows(method, inputs, backend=backend) == expected
        assert backend.used or method in ("coverage", "max-herding")  # which have no pass over the predictions
        assert rows(method, inputs, backend=LocalBackend()) == expected


def test_candidates_as_rows_and_as_a_mask(method, inputs):
    """Whatever may be chosen is, and nothing else; the numbers may be those of NumPy."""
    mask = torch.ones(N, dtype=torch.bool)
    mask[inputs["labeled"]] = False
    mask[::3] = False
    expected = rows(method, inputs, candidates=mask)
    assert mask[expected].all()
    allowed = mask.nonzero()[:, 0]
    for given in (allowed, allowed.flip(0), allowed.numpy(), allowed.tolist(), mask.numpy(), mask.tolist()):
        assert rows(method, inputs, candidates=given) == expected


def select_within_the_least(name, N, m, D, K, C):
    """Bytes taken where ``memory`` is the least that is accepted, and that number as text."""
    warnings.simplefilter("ignore")

    def choose(N, m, **options):
        generator = torch.Generator().manual_seed(0)
        log_probs = torch.empty(N, K, C)
        for block in log_probs.split(500):  # so that nothing else has ever been as large
            block.copy_(torch.randn(block.shape, generator=generator).log_softmax(-1))
        features = torch.randn(N, D, generator=generator)
        before = of_this_process("VmHWM")
        labeled = list(range(m))
        options |= {"features": features, "labeled": labeled, "labels": [row % C for row in labeled]}
        tn.select(log_probs, name, 20, **options)
        return of_this_process("VmHWM") - before

    choose(200, min(m, 50))  # first-time costs
    try:
        choose(N, m, memory=1)
    except tn.InputError as error:
        least = str(error).split("at least ")[1].split(" beyond")[0]
    return choose(N, m, memory=least), least


@pytest.mark.slow
@measured
@pytest.mark.parametrize(
    ("method", "sizes"),
    [
        ("BADGE", (60_000, 50, 200, 3, 10)),
        ("CoreSet", (20_000, 2_000, 300, 2, 3)),
        rest("LCMD", (20_000, 2_000, 300, 2, 3)),
        rest("Refine(rounds=1, batches=1)", (20_000, 50, 300, 3, 10)),
        ("prediction-coverage", (20_000, 50, 2, 3, 50)),
        ("novelty", (30_000, 50, 300, 3, 10)),
        ("binary-BAIT", (20_000, 50, 300, 3, 10)),
        rest("BAIT", (6_000, 50, 60, 2, 10)),
        rest("drop-query", (30_000, 50, 100, 5, 10)),
        rest("stratified-power", (60_000, 50, 2, 3, 50)),
        rest("DIRECT", (60_000, 50, 2, 3, 50)),
        ("TypiClust", (30_000, 50, 100, 2, 3)),
        ("ProbCover", (6_000, 50, 100, 2, 3)),
        rest("EPIG", (60_000, 50, 2, 10, 10)),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_the_least_memory_is_enough(method, sizes):
    taken, least = in_a_process(select_within_the_least, method, *sizes)
    assert taken <= as_bytes(least), f"{taken / 2**20:.0f} MiB of {least}"
    if method != "TypiClust":  # which allows for a cluster that holds all rows
        assert taken > 0.1 * as_bytes(least), f"the bound is loose: {taken / 2**20:.0f} MiB of {least}"
