"""Inputs of right and of wrong kinds, as strategies of hypothesis, for property tests of functions like ``select``.

Pools are tiny, so that an example takes milliseconds. What is right must be answered, or refused by a ``TonsureError``
where a method cannot do it; what is wrong must be refused by one::

    @hypothesis.given(tonsure.testing.inputs.selections())
    def test_any_input(arguments):
        try:
            selection = tonsure.select(**arguments)
        except tonsure.TonsureError:
            return
        assert selection.gains.isfinite().all()

Needs the extra ``testing``.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tonsure import objectives, optimizers, scores, strategies
from tonsure.errors import MissingExtraError, TonsureError
from tonsure.information import FLOATS
from tonsure.methods import METHODS, SCORES, Method
from tonsure.objectives.base import Objective
from tonsure.optimizers import Optimizer
from tonsure.strategies import Strategy

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError as error:
    raise MissingExtraError("tonsure.testing.inputs", "testing") from error

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn
else:  # a protocol that cannot be checked
    DrawFn = Callable[..., Any]

INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, ">i4", ">u8")

TEXTS = ("", "x", "LBB", "bald", "TopK", "3", "cuda", "1 GB", "\0", "ü", "BatchBALD(labelings=64)", "a(b", "no:thing")

NUMBERS = (
    0,
    1,
    -1,
    2,
    3.0,
    0.5,
    -0.0,
    1e300,
    1e-300,
    float("nan"),
    float("inf"),
    -float("inf"),
    10**30,
    -(10**30),
    2**63,
)


class Broken:
    """An object that cannot be shown, compared or converted."""

    def __repr__(self) -> str:
        raise RuntimeError("cannot be shown")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("cannot be compared")

    __hash__ = None  # type: ignore[assignment]

    def __array__(self, *_: object, **__: object) -> None:
        raise RuntimeError("cannot be converted")


class Column:
    """What other libraries make: a table or a column that NumPy can convert, and nothing else."""

    def __init__(self, array: Any) -> None:
        self._array = np.asarray(array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self._array, dtype)

    def __len__(self) -> int:
        return len(self._array)


def _odd_arrays() -> list[Callable[[], Any]]:
    """Arrays that are nothing that a function here takes, or only just."""
    return [
        lambda: np.zeros(()),
        lambda: np.zeros(0),
        lambda: np.zeros((2, 0, 3)),
        lambda: np.zeros((0, 2)),
        lambda: np.zeros((2, 2, 2, 2)),
        lambda: np.array(["a", "b"]),
        lambda: np.array([b"a", b"b"]),
        lambda: np.array([None, 1], object),
        lambda: np.array(["2020-01-01"], "datetime64[D]"),
        lambda: np.array([1, 2], "timedelta64[s]"),
        lambda: np.zeros(3, [("a", "f4"), ("b", "i4")]),
        lambda: np.zeros(3, [("a", "f4"), ("b", "i2")])["a"],
        lambda: np.ma.masked_array(np.zeros((3, 2)), np.eye(3, 2, dtype=bool)),
        lambda: np.ma.masked_array(np.zeros((3, 2))),
        lambda: np.zeros((3, 2)).view(np.matrix),
        lambda: np.zeros((3, 2), np.longdouble),
        lambda: np.zeros((3, 2), np.complex64),
        lambda: np.zeros(3, bool),
        lambda: np.float64(1.5),
        lambda: np.int64(2),
        lambda: np.bool_(True),
        lambda: torch.zeros(()),
        lambda: torch.zeros(3, 2).to_sparse(),
        lambda: torch.empty(3, 2, device="meta"),
        lambda: torch.zeros(3, 2, dtype=torch.complex64),
        lambda: torch.zeros(3, 2, dtype=torch.complex64).imag,
        lambda: torch.zeros(3, 2, dtype=torch.complex64).conj(),
        lambda: torch.zeros(3, 2, 2, requires_grad=True),
        lambda: torch.zeros(3, dtype=torch.float8_e4m3fn),
        lambda: torch.tensor(2),
        lambda: torch.tensor(True),
        lambda: torch.tensor([2**40]),
        lambda: torch.zeros(3, dtype=torch.uint16),
        lambda: Column(np.zeros((3, 2))),
        lambda: Column(np.array(["a"])),
        lambda: memoryview(b"abc"),
        lambda: [np.zeros((3, 2)), np.zeros((3, 2))],
        lambda: [torch.zeros(3), torch.zeros(2, 1)],
        lambda: [[0.5, 0.5], [0.5]],
    ]


def anything() -> SearchStrategy[Any]:
    """An object of any kind: nothing, numbers, texts, containers, classes, functions, odd arrays."""
    objects: list[Callable[[], Any]] = [
        lambda: None,
        lambda: b"abc",
        lambda: bytearray(b"abc"),
        lambda: {},
        lambda: {1: 2},
        lambda: [],
        lambda: (),
        lambda: [1, 1],
        lambda: [True, 1],
        lambda: [-1],
        lambda: ["a"],
        lambda: [None],
        lambda: [[1]],
        lambda: {1, "a"},
        lambda: frozenset({0, 1}),
        lambda: iter([0, 1]),
        lambda: (number for number in (0, 1)),
        lambda: range(3),
        lambda: range(10**12),
        lambda: slice(3),
        lambda: object(),
        lambda: Broken(),
        lambda: object,
        lambda: Tensor,
        lambda: optimizers.TopK,
        lambda: objectives.LargeBatchBALD,
        lambda: optimizers.TopK(),
        lambda: strategies.BADGE(),
        lambda: objectives.Pointwise(),
        lambda: Method("LBB"),
        lambda: scores.bald,
        lambda: len,
        lambda: print,
        lambda: lambda log_probs: log_probs,
        lambda: 1j,
        lambda: True,
        lambda: NotImplemented,
        lambda: Ellipsis,
        lambda: torch.device("cpu"),
        lambda: torch.float32,
        *_odd_arrays(),
    ]
    makers = st.sampled_from(objects).map(lambda make: make())
    return st.one_of(makers, st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.text(max_size=5))


@st.composite
def predictions(draw: DrawFn, N: int, K: int, C: int) -> Any:
    """Log-probabilities [N, K, C]: certain, impossible and equal ones among them, of any type, layout and library."""
    log_probs = _log_probs(draw, N, K, C)
    dtype = draw(st.sampled_from(FLOATS))
    form = draw(st.sampled_from(("tensor", "tensor", "array", "foreign order", "reversed", "parts", "column", "view")))
    if form == "parts":
        cut = draw(st.integers(0, N))
        return [log_probs[:cut].to(dtype), log_probs[cut:].to(dtype)]
    return _in_form(log_probs.to(dtype), form)


def _log_probs(draw: DrawFn, N: int, K: int, C: int) -> Tensor:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    logits = torch.randn(N, K, C, generator=generator, dtype=torch.float64) * draw(
        st.sampled_from((0.0, 0.1, 1, 5, 500))
    )
    kind = draw(st.sampled_from(("any", "any", "equal rows", "equal samples", "impossible", "certain")))
    if kind == "equal rows":
        logits = logits[:1].expand(N, K, C)
    if kind == "equal samples":
        logits = logits[:, :1].expand(N, K, C)
    if kind == "impossible":
        logits[..., 0] = -torch.inf
    if kind == "certain":
        logits = torch.where(logits == logits.amax(-1, keepdim=True), 0.0, -torch.inf)
    return logits.log_softmax(-1)


def _in_form(tensor: Tensor, form: str) -> Any:
    """The numbers as another kind of array."""
    if form == "view":  # not contiguous, with a gradient
        return tensor.movedim(0, -1).contiguous().movedim(-1, 0).requires_grad_()
    if form == "tensor" or tensor.dtype == torch.bfloat16:  # which NumPy does not know
        return tensor
    array = tensor.numpy()
    if form == "foreign order":
        return array.astype(array.dtype.newbyteorder())
    if form == "reversed":
        return array[::-1].copy()[::-1]
    return Column(array) if form == "column" else array


@st.composite
def wrong_predictions(draw: DrawFn, N: int, K: int, C: int) -> Any:
    """Numbers that are no log-probabilities [N, K, C], or objects that are no predictions at all."""
    log_probs = _log_probs(draw, N, K, C)
    row, sample, label = (draw(st.integers(0, length - 1)) for length in (N, K, C))
    spoiled = log_probs.clone()
    spoiled[row, sample, label] = draw(st.sampled_from((float("nan"), float("inf"), 1.0, -1e4)))
    forms = [spoiled, log_probs.exp(), log_probs * 2, log_probs.transpose(1, 2), log_probs.movedim(2, 0)]
    others = [log_probs[:, 0], log_probs.tolist(), log_probs.long(), list(log_probs), log_probs[None], log_probs[:0]]
    wrong = draw(st.sampled_from([*forms, *others, None]))
    return draw(anything()) if wrong is None else wrong


@st.composite
def features(draw: DrawFn, N: int) -> Any:
    """Finite features [N, D], of any size, with equal rows and columns of zeros, of any type, layout and library."""
    D = draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    found = torch.randn(N, D, generator=generator, dtype=torch.float64)
    kind = draw(st.sampled_from(("any", "any", "equal rows", "zeros", "ranks", "far")))
    found = {
        "any": found,
        "equal rows": found[:1].expand(N, D).clone(),
        "zeros": torch.zeros_like(found),
        "ranks": found[:, :1] @ found[:1],
        "far": found + 1e3,
    }[kind]
    dtype = draw(st.sampled_from(FLOATS))
    scale = draw(st.sampled_from((1.0, 1.0, 1e-4, 1e4, 1e-30, 1e30))) if dtype.itemsize > 2 else 1.0
    return _in_form((found * scale).to(dtype), draw(st.sampled_from(("tensor", "array", "reversed", "column", "view"))))


@st.composite
def wrong_features(draw: DrawFn, N: int) -> Any:
    """Numbers that are no finite features [N, D], or objects that are no features at all."""
    spoiled = torch.ones(N, 2)
    spoiled[draw(st.integers(0, N - 1))] = draw(st.sampled_from((float("nan"), float("inf"))))
    given = [
        spoiled,
        torch.ones(N),
        torch.ones(N + 1, 2),
        torch.ones(N, 2, 2),
        torch.ones(N, 2).long(),
        torch.ones(N, 0),
    ]
    wrong = draw(st.sampled_from([*given, torch.ones(N, 2).tolist(), None]))
    return draw(anything()) if wrong is None else wrong


@st.composite
def rows(draw: DrawFn, among: list[int], N: int, least: int = 0) -> Any:
    """Some of ``among``, rows of a pool of N, in any order: as a list, an array of any integers, a mask or a set."""
    chosen = draw(st.permutations(among))[: draw(st.integers(min(least, len(among)), len(among)))]
    return draw(_as_rows(chosen, N))


def _as_rows(chosen: list[int], N: int) -> SearchStrategy[Any]:
    def mask() -> Any:
        found = np.zeros(N, bool)
        found[chosen] = True
        return found

    forms = _whole(chosen)
    if chosen == sorted(chosen):  # as these are taken in ascending order
        forms += [mask, lambda: mask().tolist(), lambda: torch.tensor(mask()), lambda: set(chosen)]
    return st.sampled_from(forms).map(lambda make: make())


def _as_classes(labels: list[int]) -> SearchStrategy[Any]:
    return st.sampled_from(_whole(labels)).map(lambda make: make())


def _whole(chosen: list[int]) -> list[Callable[[], Any]]:
    """Whole numbers as a list or as an array of any integers."""
    return [
        lambda: chosen,
        lambda: tuple(chosen),
        lambda: np.array(chosen[::-1], np.int64)[::-1],
        lambda: torch.tensor(chosen, dtype=torch.int32),
        lambda: torch.tensor(chosen, dtype=torch.uint8),
        lambda: Column(np.array(chosen, int)),
        *(lambda dtype=dtype: np.array(chosen, dtype) for dtype in INTEGERS),
    ]


@st.composite
def wrong_rows(draw: DrawFn, N: int) -> Any:
    """Rows that are not in a pool of N, or not once, or objects that are no rows at all."""
    wrong = draw(
        st.sampled_from(
            [
                [N],
                [0, 0],
                [-1],
                [0.0],
                ["0"],
                [True, 0],
                [None],
                [10**30],
                [[0]],
                {0: 1},
                "0",
                iter([0]),
                {0.5},
                [N] * 3,
            ]
        )
    )
    return draw(st.one_of(st.just(wrong), anything()))


@st.composite
def ids(draw: DrawFn, N: int) -> Any:
    """Different names of N items: short texts, odd letters among them, or whole numbers."""
    names = st.one_of(st.text(min_size=1, max_size=4), st.integers(-5, 10**20))
    listed = draw(st.lists(names, min_size=N, max_size=N, unique_by=str))
    return draw(st.sampled_from((listed, tuple(listed), [f"picture {row}" for row in range(N)], np.arange(10, 10 + N))))


def counts(most: int) -> SearchStrategy[Any]:
    """Whole numbers from 1 to ``most``, of Python, NumPy and torch."""
    return st.builds(
        lambda number, make: make(number),
        st.integers(1, most),
        st.sampled_from((int, np.int64, np.uint8, np.int16, torch.tensor)),
    )


def wrong_counts(most: int) -> SearchStrategy[Any]:
    """Numbers that are out of range or not whole, booleans, and objects that are no numbers."""
    wrong = (0, -1, most + 1, True, 1.0, "1", None, np.bool_(True), np.float32(1), float("nan"), 10**30, [1], 1j)
    return st.one_of(st.sampled_from(wrong), anything())


SETTINGS: dict[str, SearchStrategy[Any]] = {
    "float": st.sampled_from((0.0, 0.5, 1, 2.0, 4, np.float32(0.25), np.int64(1), 1e-3, 1e3)),
    "int": st.sampled_from((1, 2, 3, 32, np.int64(40), np.uint8(64))),
    "bool": st.sampled_from((True, False, np.bool_(True))),
    "Score": st.sampled_from(tuple(SCORES.values())),
    "Optimizer": st.sampled_from((optimizers.TopK(), optimizers.PowerSample(2.0), optimizers.LazyGreedy())),
    "None": st.none(),
}
"""Values of settings by their types, mostly in range."""


_FILTERS = (scores.margin, strategies.BADGE(), strategies.CoreSet(), (objectives.Random(), optimizers.PowerSample()))

OF_FILTERS: dict[str, SearchStrategy[Any]] = {
    "methods": st.lists(st.sampled_from(_FILTERS), min_size=1, max_size=2).map(tuple),
    "rounds": st.integers(1, 2),
    "batches": st.integers(1, 2),
    "last": st.sampled_from((strategies.FacilityLocation(), *_FILTERS)),
}
"""Settings of ``Refine``, whose default runs many methods many times."""


@st.composite
def settings(draw: DrawFn, base: type | None = None, wrong: bool = False) -> tuple[type, dict[str, Any]]:
    """A class of objectives, strategies or optimizers, with some of its settings.

    Args:
        base: ``Objective``, ``Strategy`` or ``Optimizer``; None is any of them.
        wrong: whether a setting may be anything.
    """
    kind = draw(st.sampled_from(list(_classes(base))))
    chosen: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name == "make":
            chosen["make"] = draw(st.sampled_from((objectives.EPIG, objectives.SecondOrderEPIG, objectives.VOptimal)))
        elif field.name == "log_probs_T_K_C":
            chosen[field.name] = _log_probs(draw, 3, draw(st.integers(1, 3)), 2)
        elif field.name in OF_FILTERS:
            chosen[field.name] = draw(OF_FILTERS[field.name])
        elif draw(st.booleans()):
            chosen[field.name] = draw(_values(field.type))
        if wrong and field.name in chosen and draw(st.booleans()):
            chosen[field.name] = draw(anything())
    return kind, chosen


def _classes(base: type | None) -> Iterator[type]:
    for module, each in ((objectives, Objective), (strategies, Strategy), (optimizers, Optimizer)):
        if base is None or base is each:
            for thing in vars(module).values():
                if isinstance(thing, type) and issubclass(thing, each) and dataclasses.is_dataclass(thing):
                    yield thing


def _values(annotation: object) -> SearchStrategy[Any]:
    text = str(annotation)
    names = {
        "float": "float",
        "int": "int",
        "bool": "bool",
        "Callable": "Score",
        "Optimizer": "Optimizer",
        "None": "None",
    }
    return st.one_of([SETTINGS[name] for word, name in names.items() if word in text])


@st.composite
def methods(draw: DrawFn) -> Any:
    """A method that can be made: by name, as an object with settings, a score function or a ``Method``."""
    method, optimizer = draw(st.one_of(_made(Objective), _made(Strategy), st.sampled_from([*METHODS, *SCORES]))), None
    if isinstance(method, Objective) and draw(st.booleans()):
        optimizer = draw(_made(Optimizer))
        return Method(method, optimizer)
    return draw(st.sampled_from((method, method, scores.margin)))


@st.composite
def _made(draw: DrawFn, base: type) -> Any:
    kind, chosen = draw(settings(base))
    try:
        return kind(**chosen)
    except TonsureError:  # two settings that do not agree
        others = {name: value for name, value in chosen.items() if name in ("make", "log_probs_T_K_C", *OF_FILTERS)}
        return kind(**others)


@st.composite
def selections(draw: DrawFn, wrong: bool = True) -> dict[str, Any]:
    """Arguments of ``select``.

    Args:
        wrong: whether one or two of them may be of a wrong kind.
    """
    N, K, C = draw(st.integers(1, 12)), draw(st.integers(1, 4)), draw(st.integers(2, 4))
    known = draw(st.permutations(range(N)))[: draw(st.integers(0, N - 1))]
    left = sorted(set(range(N)) - set(known))
    arguments: dict[str, Any] = {}
    given = draw(st.sampled_from(("predictions", "predictions", "both", "both", "features", "scores")))
    if given in ("predictions", "both"):
        arguments["predictions"] = draw(predictions(N, K, C))
    if given == "scores":
        arguments["predictions"] = torch.rand(N, generator=torch.Generator().manual_seed(N), dtype=torch.float64)
    if given in ("features", "both"):
        arguments["features"] = draw(features(N))
    arguments["method"] = draw(st.one_of(st.none(), methods()))
    most = len(left)
    if draw(st.booleans()):
        arguments["candidates"] = draw(rows(left, N, least=1))
        most = 1
    arguments["k"] = draw(counts(most))
    if known:
        arguments["labeled"] = draw(_as_rows(known, N))
        if not isinstance(arguments["labeled"], set) and draw(st.booleans()):
            arguments["labels"] = draw(_as_classes([row % C for row in known]))
    if draw(st.booleans()):
        arguments["seed"] = draw(st.sampled_from((0, 1, np.int64(3), np.uint8(4), 2**63 - 1)))
    if draw(st.booleans()):
        arguments["memory"] = draw(st.sampled_from((None, "1GB", 10**9, np.int64(10**9), 1, "1 KiB")))
    if draw(st.booleans()):
        arguments["device"] = draw(st.sampled_from((None, "cpu", torch.device("cpu"))))
    if given in ("predictions", "both") and draw(st.booleans()):
        arguments["samples"] = draw(rows(list(range(K)), K, least=1))
    if wrong:
        for name in draw(st.lists(st.sampled_from(sorted(WRONG)), min_size=0, max_size=2, unique=True)):
            arguments[name] = draw(WRONG[name](N, K, C))
    return arguments


WRONG: dict[str, Callable[[int, int, int], SearchStrategy[Any]]] = {
    "predictions": wrong_predictions,
    "features": lambda N, K, C: wrong_features(N),
    "method": lambda N, K, C: anything(),
    "optimizer": lambda N, K, C: anything(),
    "k": lambda N, K, C: wrong_counts(N),
    "labeled": lambda N, K, C: wrong_rows(N),
    "labels": lambda N, K, C: wrong_rows(N),
    "candidates": lambda N, K, C: wrong_rows(N),
    "seed": lambda N, K, C: wrong_counts(2**63 - 1),
    "samples": lambda N, K, C: wrong_rows(K),
    "memory": lambda N, K, C: anything(),
    "device": lambda N, K, C: anything(),
    "backend": lambda N, K, C: anything(),
}
"""For each argument of ``select``, what is mostly wrong for it."""
