"""Whatever a caller gives: an answer that holds its contract, or an error of ours, and never anything else.

The number of examples is ``--examples``, 10⁵ for example; the ordinary run has few, and always the same.
"""

import io
import sys
import tempfile
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import nn

import tonsure as tn
from tonsure.experiments import one_run
from tonsure.testing import inputs

pytestmark = [
    pytest.mark.usefixtures("annotations_unchecked"),
    pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning"),
]


def examples(request, share):
    """Runs a property on so many examples: a share of ``--examples``."""
    count = request.config.getoption("--examples")
    return so_many(max(1, round(share * (count or 200))), derandomize=count is None)


def so_many(examples, derandomize=False):
    return hypothesis.settings(
        max_examples=examples,
        derandomize=derandomize,
        database=None,
        deadline=None,
        print_blob=False,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def holds(request, share, strategy, check):
    """Checks a property of what a strategy makes."""

    def answer(given):
        check(given)  # whose result is of no interest

    examples(request, share)(hypothesis.given(strategy)(answer))()


def contents(value):
    """The numbers of arrays, so that a change of them is seen."""
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.device.type == "meta":
            return None
        return value.detach().resolve_neg().resolve_conj().contiguous().view(-1).view(torch.uint8).tolist()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, list | tuple):
        return [contents(each) for each in value]
    return contents(value._array) if isinstance(value, inputs.Column) else None


def attempt(call, arguments):
    """What the call gives, or None if it is refused; its arguments are the same afterwards."""
    before = {name: contents(value) for name, value in arguments.items()}
    try:
        return call(**arguments)
    except tn.TonsureError as error:
        told = str(error)
    finally:
        assert {name: contents(value) for name, value in arguments.items()} == before
    assert 0 < len(told) < 2000
    return None


def size_of_pool(arguments):
    given = arguments.get("predictions")
    if given is None:
        given = arguments["features"]
    return sum(map(len, given)) if isinstance(given, list | tuple) else len(given)


def may_choose(arguments, N):
    """The rows that may be chosen, where the arguments say so in a way that can be read here."""
    left = set(range(N))
    for name, keep in (("labeled", False), ("candidates", True)):
        given = arguments.get(name)
        if given is None:
            continue
        found = np.asarray(sorted(given) if isinstance(given, set | frozenset) else given)
        rows = set((found.nonzero()[0] if found.dtype == bool else found).tolist())
        left = left & rows if keep else left - rows
    return left


def check_selection(arguments):
    """Whether there is an answer, which holds its contract."""
    selection = attempt(tn.select, arguments)
    if selection is None:
        return False
    rows = selection.rows.tolist()
    assert len(rows) == len(selection.gains) == int(arguments["k"])
    assert len(set(rows)) == len(rows)
    assert set(rows) <= may_choose(arguments, size_of_pool(arguments))
    assert selection.gains.dtype == torch.float64
    assert selection.gains.isfinite().all()
    again = tn.select(**arguments)
    assert again.rows.tolist() == rows
    assert torch.equal(again.gains, selection.gains)
    return True


def test_selections(request):
    holds(request, 0.7, inputs.selections(), check_selection)


def test_selections_of_right_kinds_are_made(request):
    """Most of them, at least: so the property above is not one of refusals alone."""
    made = []

    def check(arguments):
        made.append(attempt(tn.select, arguments) is not None)

    holds(request, 0.2, inputs.selections(wrong=False), check)
    assert sum(made) > 0.4 * len(made)


def test_comparisons(request):
    @st.composite
    def comparisons(draw):
        arguments = draw(inputs.selections())
        for name in ("method", "optimizer"):
            arguments.pop(name, None)
        names = st.lists(st.sampled_from(("random", "BALD", "LBB", "BatchBALD", "coverage")), max_size=2)
        arguments["methods"] = draw(st.one_of(names, inputs.anything()))
        return arguments

    def check(arguments):
        arguments.setdefault("predictions", None)
        comparison = attempt(tn.compare, arguments)
        for batch in comparison.batches.values() if comparison else ():
            assert len(batch.selection) == int(arguments["k"])
            assert np.isfinite([batch.information, batch.redundancy, batch.averages.bald]).all()

    holds(request, 0.2, comparisons(), check)


