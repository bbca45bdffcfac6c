from collections import Counter

import ml_dtypes
import numpy as np
import pytest
import torch

import tonsure as tn
from cases import REPRESENTATIVES
from tonsure.predictions.checks import check_features

LBB = tn.LargeBatchBALD()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_and_arrays_of_every_type(make_log_probs, dtype):
    log_probs = make_log_probs(40, impossible=True).to(dtype)
    expected = tn.select(log_probs.double().log_softmax(-1), LBB, 5)
    array = log_probs.cpu().double().numpy().astype(ml_dtypes.bfloat16 if dtype == torch.bfloat16 else str(dtype)[6:])
    array.setflags(write=False)
    for predictions in (log_probs, array):
        chosen = tn.select(predictions, LBB, 5)
        assert chosen.rows.tolist() == expected.rows.tolist()
        torch.testing.assert_close(chosen.gains, expected.gains, atol=1e-5, rtol=0)


def test_what_a_selection_says(make_log_probs):
    log_probs = make_log_probs(40, K=40)
    chosen = tn.select(log_probs, tn.Pointwise(tn.bald), 4)
    assert len(chosen) == 4
    assert chosen.rows.tolist() == tn.bald(log_probs).sort(descending=True).indices[:4].tolist()
    assert chosen.gains.tolist() == pytest.approx(tn.bald(log_probs)[chosen.rows].tolist())
    assert chosen.positive == 4
    assert chosen.standard_error == 0
    assert tn.select(log_probs, tn.BatchBALD(labelings=32), 5).standard_error > 0


def test_impossible_classes_are_exact(make_log_probs):
    """A class that no sample thinks possible changes nothing."""
    log_probs = make_log_probs()
    padded = torch.cat([log_probs, torch.full_like(log_probs[..., :1], -torch.inf)], -1)
    for objective in (
        LBB,
        tn.BatchBALD(),
        tn.Pointwise(tn.bald),
        tn.Pointwise(tn.entropy),
        tn.Pointwise(tn.margin),
    ):
        expected, found = (tn.select(items, objective, 5) for items in (log_probs, padded))
        assert found.rows.tolist() == expected.rows.tolist()
        torch.testing.assert_close(found.gains, expected.gains, atol=1e-12, rtol=0)


def test_without_an_objective_it_is_the_default(make_log_probs):
    log_probs = make_log_probs(60, K=10)
    for options in ({}, {"seed": 3}, {"labeled": [3, 5]}):
        expected = tn.select(log_probs, tn.PredictionCoverage(), 6, **options).rows.tolist()
        assert tn.select(log_probs, k=6, **options).rows.tolist() == expected
    with pytest.raises(tn.InputError, match=r"the default, PredictionCoverage\(.*\), takes no optimizer, found Greedy"):
        tn.select(log_probs, k=6, optimizer=tn.Greedy())
    assert len(tn.select(log_probs[:, :1], k=6)) == 6  # of one sample, too
    with pytest.raises(
        tn.InputError, match="k is None, expected a whole number from 1 to 60, the number of rows that may be chosen"
    ):
        tn.select(log_probs)


def test_the_default_optimizer_suits_the_objective(make_log_probs):
    log_probs = make_log_probs(60, K=40)
    for objective, by in (
        (LBB, tn.Greedy()),
        (tn.BatchBALD(), tn.Greedy()),
        (tn.Pointwise(tn.entropy), tn.TopK()),
        (tn.Random(), tn.PowerSample()),
    ):
        expected = tn.select(log_probs, objective, 4, optimizer=by).rows.tolist()
        assert tn.select(log_probs, objective, 4).rows.tolist() == expected


def test_the_generators_of_torch_and_numpy_are_left_alone(make_log_probs):
    log_probs = make_log_probs()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    tn.select(log_probs, tn.Random(), 5, seed=3)
    tn.select(log_probs, tn.BatchBALD(labelings=32), 5)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()


def test_gradients_are_not_followed(make_log_probs):
    log_probs = make_log_probs().requires_grad_()
    assert not tn.select(log_probs, LBB, 3).gains.requires_grad


