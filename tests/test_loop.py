import warnings

import numpy as np
import pytest
import torch
from torch import nn

import tonsure as tn
from tonsure.seeding import derive_seed


class Favorite(tn.BayesianModel):
    """Predicts from the inputs alone: the larger the input, the more its two samples disagree."""

    samples = 2

    def __init__(self):
        self.fitted = []

    def fit(self, inputs, labels_n, *, seed=0):
        self.fitted.append((inputs.flatten().tolist(), labels_n.tolist(), seed))

    def members(self):
        yield lambda inputs: torch.stack([torch.cat([x, -x], 1) for x in (inputs, -inputs)], 1).log_softmax(-1)


@pytest.fixture
def pool():
    values = torch.tensor([3.0, 0.1, 0.9, 0.5, 2.0, 0.7, 0.2])
    return tn.Pool(values[:, None], labels={0: 1})


def test_the_best_item_of_the_pool_is_the_one_that_is_labeled(pool):
    """Row numbers go from the unlabeled part to the pool and to the label source."""
    asked = []

    def ask(rows):
        asked.extend(rows.tolist())
        return rows % 2

    model = Favorite()
    found = list(tn.rounds(pool, model, tn.Pointwise(tn.bald), 2, oracle=ask, max_labels=6))
    assert asked == [4, 2, 5, 3, 6]
    assert [turn.rows for turn in found] == [[4, 2], [5, 3], [6], []]
    assert [turn.labeled for turn in found] == [1, 3, 5, 6]
    assert pool.labeled_rows.tolist() == [0, 4, 2, 5, 3, 6]
    assert pool.labels.tolist() == [1, 0, 0, 1, 1, 0]
    assert model.fitted[1][:2] == ([3.0, 2.0, pytest.approx(0.9)], [1, 0, 0])


def test_what_a_round_says(pool):
    measure = tn.accuracy(torch.ones(4, 1), torch.tensor([0, 1, 0, 1]))
    turn = next(
        tn.rounds(
            pool, Favorite(), tn.Pointwise(tn.bald), 2, oracle=lambda rows: rows % 2, max_labels=6, metrics=measure
        )
    )
    assert turn.metrics == {"accuracy": 0.5}
    assert turn.labels == [row % 2 for row in turn.rows]
    assert turn.positive == 2
    assert turn.gains[0] > turn.gains[1] > 0
    assert set(turn.seconds) == {"fit", "predict", "select"}
    assert 10_000_000 < turn.peak_memory < 100_000_000_000


def test_seeds_depend_on_the_seed_and_on_the_number_of_labels_alone(pool):
    def seeds(seed, labels):
        model = Favorite()
        list(
            tn.rounds(
                tn.Pool(pool.inputs, labels),
                model,
                tn.Random(),
                2,
                oracle=lambda rows: rows % 2,
                max_labels=5,
                seed=seed,
            )
        )
        return [fitted[2] for fitted in model.fitted]

    whole, resumed = seeds(3, {0: 1}), seeds(3, {0: 1, 5: 1, 6: 1})
    assert whole[1:] == resumed
    assert len({*whole, *seeds(4, {0: 1})}) == 6


def test_the_pool_may_run_out(pool):
    found = list(tn.rounds(pool, Favorite(), tn.Random(), 4, oracle=lambda rows: rows % 2, max_labels=100))
    assert [len(turn.rows) for turn in found] == [4, 2, 0]
    assert pool.unlabeled_rows.tolist() == []


def test_warnings_are_given_and_kept(pool):
    with pytest.warns(tn.SelectionWarning, match="of the 5 rows have a positive gain") as caught:
        turn = next(tn.rounds(pool, Favorite(), tn.LargeBatchBALD(50.0), 5, oracle=lambda rows: rows % 2, max_labels=6))
    assert turn.warnings == [str(caught[0].message)]


