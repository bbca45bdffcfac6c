"""What ``select`` refuses, as a table: each is one InputError of one sentence or two, never another exception."""

import numpy as np
import pytest
import torch

import tonsure as tn
from cases import OBJECTIVES
from tonsure.methods import SCORES
from tonsure.predictions.open import numbers

N = 24

pytestmark = pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")

FEATURES = torch.randn(N, 4, generator=torch.Generator().manual_seed(1))
SCORES_N = torch.rand(N, generator=torch.Generator().manual_seed(2))
LABELED = {"labeled": [3, 5, 7, 11], "labels": [0, 1, 2, 0]}

STRATEGIES = [
    tn.BADGE(),
    tn.BAIT(),
    tn.CoreSet(),
    tn.DIRECT(),
    tn.DropQuery(),
    tn.FacilityLocation(),
    tn.FacilityLocation(score=None),
    tn.LCMD(),
    tn.MaxHerding(),
    tn.Novelty(),
    tn.PredictionCoverage(),
    tn.ProbCover(),
    tn.ProbCover(delta=0.5),
    tn.Refine([tn.margin, tn.CoreSet()], rounds=1, batches=2),
    tn.StratifiedPower(),
    tn.Targeted(tn.EPIG),
    tn.TypiClust(),
    tn.UncertaintyHerding(),
    tn.WeightedKMeans(),
]
METHODS = [*tn.METHODS, *SCORES, *STRATEGIES, *OBJECTIVES]


def ids(method):
    return method if isinstance(method, str) else repr(method)


def refused(message, *arguments, **options):
    with pytest.raises(tn.InputError, match=message) as error:
        tn.select(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# What a method needs.


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_what_a_method_needs_is_said_with_where_to_get_it(method, make_log_probs):
    """With all that there is, every method chooses; without what it needs, it says what that is."""
    given = {"predictions": make_log_probs(N), "features": FEATURES, **LABELED}
    assert len(tn.select(method=method, k=3, **given)) == 3
    made = tn.methods.Method(method).method
    strategy = made if isinstance(made, tn.Strategy) else None
    needs_features = strategy is not None and strategy.needs_features
    needs_predictions = made.needs_predictions
    without = {name: value for name, value in given.items() if name != "features"}
    if needs_features:
        message = refused("needs features", method=method, k=3, **without)
        assert "tonsure.features(model, inputs)" in message
    else:
        assert len(tn.select(method=method, k=3, **without)) == 3
    without = {name: value for name, value in given.items() if name != "predictions"}
    if needs_predictions:
        message = refused("needs predictions", method=method, k=3, **without)
        assert "tonsure.predict(model, inputs)" in message
    else:
        assert len(tn.select(method=method, k=3, **without)) == 3


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (tn.CoreSet(), {}, "none of the 24 rows is labeled"),
        (tn.ProbCover(), {}, "labels of the labeled rows: labeled=rows, labels=classes"),
        (tn.ProbCover(), {"labeled": [1, 2]}, "labels of the labeled rows: labeled=rows, labels=classes"),
        (tn.UncertaintyHerding(), {"labeled": [1, 2]}, "labels of the labeled rows: labeled=rows, labels=classes"),
        (tn.LargeBatchBALD(), {"samples": [2]}, "needs at least 2, but the predictions have shape .24, 1, 3."),
        (tn.Targeted(tn.EPIG), {"samples": [2]}, "needs at least 2, but the predictions have shape"),
    ],
    ids=str,
)
def test_labels_and_samples_that_are_missing(make_log_probs, method, options, message):
    refused(message, make_log_probs(N), method, 3, features=FEATURES, **options)


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_scores_in_place_of_predictions(method):
    """Where a score is all that a method makes of predictions; all others say that scores are not enough."""
    made = tn.methods.Method(method).method
    by_score = isinstance(made, tn.Pointwise | tn.Random | tn.Novelty | tn.WeightedKMeans) or not made.needs_predictions
    weighs = type(made) is tn.FacilityLocation and made.score is not None
    if by_score or weighs:
        found = tn.select(SCORES_N, method, 5, features=FEATURES, **LABELED)
        assert not set(found.rows.tolist()) & set(LABELED["labeled"])
        if isinstance(made, tn.Pointwise) and tn.methods.Method(method).optimizer is None:
            left = SCORES_N.clone()
            left[LABELED["labeled"]] = -1
            assert found.rows.tolist() == left.topk(5).indices.tolist()
            assert found.gains.tolist() == pytest.approx(SCORES_N[found.rows].tolist())
    else:
        refused("needs predictions", SCORES_N, method, 5, features=FEATURES, **LABELED)