BAD_VALUES = [
    (torch.nan, "row 5, sample 2 of the predictions .* holds nan, at class 1"),
    (torch.inf, r"row 5, sample 2 of the predictions .* holds \+inf, at class 1"),
    (0.0, r"row 5, sample 2 .* sum to 1\.\d+, off by \+0\.\d+\. If these are logits"),
    (-torch.inf, r"row 5, sample 2 .* sum to 0\.\d+, off by -0\.\d+"),
]


@pytest.mark.parametrize(("value", "message"), BAD_VALUES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_values_that_are_no_log_probabilities(make_log_probs, value, message, dtype):
    log_probs = make_log_probs(dtype=dtype)
    log_probs[5:, 2:, 1] = value
    with pytest.raises(tn.InputError, match=message):
        tn.select(log_probs, LBB, 3)
    with pytest.raises(tn.InputError, match=message):
        tn.select([log_probs[:4], log_probs[4:]], LBB, 3)


def test_probabilities_are_told_from_log_probabilities(make_log_probs):
    with pytest.raises(tn.InputError, match="look like probabilities: pass their logarithm"):
        tn.select(make_log_probs().exp(), LBB, 3)


BAD_SHAPES = [
    ((24, 3), r"shape \(24, 3\), expected three axes .*log_probs\[:, None, :\]"),
    ((24, 6, 3, 1), r"shape \(24, 6, 3, 1\), expected three axes"),
    ((0, 6, 3), r"the pool is empty: the predictions have shape \(0, 6, 3\)"),
    ((24, 6, 1), "C = 1 classes, expected at least 1 and at least 2"),
    ((24, 0, 3), "K = 0 posterior samples"),
]


@pytest.mark.parametrize(("shape", "message"), BAD_SHAPES)
def test_shapes_that_are_no_predictions(shape, message):
    with pytest.raises(tn.InputError, match=message):
        tn.select(torch.zeros(shape), LBB, 1)


@pytest.mark.parametrize("k", [0, -1, 25, True])
def test_a_batch_that_the_pool_cannot_give(make_log_probs, k):
    with pytest.raises(tn.InputError, match=f"k is {k!r}, expected a whole number from 1 to 24"):
        tn.select(make_log_probs(), LBB, k)


@pytest.mark.parametrize(
    "objective",
    [LBB, tn.BatchBALD(), tn.LogDet(), *map(tn.Pointwise, (tn.bald, tn.mean_std, tn.variation_ratio))],
    ids=repr,
)
def test_one_sample_cannot_disagree(make_log_probs, objective):
    with pytest.raises(tn.InputError, match=r"needs at least 2, but the predictions have shape \(24, 1, 3\)"):
        tn.select(make_log_probs(K=1), objective, 3)


@pytest.mark.parametrize("score", [tn.entropy, tn.margin, tn.least_confidence])
def test_one_sample_is_enough_for_uncertainty(make_log_probs, score):
    assert tn.select(make_log_probs(K=1), tn.Pointwise(score), 3).positive == 3


def test_empty_parts_do_no_harm(make_log_probs):
    log_probs = make_log_probs()
    parts = [log_probs[:0], log_probs[:9], log_probs[:0], log_probs[9:], log_probs[:0]]
    assert tn.select(parts, LBB, 3).rows.tolist() == tn.select(log_probs, LBB, 3).rows.tolist()


def test_parts_that_differ(make_log_probs):
    log_probs = make_log_probs()
    with pytest.raises(tn.InputError, match=r"the one from row 20 on \(5, 3, "):
        tn.select([log_probs[:20], log_probs[20:, :5]], LBB, 3)
    with pytest.raises(tn.InputError, match=r"the one from row 20 on .*float32"):
        tn.select([log_probs[:20], log_probs[20:].float()], LBB, 3)
    with pytest.raises(tn.InputError, match="the pool is empty"):
        tn.select([], LBB, 3)


@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "U3"])
def test_types_that_are_no_numbers_with_a_point(dtype):
    with pytest.raises(tn.InputError, match=r"expected (float16, bfloat16, float32 or float64|numbers)"):
        tn.select(np.zeros((4, 2, 3), dtype), LBB, 1)


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize("objective", [LBB, tn.BatchBALD(), tn.Pointwise(tn.entropy)], ids=repr)
def test_candidates_choose_as_from_these_rows_alone(make_log_probs, objective):
    log_probs = make_log_probs(60)
    candidates = torch.randperm(60, generator=torch.Generator().manual_seed(0))[:25]
    ascending = candidates.sort().values
    expected = tn.select(log_probs[ascending], objective, 8)
    for pool in (log_probs, log_probs.split(13)):
        found = tn.select(pool, objective, 8, candidates=candidates)
        assert found.rows.tolist() == ascending[expected.rows].tolist()
        torch.testing.assert_close(found.gains, expected.gains)


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_samples_are_a_part_of_the_posterior(make_log_probs):
    log_probs = make_log_probs(40)
    expected = tn.select(log_probs[:, [4, 0, 3]], LBB, 6)
    found = tn.select(log_probs, LBB, 6, samples=[4, 0, 3])
    assert found.rows.tolist() == expected.rows.tolist()
    torch.testing.assert_close(found.gains, expected.gains)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": [3, 24]}, "candidates holds 24, expected numbers from 0 to 23"),
        ({"candidates": [3, 5, 3]}, "candidates holds 3 twice"),
        ({"candidates": []}, r"candidates is empty, expected a list of whole numbers"),
        ({"candidates": torch.ones(23, dtype=torch.bool)}, "candidates is a mask of 23 booleans, expected 24"),
        ({"samples": [-1]}, "samples holds -1, expected numbers from 0 to 5"),
        ({"samples": [0]}, "needs at least 2, but the predictions have shape .24, 1, 3."),
        ({"candidates": [1, 2], "k": 3}, "k is 3, expected a whole number from 1 to 2, the number of rows"),
    ],
)
def test_rows_and_samples_that_are_not_there(make_log_probs, options, message):
    with pytest.raises(tn.InputError, match=message):
        tn.select(make_log_probs(), LBB, **{"k": 2, **options})