def test_warnings_that_nobody_wants_to_see_are_kept(pool):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        turns = list(
            tn.rounds(pool, Favorite(), tn.LargeBatchBALD(50.0), 3, oracle=lambda rows: rows % 2, max_labels=7)
        )
    assert [len(turn.warnings) for turn in turns] == [1, 1, 0]


def test_a_refused_label_leaves_the_pool_as_it_was(pool):
    turns = tn.rounds(pool, Favorite(), tn.Random(), 2, oracle=lambda rows: rows * 0 - 1, max_labels=6)
    with pytest.raises(tn.InputError, match="answer of the oracle holds -1, at place 0, expected 2 classes"):
        next(turns)
    assert pool.labeled_rows.tolist() == [0]


CLOUDS = torch.tensor([[5.0, 0], [5, 1], [0, 5], [1, 5], [5, 0.5], [0.5, 5], [-5, -5]])
"""Features of the pool: three, three and one."""


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (tn.FacilityLocation(), tn.FacilityLocation(score=None)),
        (tn.UncertaintyHerding(), tn.MaxHerding()),
        (tn.LCMD(), tn.LCMD()),
        (tn.UncertaintyHerding(most=4), tn.MaxHerding(most=4)),
        (None, tn.FacilityLocation(score=None)),
    ],
)
def test_without_a_label_the_method_covers_the_pool(pool, method, expected):
    """Favorite would fail if it were asked before it was fitted, as ``fitted`` would then lack its first fit."""
    model, own = Features(), tn.Pool(pool.inputs, features=CLOUDS)
    turns = tn.rounds(own, model, method, 3, oracle=lambda rows: rows % 2, max_labels=5, metrics=lambda _: {"x": 1.0})
    first = next(turns)
    assert model.asked == model.fitted == []
    assert first.rows == tn.select(None, expected, 3, features=CLOUDS, seed=derive_seed(0, 0, 1)).rows.tolist()
    assert (first.labeled, first.metrics, first.seconds["fit"]) == (0, {}, 0.0)
    second = next(turns)
    assert (second.labeled, second.metrics, len(model.fitted)) == (3, {"x": 1.0}, 1)
    assert pool.inputs[first.rows].flatten().tolist() == model.fitted[0][0]


@pytest.mark.parametrize(
    "method",
    ["LBB", tn.PredictionCoverage(), tn.BADGE(), tn.CoreSet(), tn.ProbCover(), tn.FacilityLocation(), "random"],
)
def test_without_a_label_rows_are_drawn_where_the_method_needs_a_model(pool, method):
    """FacilityLocation, too, has nothing to look at where the pool has no features."""
    own = CLOUDS if method != tn.FacilityLocation() else None

    def first(seed):
        empty, model = tn.Pool(pool.inputs, features=own), Features()
        found = next(tn.rounds(empty, model, method, 3, oracle=lambda r: r % 2, max_labels=5, seed=seed, memory="1GB"))
        assert model.asked == []
        assert found.rows == empty.labeled_rows.tolist()
        assert found.gains == [0, 0, 0]
        return tuple(found.rows)

    assert first(0) == first(0)
    assert len({first(seed) for seed in range(8)}) > 4
    assert set().union(*(first(seed) for seed in range(8))) == set(range(7))


def test_no_rows_are_asked_for(pool):
    with pytest.raises(tn.InputError, match="k is 0"):
        next(tn.rounds(pool, Favorite(), tn.Random(), 0, oracle=lambda rows: rows % 2, max_labels=6))


def test_validation_goes_to_the_model_and_only_where_there_is_any(pool):
    class Stopping(Favorite):
        def fit(self, inputs, labels_n, *, seed=0, validation=None):
            self.validation = validation

    model, validation = Stopping(), (torch.ones(3, 1), torch.tensor([0, 1, 1]))
    next(tn.rounds(pool, model, tn.Random(), 2, oracle=lambda rows: rows % 2, max_labels=5, validation=validation))
    assert all(torch.equal(one, other) for one, other in zip(model.validation, validation, strict=True))
    with pytest.raises(tn.InputError, match=r"Favorite\.fit takes no validation"):
        next(
            tn.rounds(
                pool, Favorite(), tn.Random(), 2, oracle=lambda rows: rows % 2, max_labels=5, validation=validation
            )
        )