def test_settings(request):
    def check(made):
        kind, chosen = made
        found = attempt(kind, chosen)
        if found is not None:
            assert hash(found) == hash(deepcopy(found))
            assert repr(found)

    holds(request, 2, inputs.settings(wrong=True), check)


def test_methods(request):
    names = st.one_of(inputs.methods(), inputs.anything(), st.text("BALD=()@,.15'{}[]\\ ", max_size=20))

    def check(given):
        attempt(tn.Method, dict(zip(("method", "optimizer"), given, strict=True)))

    holds(request, 1, st.tuples(names, st.one_of(st.none(), names)), check)


def test_scores(request):
    functions = st.sampled_from((tn.bald, tn.entropy, tn.least_confidence, tn.margin, tn.variation_ratio, tn.mean_std))

    def check(given):
        function, log_probs = given
        attempt(lambda log_probs: function(log_probs), {"log_probs": log_probs})

    values = st.one_of(inputs.wrong_predictions(3, 2, 3), inputs.predictions(3, 2, 3), inputs.anything())
    holds(request, 1, st.tuples(functions, values), check)


def test_pool_states(request):
    @st.composite
    def states(draw):
        some = st.one_of(inputs.anything(), inputs.wrong_rows(4))
        predictions = st.one_of(inputs.predictions(3, 2, 2), inputs.wrong_predictions(3, 2, 2))
        state = {
            "labeled_rows": draw(st.one_of(st.just([1]), some)),
            "labels_m": draw(st.one_of(st.none(), st.just([0]), some)),
            "unlabeled_rows": draw(st.one_of(st.just([0, 2, 3]), some)),
            "features_N_D": draw(st.one_of(st.none(), inputs.features(4), inputs.wrong_features(4))),
            "log_probs_n_K_C": draw(st.one_of(st.none(), predictions)),
            "scores_n": draw(st.one_of(st.none(), st.just(torch.ones(3)), inputs.anything())),
            "candidate_rows": draw(st.one_of(st.none(), st.just([3]), some)),
        }
        # A right state with one or two attributes of a wrong kind tells more than one in which all are wrong.
        wrong = draw(st.sets(st.sampled_from(sorted(state)), max_size=2))
        right = {"labeled_rows": [1], "unlabeled_rows": [0, 2, 3], "labels_m": [0]}
        return {name: value if name in wrong else right.get(name) for name, value in state.items()}

    holds(request, 1, states(), lambda state: attempt(tn.PoolState, state))


def test_stores(request):
    @st.composite
    def stores(draw):
        N, K, C = draw(st.integers(1, 4)), 2, 3
        right = inputs.predictions(N, K, C)
        others = {
            "features": st.one_of(inputs.features(N), inputs.wrong_features(N)),
            "ids": st.one_of(inputs.ids(N), inputs.ids(N), inputs.anything()),
            "items": st.one_of(st.just({"text": ["a"] * N}), inputs.anything()),
            "dtype": st.one_of(st.sampled_from((torch.float16, torch.float32, torch.float64)), inputs.anything()),
            "about": inputs.anything(),
            "rows_per_shard": st.one_of(inputs.counts(3), inputs.wrong_counts(3)),
        }
        names = draw(st.sets(st.sampled_from(sorted(others)), max_size=2))
        log_probs = draw(st.one_of(right, right, inputs.wrong_predictions(N, K, C)))
        return {"log_probs": log_probs} | {name: draw(others[name]) for name in sorted(names)}

    def check(arguments):
        with tempfile.TemporaryDirectory() as folder:
            store = attempt(lambda **given: tn.write_store(Path(folder) / "store", **given), arguments)
            if store is not None:
                assert store.shape == (len(store), 2, 3)
                tn.Store.open(store.path)
            else:
                assert not list(Path(folder).iterdir())

    holds(request, 0.3, stores(), check)


def test_stored_ids_are_those_given(request):
    taken = []

    def check(ids):
        with tempfile.TemporaryDirectory() as folder:
            log_probs = torch.zeros(len(ids), 2, 2).log_softmax(-1)
            store = attempt(lambda ids: tn.write_store(Path(folder) / "store", log_probs, ids=ids), {"ids": ids})
            taken.append(store is not None)
            assert store is None or store.ids == [str(name) for name in ids]

    holds(request, 0.15, st.integers(1, 4).flatmap(inputs.ids), check)
    assert sum(taken) > 0.4 * len(taken)