def features_of(N, D=4, seed=1):
    return torch.randn(N, D, generator=torch.Generator().manual_seed(seed))


def test_with_features_it_is_facility_location(make_log_probs):
    log_probs, features = make_log_probs(60, K=5), features_of(60)
    unlabeled = torch.arange(60)[torch.arange(60) % 7 != 3]
    labeled = torch.arange(3, 60, 7)
    state = tn.PoolState(labeled, None, unlabeled, features, log_probs[unlabeled])
    expected = tn.FacilityLocation().choose(state, 9, torch.Generator().manual_seed(2))
    for given in (features, features.numpy(), features.double()):
        for method in (None, "facility-location", tn.FacilityLocation()):
            found = tn.select(log_probs, method, 9, features=given, labeled=labeled, seed=2)
            assert found.rows.tolist() == expected.rows.tolist()
            torch.testing.assert_close(found.gains, expected.gains)
    assert len(tn.select([log_probs[:20], log_probs[20:].numpy()], k=9, features=features)) == 9


def test_the_last_layer_beside_features_of_an_encoder(make_log_probs, tmp_path):
    """Given, or those of the store; strategies that look at gradients look at it alone."""
    log_probs, encoded, last = make_log_probs(60, K=5).cpu(), features_of(60), features_of(60, D=7, seed=2)
    labeled, unlabeled = torch.arange(3, 60, 7), torch.arange(60)[torch.arange(60) % 7 != 3]
    state = tn.PoolState(labeled, None, unlabeled, encoded, log_probs[unlabeled], last_layer_N_D=last)
    expected = tn.FacilityLocation().choose(state, 9, torch.Generator().manual_seed(2)).rows.tolist()
    tn.write_store(tmp_path / "store", log_probs, features=last)
    store = tn.Store.open(tmp_path / "store")
    for predictions, beside in ((log_probs, last), (log_probs, last.numpy()), (store, None), (store, store)):
        given = {"features": encoded, "last_layer": beside, "labeled": labeled, "seed": 2}
        assert tn.select(predictions, k=9, **given).rows.tolist() == expected
    alone = tn.select(log_probs, k=9, features=last, labeled=labeled, seed=2).rows.tolist()
    assert alone != expected
    for given in (None, store):
        assert tn.select(store, k=9, features=given, labeled=labeled, seed=2).rows.tolist() == alone
    for method in ("BADGE", "binary-BAIT"):
        by_gradients = tn.select(log_probs, method, 9, features=last, labeled=labeled)
        found = tn.select(log_probs, method, 9, features=encoded, last_layer=last, labeled=labeled)
        assert found.rows.tolist() == by_gradients.rows.tolist()
    for method in ("max-herding", "CoreSet"):
        by_encoder = tn.select(log_probs, method, 9, features=encoded, labeled=labeled)
        found = tn.select(log_probs, method, 9, features=encoded, last_layer=last, labeled=labeled)
        assert found.rows.tolist() == by_encoder.rows.tolist()