def test_scores_weigh_features_as_a_function_of_predictions_does(make_log_probs):
    log_probs = make_log_probs(N)
    for method in (tn.FacilityLocation(), tn.Novelty(), tn.WeightedKMeans()):
        expected = tn.select(log_probs, method, 6, features=FEATURES, **LABELED)
        for scores in (tn.margin(log_probs), tn.margin(log_probs).numpy(), list(tn.margin(log_probs).split(10))):
            assert tn.select(scores, method, 6, features=FEATURES, **LABELED).rows.tolist() == expected.rows.tolist()
    assert tn.select(SCORES_N, k=4).rows.tolist() == SCORES_N.topk(4).indices.tolist()
    assert len(tn.select(SCORES_N, k=4, features=FEATURES)) == 4


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (SCORES_N.where(torch.arange(N) != 7, torch.nan), {}, "the score of row 7 is nan, expected finite numbers"),
        (SCORES_N[:0], {}, "the pool is empty"),
        (SCORES_N, {"samples": [0]}, "samples selects posterior samples, but scores .N. have none"),
        (SCORES_N.int(), {}, "the predictions are torch.int32, expected float16"),
        (SCORES_N[:20], {"features": FEATURES}, r"shape \[24, 4\], expected 20 rows"),
        (-SCORES_N, {"features": FEATURES}, "the score of row 0 is -0.* expected finite numbers of at least 0"),
    ],
)
def test_scores_that_cannot_be_used(scores, options, message):
    refused(message, scores, k=2, **options)


# Numbers.


def test_whole_numbers_of_numpy_and_masks(make_log_probs):
    log_probs = make_log_probs(N)
    mask = torch.zeros(N, dtype=torch.bool)
    mask[LABELED["labeled"]] = True
    labels = [0, 1, 2, 0]
    expected = tn.select(log_probs, "CoreSet", 4, features=FEATURES, **LABELED, seed=2).rows.tolist()
    for labeled in (
        np.array(LABELED["labeled"]),
        torch.tensor(LABELED["labeled"], dtype=torch.int32),
        mask,
        mask.numpy(),
    ):
        for given in (labels, np.array(labels, np.uint8), torch.tensor(labels)):
            found = tn.select(
                log_probs, "CoreSet", np.int64(4), features=FEATURES, labeled=labeled, labels=given, seed=np.uint8(2)
            )
            assert found.rows.tolist() == expected
    some = np.array([True, False, True, True, False, True])
    found, expected = (tn.select(log_probs, "LBB", np.int16(3), samples=given) for given in (some, [0, 2, 3, 5]))
    assert found.rows.tolist() == expected.rows.tolist()


class Nothing:
    pass