class Features(Favorite):
    """Counts what it is asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def features(self, inputs):
        self.asked.append("features")
        return inputs

    def members(self):
        self.asked.append("predictions")
        yield from super().members()


class Farthest(tn.Strategy):
    """Notes what it sees."""

    needs_features = needs_predictions = needs_labeled_predictions = needs_held_out_predictions = False
    uses_last_layer = False

    def __init__(self, **needs):
        self.views = []
        vars(self).update(needs)

    def choose(self, view, k, generator):
        self.views.append((view, k, generator.initial_seed()))
        return tn.Selection(view.unlabeled_rows.flip(0)[:k], torch.arange(1.0, k + 1).double())


def test_a_strategy_sees_what_it_needs_and_no_more(pool):
    for needs, asked in (
        ({}, []),
        ({"needs_features": True}, ["features"]),
        ({"needs_predictions": True}, ["predictions"]),
        ({"needs_features": True, "needs_labeled_predictions": True}, ["features", "predictions"]),
    ):
        model, strategy = Features(), Farthest(**needs)
        next(
            tn.rounds(
                tn.Pool(pool.inputs, {2: 1, 0: 1}),
                model,
                strategy,
                2,
                oracle=lambda rows: rows % 2,
                max_labels=7,
                seed=5,
            )
        )
        assert model.asked == asked
        [(view, k, seed)] = strategy.views
        assert (k, seed) == (2, derive_seed(5, 2, 1))
        assert (view.labeled_rows.tolist(), view.unlabeled_rows.tolist()) == ([2, 0], [1, 3, 4, 5, 6])
        assert view.labels_m.tolist() == [1, 1]
        assert (view.features_N_D is not None) == ("needs_features" in needs)
        if "needs_predictions" in needs:
            assert torch.equal(view.log_probs_n_K_C, tn.predict(model, pool.inputs, view.unlabeled_rows))
        if "needs_labeled_predictions" in needs:
            assert torch.equal(view.labeled_log_probs_m_K_C, tn.predict(model, pool.inputs, [2, 0]))


@pytest.mark.parametrize(
    ("needs", "asked"),
    [
        ({"needs_features": True}, []),
        ({"needs_features": True, "uses_last_layer": True}, ["features"]),
        ({}, []),
    ],
)
def test_features_of_the_pool_come_before_those_of_the_model(pool, needs, asked):
    model, strategy = Features(), Farthest(**needs)
    encoded = np.arange(21, dtype=np.float32).reshape(7, 3)
    own = tn.Pool(pool.inputs, {0: 1}, features=encoded)
    next(tn.rounds(own, model, strategy, 2, oracle=lambda rows: rows % 2, max_labels=7))
    assert model.asked == asked
    [(view, _, _)] = strategy.views
    assert (view.features_N_D is None) if not needs else np.array_equal(view.features_N_D, encoded)
    assert torch.equal(view.last_layer_N_D, pool.inputs) if asked else view.last_layer_N_D is None


def test_features_of_the_pool_make_the_default(pool):
    """Favorite has no features of its own. The rows 1 and 2 are what its label does not cover."""
    encoded = torch.tensor([[1.0, 0], [0, 1], [0, 1], [1, 0], [1, 0], [1, 0], [1, 0]])

    def first(method, features):
        own = tn.Pool(pool.inputs, {0: 1}, features=features)
        turn = next(tn.rounds(own, Favorite(), method, 1, oracle=lambda rows: rows % 2, max_labels=2))
        return turn.rows, turn.gains

    assert first(None, encoded) == first(tn.FacilityLocation(), encoded)
    assert first(None, encoded)[0][0] in (1, 2)
    assert first(None, None) == first(tn.PredictionCoverage(), None) != first(None, encoded)


class Timed(Favorite):
    """Notes all fits, those of its copies too; a fit takes a second, as a prediction does, and makes it more sure."""

    def __init__(self, fits, clock):
        self.fits, self.clock, self.last = fits, clock, None

    def __deepcopy__(self, memo):
        return type(self)(self.fits, self.clock)

    def fit(self, inputs, labels_n, *, seed=0, validation=None):
        self.last = (inputs.flatten().tolist(), labels_n.tolist(), seed, validation)
        self.fits.append(self.last)
        self.clock[0] += 1

    def members(self):
        self.clock[0] += 1
        for member in super().members():
            yield lambda inputs, member=member: member(len(self.last[1]) * inputs)


def watched_round(labels, monkeypatch, seed=5, N=40, **options):
    """What a strategy sees that asks for held-out predictions, with the fits of its round and the seconds."""
    fits, clock, strategy = [], [0.0], Farthest(needs_held_out_predictions=True)
    monkeypatch.setattr(tn.loop.rounds.time, "perf_counter", lambda: clock[0])
    model, pool = Timed(fits, clock), tn.Pool(torch.arange(float(N))[:, None], labels)
    turn = next(tn.rounds(pool, model, strategy, 2, oracle=lambda rows: rows % 2, max_labels=39, seed=seed, **options))
    monkeypatch.undo()
    assert model.last == fits[0]  # what was fitted to all labels is left as it was
    return strategy.views[0][0], fits, turn.seconds


@pytest.mark.parametrize("labeled", [range(10), range(30, 9, -1), range(3)])
def test_held_out_predictions_are_those_of_a_model_without_their_labels(labeled, monkeypatch):
    labels = {row: int(row > 4) for row in labeled}
    view, fits, seconds = watched_round(labels, monkeypatch)
    assert len(view.held_out_rows) == round(0.3 * len(labels))
    [whole, part] = fits
    assert whole[:2] == ([*map(float, labels)], [*labels.values()])
    assert sorted([*view.held_out_rows.tolist(), *map(int, part[0])]) == sorted(labels)
    assert part[1] == [labels[int(row)] for row in part[0]] == [int(row > 4) for row in part[0]]
    assert view.held_out_labels().tolist() == [labels[row] for row in view.held_out_rows.tolist()]
    expected = tn.predict(Favorite(), len(part[0]) * torch.arange(40.0)[:, None], view.held_out_rows)
    assert torch.equal(view.held_out_log_probs_n_K_C, expected)
    assert seconds == {"fit": 1, "predict": 0, "select": 2}


def test_what_is_held_out_depends_on_the_seed_and_the_number_of_labels(monkeypatch):
    labels = {row: row % 2 for row in range(12)}
    drawn = [watched_round(labels, monkeypatch, seed)[0].held_out_rows.tolist() for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(map(tuple, drawn))) == 3
    for seed in range(30):
        rare = {row: int(row == 4) for row in range(6)}  # two classes remain to be fitted
        assert 4 not in watched_round(rare, monkeypatch, seed)[0].held_out_rows.tolist()
    one = {row: 1 for row in range(6)}
    assert len(watched_round(one, monkeypatch)[0].held_out_rows) == 2


@pytest.mark.parametrize("labels", [{3: 1}, {3: 1, 8: 0}])
def test_of_one_or_two_labels_none_is_held_out(labels, monkeypatch):
    view, fits, _ = watched_round(labels, monkeypatch)
    assert len(fits) == 1
    assert len(view.held_out_rows) == len(view.held_out_log_probs_n_K_C) == 0


def test_the_validation_is_for_the_second_fit_too(monkeypatch):
    validation = (torch.ones(3, 1), torch.tensor([0, 1, 1]))
    _, fits, _ = watched_round({row: row % 2 for row in range(5)}, monkeypatch, validation=validation)
    for fit in fits:
        assert all(torch.equal(one, other) for one, other in zip(fit[3], validation, strict=True))


def test_the_rows_of_a_strategy_are_labeled(pool):
    found = list(tn.rounds(pool, Features(), Farthest(), 2, oracle=lambda rows: rows % 2, max_labels=6))
    assert [turn.rows for turn in found] == [[6, 5], [4, 3], [2], []]
    assert [turn.gains for turn in found] == [[1.0, 2.0], [1.0, 2.0], [1.0], []]
    assert pool.labeled_rows.tolist() == [0, 6, 5, 4, 3, 2]
    assert [turn.positive for turn in found] == [2, 2, 1, 0]


def test_an_objective_is_searched_under_the_seed_of_its_round(pool):
    """By hand, so that records of an older version go on as they would have."""
    turn = next(tn.rounds(pool, Favorite(), tn.Random(), 3, oracle=lambda rows: rows % 2, max_labels=7, seed=8))
    rows = torch.arange(1, 7)
    log_probs = tn.predict(Favorite(), pool.inputs, rows)
    assert turn.rows == rows[tn.select(log_probs, tn.Random(), 3, seed=derive_seed(8, 1, 1)).rows].tolist()


def test_a_strategy_and_an_optimizer_are_refused(pool):
    turns = tn.rounds(
        pool, Features(), tn.CoreSet(), 2, oracle=lambda rows: rows % 2, max_labels=6, optimizer=tn.TopK()
    )
    with pytest.raises(tn.InputError, match=r"CoreSet\(\) takes no optimizer, found TopK"):
        next(turns)


def test_a_model_without_features_is_refused_where_they_are_needed(pool):
    with pytest.raises(tn.InputError, match="has no features"):
        next(tn.rounds(pool, Favorite(), tn.CoreSet(), 2, oracle=lambda rows: rows % 2, max_labels=6))


def test_warnings_of_a_strategy_are_kept(pool):
    same = tn.Pool(torch.ones(6, 1), {0: 1})
    with pytest.warns(tn.SelectionWarning, match="only 0 of the 2 rows have a positive gain"):
        turn = next(tn.rounds(same, Features(), tn.CoreSet(), 2, oracle=lambda rows: rows % 2, max_labels=6))
    assert turn.positive == 0
    assert len(turn.warnings) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([0], r"the oracle gave 1 labels for the 2 rows \[4, 2\]"),
        ([0, 1, 1], "the oracle gave 3 labels for the 2 rows"),
        ([0, 2], "the oracle gave row 2 the label 2, but the model has 2 classes, 0 to 1"),
        (["cat", "dog"], "answer of the oracle is <U3 .*, expected 2 classes, numbered from 0"),
        ([0.0, 1.0], "answer of the oracle is float64"),
        ([True, False], "answer of the oracle is 2 booleans"),
        ([0, None], "answer of the oracle is object"),
        ([[0], [1]], r"answer of the oracle is int64 of shape \(2, 1\)"),
        ({4: 0, 2: 1}, "answer of the oracle is {4: 0, 2: 1}"),
        ({0, 1}, "answer of the oracle is {0, 1}"),
        ("01", "answer of the oracle is '01'"),
        (None, "answer of the oracle is None"),
    ],
)
def test_an_answer_that_is_none_is_refused_before_it_is_recorded(pool, answer, message):
    arguments = pool, Favorite(), tn.Pointwise(tn.bald), 2
    with pytest.raises(tn.InputError, match=message):
        next(tn.rounds(*arguments, oracle=lambda rows: answer, max_labels=6))
    assert pool.labeled_rows.tolist() == [0]
    assert next(tn.rounds(*arguments, oracle=lambda rows: [0, 1], max_labels=6)).rows == [4, 2]


@pytest.mark.parametrize("convert", [list, tuple, np.array, torch.tensor, lambda labels: np.array(labels, np.uint8)])
def test_answers_of_many_kinds(pool, convert):
    turns = list(tn.rounds(pool, Favorite(), "BALD", 2, oracle=lambda rows: convert([1] * len(rows)), max_labels=4))
    assert [turn.labels for turn in turns] == [[1, 1], [1], []]
    assert pool.labels.tolist() == [1, 1, 1, 1]


def test_an_oracle_may_change_the_rows_it_is_given(pool):
    next(tn.rounds(pool, Favorite(), "BALD", 2, oracle=lambda rows: rows.mul_(0).tolist(), max_labels=4))
    assert pool.labeled_rows.tolist() == [0, 4, 2]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            {"pool": torch.zeros(3, 1)},
            r"pool is a Tensor .*, expected an object such as tonsure\.Pool\(inputs, labels\)",
        ),
        ({"pool": tn.Pool}, "pool is the class Pool"),
        ({"model": Favorite}, "model is the class Favorite, expected an object such as"),
        ({"model": torch.nn.Linear(1, 2)}, "model is a Linear|model is Linear"),
        ({"method": tn.CoreSet}, "CoreSet"),
        ({"oracle": tn.KnownLabels}, "oracle is the class KnownLabels, expected a function"),
        ({"oracle": [1, 0]}, r"oracle is \[1, 0\]"),
        ({"k": 1.5}, "k is 1.5"),
        ({"k": "2"}, "k is '2'"),
        ({"max_labels": None}, "max_labels is None"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": "0"}, "seed is '0'"),
        ({"device": "gpu"}, "the device 'gpu' cannot be used"),
        ({"device": "meta"}, "the device 'meta' cannot be used"),
        ({"metrics": tn.loop.metrics.Metrics}, "metrics is the class Metrics"),
        ({"metrics": lambda model: 0.5}, "what metrics returns is 0.5, expected a dict from names to numbers"),
        ({"validation": (torch.zeros(1, 1), torch.zeros(1))}, "takes no validation"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_arguments_of_other_kinds_are_refused(pool, argument, message):
    given = {
        "pool": pool,
        "model": Favorite(),
        "method": "BALD",
        "k": 2,
        "oracle": lambda rows: rows % 2,
        "max_labels": 4,
    }
    with pytest.raises(tn.InputError, match=message):
        next(tn.rounds(**{**given, **argument}))
    assert pool.labeled_rows.tolist() == [0]


def test_numbers_of_other_libraries_are_arguments(pool):
    def rows(number):
        fresh = tn.Pool(pool.inputs, {0: 1})
        turns = tn.rounds(
            fresh, Favorite(), "Random", number(2), oracle=lambda rows: rows % 2, max_labels=number(5), seed=number(3)
        )
        return [turn.rows for turn in turns]

    assert rows(int) == rows(np.int64) == rows(torch.tensor)


@pytest.mark.parametrize("kind", ["dropout", "ensemble"])
def test_the_surroundings_do_not_matter(kind):
    def network():
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.5 if kind == "dropout" else 0), nn.Linear(8, 3))

    def found():
        training = tn.Training(iterations=3)
        model = tn.MCDropout(dropped, 4, training) if kind == "dropout" else tn.Ensemble(network, 3, training)
        turns = tn.rounds(
            tn.Pool(inputs, {0: 0, 1: 1}), model, None, 2, oracle=lambda rows: rows % 3, max_labels=5, metrics=measure
        )
        turns = [(turn.rows, turn.gains, turn.metrics) for turn in turns]
        first = next(iter(model.members()))(inputs.clone())
        return turns, model.log_probs(inputs), tn.predict(model, inputs), model.features(inputs), first

    inputs = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    measure = tn.all_metrics(inputs, torch.arange(20) % 3)
    torch.manual_seed(0)
    dropped = network()
    expected = found()
    for surroundings in (
        torch.inference_mode(),
        torch.no_grad(),
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.device("meta"),
    ):
        with surroundings:
            turns, *tensors = found()
        assert turns == expected[0], surroundings
        for one, other in zip(tensors, expected[1:], strict=True):
            assert torch.equal(one, other), surroundings
            assert not one.is_inference()
            assert not one.requires_grad