@pytest.mark.usefixtures("annotations_unchecked")
def test_a_last_layer_that_is_none(make_log_probs):
    log_probs = make_log_probs(60, K=5)
    for options, message in (
        ({"last_layer": features_of(60)}, "but there are no features beside it"),
        (
            {"features": features_of(60), "last_layer": features_of(59)},
            r"last_layer has the shape \[59, 4\], expected 60",
        ),
        ({"features": features_of(60), "last_layer": [1.0]}, "last_layer is .*, expected a tensor or an array"),
        ({"features": features_of(60), "last_layer": features_of(60) * torch.inf}, "last_layer is .*; row 0 holds nan"),
    ):
        with pytest.raises(tn.InputError, match=message):
            tn.select(log_probs, k=3, **options)


def test_without_predictions_it_is_coverage():
    features = features_of(60)
    expected = tn.select(None, tn.FacilityLocation(score=None), 6, features=features)
    for options in ({}, {"method": "coverage"}):
        assert tn.select(features=features, k=6, **options).rows.tolist() == expected.rows.tolist()


@pytest.mark.parametrize("method", [None, "facility-location", "coverage"])
def test_rows_that_may_not_be_chosen_still_are_to_be_covered(make_log_probs, method):
    """20 clusters of 20 rows; every second row may be chosen. A row that may not be chosen is not a labeled one."""
    generator = torch.Generator().manual_seed(0)
    cluster = torch.arange(20).repeat_interleave(20)
    features = 5 * torch.randn(20, 8, generator=generator)[cluster] + 0.1 * torch.randn(400, 8, generator=generator)
    flat = torch.zeros(400, 2, 3).log_softmax(-1)
    found = tn.select(flat, method, 20, features=features, candidates=torch.arange(400)[::2])
    assert (found.rows % 2 == 0).all()
    assert len(cluster[found.rows].unique()) == 20
    labeled = torch.arange(0, 100, 2)  # of five clusters, which need no more labels
    found = tn.select(flat, method, 15, features=features, labeled=labeled)
    assert cluster[found.rows].unique().tolist() == list(range(5, 20))


def test_mapped_features_are_read_where_they_lie(make_log_probs, tmp_path, monkeypatch):
    """In half precision too; the pages are let go again, and the rows are those of features in memory."""
    log_probs, released = make_log_probs(60, K=5), []
    features = features_of(60).half().numpy()
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    monkeypatch.setattr("tonsure.predictions.open.release_mapped", released.append)
    monkeypatch.setattr("tonsure.predictions.reader.HELD", 100)
    expected, found = (tn.select(log_probs, k=9, features=given) for given in (features, mapped))
    assert found.rows.tolist() == expected.rows.tolist()
    of_features = [given for (given,) in released if given is mapped]
    assert len(of_features) >= 3  # when they are checked, for their mean, for r²


def test_the_first_row_of_features_that_is_not_finite_is_named(make_log_probs, monkeypatch):
    monkeypatch.setattr("tonsure.predictions.reader.ROWS", 7)
    features = torch.zeros(40, 2)
    features[33:, 1] = torch.inf
    with pytest.raises(tn.InputError, match="row 33 holds nan or infinity"):
        tn.select(make_log_probs(40), k=3, features=features)