WRONG = {
    "a class": ({"method": tn.LargeBatchBALD}, r"is the class LargeBatchBALD, expected an object: LargeBatchBALD\(\)"),
    "a class of strategies": ({"method": tn.BADGE}, r"is the class BADGE, expected an object: BADGE\(\)"),
    "a name in other letters": ({"method": "epig"}, "no method 'epig'; did you mean EPIG"),
    "an unknown name": ({"method": "LargeBatchBOLD"}, "no method 'LargeBatchBOLD'; did you mean LargeBatchBALD"),
    "a name that says nothing": ({"method": ""}, "there is no method ''"),
    "settings that are none": ({"method": "BatchBALD(labels=3)"}, "unexpected keyword argument 'labels'"),
    "no method at all": ({"method": 3}, "the method is 3, expected an objective, a strategy, a score function"),
    "an optimizer as the method": ({"method": tn.TopK()}, "an optimizer is given as optimizer="),
    "a function that scores nothing": ({"method": lambda _: None}, "gave None for 1 items, expected one floating"),
    "a function of another shape": ({"method": lambda log_probs: log_probs}, "gave .* of shape .1, 6, 3. for 1 items"),
    "a function of another type": ({"method": lambda log_probs: log_probs[:, 0, 0] > 0}, "gave torch.bool of shape"),
    "an optimizer's class": ({"optimizer": tn.TopK}, r"is the class TopK, expected an object: TopK\(\)"),
    "an unknown optimizer": ({"optimizer": "TopKK"}, "there is no optimizer 'TopKK'; did you mean TopK"),
    "no optimizer": ({"optimizer": 7}, r"the optimizer is 7, expected one such as PowerSample\(\)"),
    "an optimizer of a strategy": (
        {"method": "BADGE", "optimizer": tn.TopK(), "features": FEATURES},
        r"BADGE\(\) takes no optimizer",
    ),
    "two optimizers": ({"method": "PowerBALD", "optimizer": tn.TopK()}, "expected no other"),
    "k is none": ({"k": None}, "k is None, expected a whole number from 1 to 24"),
    "k is true": ({"k": True}, "k is True, expected a whole number"),
    "k is text": ({"k": "3"}, "k is '3', expected a whole number"),
    "k has a point": ({"k": 3.0}, "k is 3.0, expected a whole number"),
    "k is too large": (
        {"k": 21, **LABELED},
        "k is 21, expected a whole number from 1 to 20, the number of rows that may",
    ),
    "a seed below 0": ({"seed": -1}, "seed is -1, expected a whole number from 0"),
    "a seed with a point": ({"seed": 0.5}, "seed is 0.5, expected a whole number from 0"),
    "no seed": ({"seed": None}, "seed is None, expected a whole number from 0"),
    "memory": ({"memory": "x"}, "memory is 'x', expected a number of bytes"),
    "memory in a list": ({"memory": [4]}, "expected a number of bytes"),
    "memory that is true": ({"memory": True}, "memory is True, expected a number of bytes"),
    "a backend's name": ({"backend": "ray"}, r"backend is 'ray', expected one such as tonsure.backends.RayBackend\(\)"),
    "a backend's name for features": (
        {"method": "coverage", "features": FEATURES, "backend": "ray"},
        "backend is 'ray'",
    ),
    "a backend's class": ({"backend": Nothing}, "backend is .* expected one such as"),
    "a device": ({"device": "nonsense"}, "the device 'nonsense' cannot be used"),
    "a device's number": ({"device": []}, "the device .* cannot be used"),
    "a path": ({"predictions": "file.npy"}, "the predictions are 'file.npy', expected log-probabilities"),
    "lists of numbers": ({"predictions": [[0.5, 0.5]]}, "the predictions are .* expected log-probabilities"),
    "a dict": ({"predictions": {}}, "the predictions are {}, expected log-probabilities"),
    "no pool": ({"predictions": None}, "there is no pool to choose from"),
    "no pool and samples": ({"predictions": None, "features": FEATURES, "samples": [0]}, "there are no predictions"),
    "features in a list": ({"features": [[1.0]] * N}, "features is .* expected a tensor or an array"),
    "a path of features": ({"features": "features.npy"}, "features is 'features.npy', expected a tensor or an array"),
    "samples by name": ({"samples": "0-3"}, "samples is '0-3', expected a list of whole numbers from 0 to 5"),
    "rows in a dict": ({"candidates": {1: 2}}, "candidates is {1: 2}, expected a list of whole numbers from 0 to 23"),
    "rows that come one by one": ({"candidates": iter([1])}, "candidates is .* expected a list of whole numbers"),
    "rows in a ragged list": ({"candidates": [[1], [2, 3]]}, "candidates is .* expected a list of whole numbers"),
    "rows that are text": ({"candidates": ["a"]}, "candidates is .* expected a list of whole numbers"),
    "rows with a point": ({"candidates": [1.0]}, "candidates is float64 .* expected a list of whole numbers"),
    "rows that are no rows": ({"candidates": [24]}, "candidates holds 24, expected numbers from 0 to 23"),
    "a row below 0": ({"labeled": [-1]}, "labeled holds -1, expected numbers from 0 to 23"),
    "a row twice": ({"labeled": [3, 3]}, "labeled holds 3 twice"),
    "a row": ({"labeled": 3}, "labeled is 3, expected a list of whole numbers"),
    "a mask of another length": ({"labeled": [True, False]}, "labeled is a mask of 2 booleans, expected 24"),
    "labels without rows": ({"labels": [1]}, "labels are the classes of the rows in labeled: expected labeled=rows"),
    "labels by row": (
        {"labeled": [1], "labels": {1: 0}},
        "labels is {1: 0}, expected a list of classes, numbered from 0",
    ),
    "too few labels": ({"labeled": [1, 2], "labels": [0]}, "there are 1 labels for 2 labeled rows"),
    "labels with a point": ({"labeled": [1], "labels": [0.5]}, "labels is float64 .* expected a list of classes"),
    "labels that are text": ({"labeled": [1], "labels": ["a"]}, "labels is <U1 .* expected a list of classes"),
    "a label below 0": ({"labeled": [1, 2], "labels": [0, -1]}, "labels holds -1, at place 1, expected a list"),
    "labeled and a candidate": ({"labeled": [4, 9], "candidates": [2, 9]}, "row 9 is both labeled and a candidate"),
    "all rows are labeled": ({"labeled": range(N)}, "all 24 rows are labeled: there is nothing to choose"),
    "no row may be chosen": ({"candidates": torch.zeros(N, dtype=torch.bool)}, "candidates"),
}