def test_opening_stores(request, tmp_path):
    path = tn.write_store(tmp_path / "store", torch.zeros(2, 2, 2).log_softmax(-1)).path
    paths = st.one_of(st.just(path), st.just(str(path)), inputs.anything())
    verify = st.one_of(st.booleans(), inputs.anything())

    def check(given):
        store = attempt(tn.Store.open, dict(zip(("path", "verify"), given, strict=True)))
        assert store is None or len(store) == 2

    holds(request, 0.5, st.tuples(paths, verify), check)


class Means(tn.BayesianModel):
    """A model that is fitted in no time: the distances from the means of classes."""

    samples = 2

    def fit(self, inputs, labels_n, *, seed=0, validation=None):
        items, labels_n = torch.as_tensor(inputs).double(), torch.as_tensor(labels_n)
        self.means = torch.stack([items[labels_n == label].sum(0) for label in range(2)])

    def members(self):
        means = getattr(self, "means", torch.zeros(2, 3, dtype=torch.float64))
        for scale in (1.0, 2.0):
            yield lambda items, scale=scale: (-scale * torch.cdist(items.double(), means))[:, None].log_softmax(-1)

    def features(self, inputs):
        return torch.as_tensor(inputs).float()


class Squares:
    """A dataset of six items in two classes."""

    def __repr__(self):
        return "Squares()"

    def load(self):
        items, labels = torch.arange(18.0).view(6, 3), torch.arange(6) % 2
        return tn.datasets.Dataset("squares", items, labels, items, labels, ("a", "b"), "squares")


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2))


def training(**settings):
    return tn.Training(**{"iterations": 1} | settings)


def dropout(**settings):
    return tn.MCDropout(**{"network": network(), "samples": 2, "training": training()} | settings)


def fitted(fit, **arguments):
    model = dropout()
    model.fit(**arguments)
    return tn.predict(model, torch.zeros(2, 3))


ITEMS = st.sampled_from((torch.arange(18.0).view(6, 3), np.ones((6, 3)), np.ones((6, 3), ">f4")[::-1]))
CLASSES = st.sampled_from(([0, 1] * 3, torch.arange(6) % 2, np.arange(6, dtype=np.uint8) % 2))
MODELS = st.sampled_from((Means, dropout)).map(lambda make: make())
ANYTHING = inputs.anything().filter(lambda given: not isinstance(given, BuiltinFunctionType))
"""Functions such as ``len`` raise errors of their own, and so may those of users."""

SEEDS = st.sampled_from((0, np.int64(3)))