def test_pages_of_features_are_let_go_while_they_are_checked(monkeypatch):
    monkeypatch.setattr("tonsure.predictions.reader.ROWS", 7)
    released = []
    check_features(torch.zeros(40, 2), lambda: released.append(True))
    assert len(released) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": torch.zeros(39, 2)}, r"shape \[39, 2\], expected 40 rows"),
        ({"features": torch.zeros(())}, r"shape \[\], expected floating-point numbers \[N, D\]"),
        ({"features": torch.full((40, 2), torch.nan)}, "row 0 holds nan"),
        ({"features": np.zeros((40, 2), int)}, "the features are torch.int64"),
        ({"k": 41}, "k is 41"),
    ],
)
def test_features_that_cannot_be_used(make_log_probs, options, message):
    with pytest.raises(tn.InputError, match=message):
        tn.select(make_log_probs(40), **{"k": 3, "features": torch.zeros(40, 2)} | options)


def test_a_small_gain_with_features_is_told(make_log_probs):
    """Two kinds of rows, so that the third row adds nothing, whatever the method makes of features."""
    features = torch.eye(2)[torch.arange(20) % 2]
    with pytest.warns(tn.SelectionWarning, match=r"only \d of the 8 rows have a positive gain under FacilityLocation"):
        tn.select(make_log_probs(20), k=8, features=features)
    with pytest.warns(tn.SelectionWarning, match=r"only \d of the 8 rows have a positive gain under CoreSet"):
        tn.select(method="CoreSet", k=8, features=features, labeled=[0])


class Wrapper(tn.Objective):
    """An objective of a user's own, which forwards what it does not say itself to another."""

    def __init__(self, inner):
        self.inner = inner

    structure = property(lambda self: self.inner.structure)
    rounding = property(lambda self: self.inner.rounding)
    samples_needed = property(lambda self: self.inner.samples_needed)
    needs_predictions = property(lambda self: self.inner.needs_predictions)
    prepares = property(lambda self: self.inner.prepares)
    uses_state = property(lambda self: self.inner.uses_state)
    updates_notes = property(lambda self: self.inner.updates_notes)
    prepare = property(lambda self: self.inner.prepare)
    coarse = property(lambda self: self.inner.coarse)
    init_state = property(lambda self: self.inner.init_state)
    update_state = property(lambda self: self.inner.update_state)
    init_notes = property(lambda self: self.inner.init_notes)
    update_notes = property(lambda self: self.inner.update_notes)
    gain = property(lambda self: self.inner.gain)
    ceiling = property(lambda self: self.inner.ceiling)
    standard_error = property(lambda self: self.inner.standard_error)


class Counted:
    """Counts the calls of the methods of an objective, by name."""

    def __init__(self, objective):
        self.objective, self.calls = objective, Counter()

    def __getattr__(self, name):
        found = getattr(self.objective, name)
        if callable(found):
            self.calls[name] += 1
        return found


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize("objective", REPRESENTATIVES, ids=repr)
def test_a_wrapper_is_searched_as_what_it_wraps(make_log_probs, monkeypatch, objective):
    """The same rows, by as many calls of each method: nothing is read off the class of an objective."""
    monkeypatch.setattr("tonsure.search.shard.ALONE", 0)
    pool, calls = make_log_probs(300, dtype=torch.float32), []
    expected = tn.select(pool, objective, 10)
    for wrapped in (Wrapper, lambda inner: Wrapper(Wrapper(inner))):
        counted = Counted(objective)
        found = tn.select(pool, wrapped(counted), 10)
        assert found.rows.tolist() == expected.rows.tolist()
        torch.testing.assert_close(found.gains, expected.gains, atol=0, rtol=0)
        calls.append(counted.calls)
    assert calls[0] == calls[1]
    assert objective.updates_notes or calls[0]["update_notes"] == 0
    for name in ("update_notes", "update_state", "prepare"):
        assert calls[0][name] == counted_calls(monkeypatch, type(objective), name, pool, objective), name


def counted_calls(monkeypatch, kind, name, pool, objective):
    """How often a search calls a method of an object that is not wrapped."""
    times, method = [], getattr(kind, name)
    with monkeypatch.context() as patch:
        patch.setattr(kind, name, lambda *arguments: times.append(1) or method(*arguments))
        tn.select(pool, objective, 10)
    return len(times)