@pytest.mark.usefixtures("annotations_unchecked")  # whoever calls wrongly is told so by the door itself
@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_input_is_an_input_error(make_log_probs, options, message):
    refused(message, **{"predictions": make_log_probs(N), "method": tn.LargeBatchBALD(), "k": 3} | options)


def test_a_method_of_several_ways(make_log_probs):
    """A name, an object, a score function and a Method of it are the same method."""
    log_probs = make_log_probs(N)
    expected = tn.select(log_probs, tn.Pointwise(tn.bald), 4, optimizer=tn.PowerSample()).rows.tolist()
    for method, optimizer in (
        ("PowerBALD", None),
        ("bald@PowerSample", None),
        ("BALD@PowerSample(beta=1.0)", None),
        (tn.bald, "PowerSample"),
        ("bald", tn.PowerSample(beta=1.0)),
        (tn.Method(tn.bald, tn.PowerSample()), None),
        (tn.Method("PowerBALD"), None),
        (tn.Method(tn.Method(tn.Pointwise(tn.bald)), "PowerSample()"), None),
    ):
        assert tn.select(log_probs, method, 4, optimizer=optimizer).rows.tolist() == expected, method


def test_every_error_is_a_tonsure_error():
    for name in dir(tn):
        value = getattr(tn, name)
        if isinstance(value, type) and issubclass(value, Exception) and not issubclass(value, Warning):
            assert issubclass(value, tn.TonsureError), name


# Arrays of any kind.


def kinds_of(array):
    """The same numbers in other arrays."""
    masked = np.ma.masked_array(array, np.zeros(array.shape, bool))
    return {
        "a foreign byte order": array.astype(array.dtype.newbyteorder()),
        "reversed": array[::-1].copy()[::-1],
        "in Fortran's order": np.asfortranarray(array),
        "a field": np.rec.fromarrays([array, np.zeros(len(array), "i1")], names="a,b")["a"]
        if array.ndim == 1
        else array,
        "nothing masked": masked,
        "another library": Column(array),
        "dlpack alone": Shared(array),
        "a gradient": torch.tensor(array).requires_grad_(),
        "negated lazily": torch.complex(torch.zeros(array.shape).double(), torch.tensor(-array)).conj().imag,
    }


class Column:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


class Shared:
    def __init__(self, array):
        self.tensor = torch.tensor(array)

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


@pytest.mark.usefixtures("annotations_unchecked")
def test_arrays_of_any_layout_order_and_library(make_log_probs):
    log_probs, features, scores = make_log_probs(N).numpy(), FEATURES.double().numpy(), SCORES_N.double().numpy()
    expected = tn.select(log_probs, "BALD", 5).rows.tolist()
    for kind, given in kinds_of(log_probs).items():
        assert tn.select(given, "BALD", 5).rows.tolist() == expected, kind
    expected = tn.select(features=features, k=5).rows.tolist()
    for kind, given in kinds_of(features).items():
        assert tn.select(features=given, k=5).rows.tolist() == expected, kind
    expected = tn.select(scores, k=5).rows.tolist()
    for kind, given in kinds_of(scores).items():
        assert tn.select(given, k=5).rows.tolist() == expected, kind
        assert tn.select([given], k=5).rows.tolist() == expected, kind


