"""Whatever a caller gives: an answer that holds its contract, or an error of ours, and never anything else.

The number of examples is ``--examples``, 10⁵ for example; the ordinary run has few, and always the same.
"""

import tempfile
from copy import deepcopy
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import tonsure as tn
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
    assert set(rows) <= may_choose(arguments, 12)
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
            "ids": st.one_of(st.just([str(row) for row in range(N)]), inputs.anything()),
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


def test_paths_of_stores(request):
    holds(request, 0.5, inputs.anything(), lambda path: attempt(tn.Store.open, {"path": path}))