ENTRANCES = {
    "rounds": (
        lambda **given: list(tn.rounds(**given)),
        {
            "pool": ITEMS.map(lambda items: tn.Pool(items, {0: 0, 3: 1})),
            "model": MODELS,
            "method": st.sampled_from((None, "random", "BALD", tn.CoreSet())),
            "k": inputs.counts(2),
            "oracle": CLASSES.map(tn.KnownLabels),
            "max_labels": inputs.counts(6),
        },
        {
            "optimizer": st.none(),
            "metrics": st.just(tn.accuracy(torch.zeros(2, 3), [0, 1])),
            "validation": st.none(),
            "seed": SEEDS,
            "device": st.just("cpu"),
            "memory": st.just("1GB"),
            "backend": st.none(),
        },
    ),
    "Pool": (tn.Pool, {"inputs": ITEMS}, {"labels": st.just({0: 1, 5: np.int64(0)})}),
    "Pool.label": (
        lambda **given: tn.Pool(torch.zeros(6, 3)).label(**given),
        {"rows": st.one_of(st.permutations(range(6)), inputs.wrong_rows(6)), "labels": CLASSES},
        {},
    ),
    "predict": (
        tn.predict,
        {"model": MODELS, "inputs": ITEMS},
        {"rows": st.one_of(inputs.rows([0, 4, 5], 6), inputs.wrong_rows(6)), "block_size": inputs.counts(7)}
        | {"features": st.none(), "dtype": st.just(torch.float32), "ids": st.none(), "about": st.none()},
    ),
    "features": (
        tn.features,
        {"model": MODELS, "inputs": ITEMS},
        {"device": st.none(), "block_size": inputs.counts(7)},
    ),
    "fit": (
        partial(fitted, None),
        {"inputs": ITEMS, "labels_n": CLASSES},
        {"seed": SEEDS, "validation": st.tuples(ITEMS, CLASSES)},
    ),
    "metrics": (
        lambda **given: tn.all_metrics(**given)(Means()),
        {"inputs": ITEMS, "labels": CLASSES},
        {"bins": inputs.counts(20)},
    ),
    "Training": (
        lambda **given: tn.MCDropout(network(), 2, training(**given)).fit(torch.zeros(4, 3), [0, 1, 0, 1]),
        {},
        {
            "optimizer": st.just(torch.optim.SGD),
            "learning_rate": st.just(0.1),
            "weight_decay": st.just(0.0),
            "iterations": inputs.counts(2),
            "epochs": inputs.counts(2),
            "batch_size": inputs.counts(3),
            "device": st.just("cpu"),
            "patience": inputs.counts(2),
        },
    ),
    "MCDropout": (
        lambda **given: tn.predict(dropout(**given), torch.zeros(2, 3)),
        {},
        {"network": st.builds(network), "samples": inputs.counts(3), "training": st.builds(training), "seed": SEEDS},
    ),
    "KnownLabels": (
        lambda labels, rows: tn.KnownLabels(labels)(rows),
        {"labels": CLASSES, "rows": st.one_of(inputs.rows([1, 5], 6), inputs.wrong_rows(6))},
        {},
    ),
    "balanced_rows": (tn.balanced_rows, {"labels_N": CLASSES, "count": inputs.counts(6), "seed": SEEDS}, {}),
    "Experiment": (
        lambda **given: in_a_folder(lambda folder: tn.run(tn.Experiment(**given), folder, seeds=[0])),
        {
            "name": st.just("squares"),
            "dataset": st.builds(Squares),
            "model": st.just(Means),
            "methods": st.sampled_from((["random"], {"a": tn.Method("BALD")})),
            "initial_labels": inputs.counts(2),
            "k": inputs.counts(2),
            "max_labels": st.just(3),
        },
        {"device": st.just("cpu"), "seeds": st.just((0, 1)), "validation": st.just(2)},
    ),
    "run": (
        lambda **given: in_a_folder(lambda folder: tn.run(**{"folder": folder} | given)),
        {
            "experiment": st.builds(
                tn.Experiment,
                st.just("s"),
                st.builds(Squares),
                st.just(Means),
                st.just(["random"]),
                *map(st.just, (2, 1, 3)),
            ),
            "seeds": st.sampled_from(([0], range(2), np.arange(1))),
        },
        {"methods": st.just(["random"])},
    ),
}
"""For each function: the call, its arguments, and those that may be left out."""


def in_a_folder(call):
    with tempfile.TemporaryDirectory() as folder:
        return call(str(Path(folder) / "x"))


@st.composite
def arguments_of(draw, required, others):
    names = [*required, *(name for name in sorted(others) if draw(st.booleans()))]
    given = {name: draw((required | others)[name]) for name in names}
    for name in draw(st.lists(st.sampled_from(sorted(required | others)), max_size=2, unique=True)):
        given[name] = draw(ANYTHING)
    return given


@pytest.mark.parametrize("name", ENTRANCES)
def test_entrances(request, name, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # of progress bars
    monkeypatch.setattr(one_run, "commit", lambda: None)
    call, required, others = ENTRANCES[name]
    holds(request, 0.15, arguments_of(required, others), lambda given: attempt(call, given))


@pytest.mark.parametrize("name", ENTRANCES)
def test_right_arguments_are_taken(request, name, monkeypatch):
    """So the property above is not one of refusals alone."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    call, required, _ = ENTRANCES[name]
    made = []

    def check(given):
        try:
            call(**given)
            made.append(True)
        except tn.TonsureError:
            made.append(False)

    holds(request, 0.02, st.fixed_dictionaries(required), check)
    assert any(made)