@pytest.mark.usefixtures("annotations_unchecked")
def test_rows_of_any_kind(make_log_probs):
    log_probs = make_log_probs(N)
    chosen = [2, 5, 11, 17]
    expected = tn.select(log_probs, "BALD", 2, candidates=chosen).rows.tolist()
    kinds = [np.array(chosen, dtype) for dtype in ("u1", "u2", "u4", "u8", "i1", ">i4", ">u2")]
    kinds += [torch.tensor(chosen, dtype=dtype) for dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64)]
    kinds += [set(chosen), frozenset(chosen), dict.fromkeys(chosen).keys(), np.array(chosen[::-1])[::-1]]
    kinds += [Column(np.array(chosen)), [np.int64(row) for row in chosen], [torch.tensor(row) for row in chosen]]
    for candidates in kinds:
        assert tn.select(log_probs, "BALD", 2, candidates=candidates).rows.tolist() == expected, candidates
    assert numbers("samples", {5, 1, 3}, 6).tolist() == [1, 3, 5]
    # Labels of a mask are in the order of the rows; those of a set have none.
    mask = np.isin(np.arange(N), chosen)
    given = {"predictions": log_probs, "method": "ProbCover", "k": 3, "features": FEATURES}
    expected = tn.select(**given, labeled=chosen, labels=[0, 1, 2, 0]).rows.tolist()
    assert tn.select(**given, labeled=mask, labels=np.array([0, 1, 2, 0], ">u8")).rows.tolist() == expected
    refused("labeled is .*, expected a list, as the labels are in its order", **given, labeled={1}, labels=[0])


REFUSED_ARRAYS = {
    "masked": (
        lambda array: np.ma.masked_less(array, np.median(array)),
        "masked entries, expected none: the mask would",
    ),
    "sparse": (lambda array: torch.tensor(array).to_sparse(), "of layout torch.sparse_coo"),
    "meta": (lambda array: torch.tensor(array).to("meta"), "on meta; expected an ordinary dense tensor"),
    "complex": (lambda array: array.astype(complex), "are torch.complex128, expected float16"),
    "objects": (lambda array: array.astype(object), "an array of object, expected numbers"),
    "texts": (lambda array: array.astype(str), "an array of <U.*, expected numbers"),
    "dates": (lambda array: array.astype("M8[s]"), "an array of datetime64.*, expected numbers"),
    "a class": (lambda array: np.ndarray, "the class ndarray, expected"),
    "one number": (lambda array: array.flat[0], "is|are"),
    "lists": (lambda array: array.tolist(), "expected .*"),
    "an iterator": (lambda array: iter([array]), "expected .*"),
}


@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.parametrize(("change", "message"), REFUSED_ARRAYS.values(), ids=REFUSED_ARRAYS)
def test_arrays_that_are_refused(make_log_probs, change, message):
    refused(message, change(make_log_probs(N).numpy()), "BALD", 2)
    refused(message, features=change(FEATURES.numpy()), k=2)


@pytest.mark.usefixtures("annotations_unchecked")
def test_devices_that_cannot_be_used(make_log_probs):
    for device in ("meta", "nonsense", "cpu:x", 3.5, None if torch.cuda.is_available() else "cuda", "cuda:99"):
        if device is not None:
            refused("cannot be used", make_log_probs(N), "BALD", 2, device=device)


@pytest.mark.parametrize(
    "score",
    [
        lambda log_probs: log_probs.exp_().mul_(2).sum((1, 2)),
        lambda log_probs: log_probs[:, 0, 0].sub_(1).neg_(),
    ],
)
def test_a_score_that_works_in_place_changes_no_input(make_log_probs, score):
    log_probs = make_log_probs(N, dtype=torch.float32)
    before = log_probs.clone()
    tn.select(log_probs, score, 3)
    assert torch.equal(log_probs, before)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda log_probs: 1 / 0, "the score function <lambda> failed with ZeroDivisionError: division by zero"),
        (lambda log_probs: log_probs[:, 0, 0] * torch.nan, r"gave nan for (row 0|an item), expected finite numbers"),
        (lambda log_probs: log_probs[:, 0, 0] - torch.inf, r"gave -inf for (row 0|an item), expected finite numbers"),
    ],
)
def test_scores_that_fail(make_log_probs, score, message):
    for method in (tn.Pointwise(score), tn.Discounted(score), tn.FacilityLocation(score), tn.Novelty(score)):
        refused(message, make_log_probs(N), method, 2, features=FEATURES)


@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda targets: 1 / 0, "make failed with ZeroDivisionError: division by zero"),
        (lambda targets: 3, "what make gave is 3, expected an objective"),
        (lambda targets: tn.EPIG, "what make gave is the class EPIG, expected an objective"),
        (lambda targets: tn.EPIG(targets[:, :1]), "are predicted by K = 6"),
    ],
)
def test_objectives_of_targets_that_cannot_be_made(make_log_probs, make, message):
    refused(message, make_log_probs(N), tn.Targeted(make), 2)
    refused(message, make_log_probs(N), tn.Targeted(make), 2, memory="1GB")
