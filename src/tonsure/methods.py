"""Method: an objective with its optimizer, a strategy, or a score; and the names by which methods are known."""

import ast
import difflib
import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tonsure import objectives, optimizers, strategies
from tonsure.arguments import refusal
from tonsure.errors import InputError, TonsureError
from tonsure.objectives import (
    BatchBALD,
    Discounted,
    LargeBatchBALD,
    LogDet,
    Pointwise,
    Random,
    SecondOrderEPIG,
    SecondOrderLBB,
)
from tonsure.objectives.base import Objective
from tonsure.objectives.with_targets import WithTargets
from tonsure.optimizers import Optimizer, PowerSample
from tonsure.scores import bald, entropy, least_confidence, margin, mean_std, variation_ratio
from tonsure.strategies import (
    BADGE,
    BAIT,
    CoreSet,
    DIRECT,
    DropQuery,
    FacilityLocation,
    LCMD,
    MaxHerding,
    Novelty,
    PredictionCoverage,
    ProbCover,
    Strategy,
    StratifiedPower,
    Targeted,
    TypiClust,
    UncertaintyHerding,
    WeightedKMeans,
)

Score = Callable[..., Any]
"""From ``log_probs_n_K_C`` to one number per item, [n]; a larger score is better to label."""

EXPECTED = "an objective, a strategy, a score function of log_probs_n_K_C, or a name"


@dataclass(frozen=True)
class Method:
    """What chooses a batch: an objective and the optimizer that searches it, or a strategy.

    Args:
        method: an objective, a strategy, a score function (which becomes ``Pointwise(score)``), a method, or a name:
            one of ``METHODS``, a class with settings such as ``"BatchBALD(labelings=4096)"``, a score such as
            ``"bald"``, or ``"my_module:MyObjective"``; after ``@`` an optimizer, ``"bald@PowerSample(beta=3)"``.
        optimizer: of an objective: an optimizer or its name; None is the one that suits the objective.

    Raises:
        InputError: the method or the optimizer is none, or a strategy is given an optimizer.
    """

    method: Any
    optimizer: Any = None

    def __post_init__(self) -> None:
        method, optimizer = self.method, self.optimizer
        if isinstance(method, str):
            method = named(method)
        if isinstance(optimizer, str):
            optimizer = named_optimizer(optimizer)
        if isinstance(method, Method):
            if method.optimizer is not None and optimizer is not None:
                raise InputError(f"{self.method} has the optimizer {method.optimizer}: expected no other, {optimizer}")
            method, optimizer = method.method, method.optimizer if optimizer is None else optimizer
        if isinstance(method, type):
            raise InputError(f"the method is the class {method.__name__}, expected an object: {method.__name__}()")
        if isinstance(optimizer, type):
            raise InputError(
                f"the optimizer is the class {optimizer.__name__}, expected an object: {optimizer.__name__}()"
            )
        if callable(method) and not isinstance(method, Objective | Strategy | Optimizer):
            method = Pointwise(method)
        if not isinstance(method, Objective | Strategy):
            hint = ": an optimizer is given as optimizer=" if isinstance(method, Optimizer) else ""
            raise refusal("the method", method, f"{EXPECTED}{hint}")
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise refusal("the optimizer", optimizer, "one such as PowerSample(), or its name")
        if optimizer is not None and isinstance(method, Strategy):
            raise InputError(f"{method} takes no optimizer, found {optimizer}")
        object.__setattr__(self, "method", method)
        object.__setattr__(self, "optimizer", optimizer)


DEFAULT = Method(PredictionCoverage())
"""The default for predictions without features: the best of such methods in docs/evidence.md."""

DEFAULT_WITH_FEATURES = Method(FacilityLocation())
"""The default for predictions with features: the method with the best mean rank in docs/evidence.md."""

DEFAULT_FEATURES_ALONE = Method(FacilityLocation(score=None))
"""The default for features without predictions: coverage, each row with the same weight."""

METHODS: Mapping[str, Method] = {
    "random": Method(Random()),
    "margin": Method(Pointwise(margin)),
    "entropy": Method(Pointwise(entropy)),
    "BALD": Method(Pointwise(bald)),
    "PowerBALD": Method(Pointwise(bald), PowerSample()),
    "BatchBALD": Method(BatchBALD()),
    "LBB": Method(LargeBatchBALD()),
    "second-order-LBB": Method(SecondOrderLBB()),
    "PLBB": Method(LargeBatchBALD(), PowerSample(beta=5.0)),
    "bounded-LBB": Method(SecondOrderLBB(bounded=True, corrected=True)),
    "log-det": Method(LogDet()),
    "discounted-margin": Method(Discounted(strength=16.0), PowerSample(beta=4.0)),
    "facility-location": DEFAULT_WITH_FEATURES,
    "coverage": DEFAULT_FEATURES_ALONE,
    "prediction-coverage": DEFAULT,
    "novelty": Method(Novelty()),
    "EPIG": Method(Targeted(SecondOrderEPIG)),
    "CoreSet": Method(CoreSet()),
    "BADGE": Method(BADGE()),
    "TypiClust": Method(TypiClust()),
    "ProbCover": Method(ProbCover()),
    "max-herding": Method(MaxHerding()),
    "uncertainty-herding": Method(UncertaintyHerding()),
    "weighted-k-means": Method(WeightedKMeans()),
    "BAIT": Method(BAIT()),
    "binary-BAIT": Method(BAIT(binary=True)),
    "LCMD": Method(LCMD()),
    "drop-query": Method(DropQuery()),
    "stratified-power": Method(StratifiedPower()),
    "DIRECT": Method(DIRECT()),
}
"""Methods by the names that ``select``, ``compare``, ``rounds`` and the command line know."""

SCORES: Mapping[str, Score] = {
    score.__name__: score for score in (bald, entropy, least_confidence, margin, variation_ratio, mean_std)
}


def named(text: str) -> Method:
    """The method that a text names, as described in ``Method``.

    Raises:
        InputError: there is none of that name (the message suggests the nearest), or it does not take the settings.
    """
    if text in METHODS:
        return METHODS[text]
    what, at, optimizer = text.partition("@")
    name = what.partition("(")[0].strip()
    made = METHODS[name] if name in METHODS and name == what.strip() else _made("method", what, _methods())
    return Method(made, named_optimizer(optimizer) if at else None)


def named_optimizer(text: str) -> Optimizer:
    """``LazyGreedy``, ``PowerSample(beta=5)`` or ``my_module:MyOptimizer``; raises as ``named`` does."""
    found = _made("optimizer", text, _classes(optimizers, Optimizer))
    if not isinstance(found, Optimizer):
        raise InputError(f"{text} is {found!r}, expected an optimizer")
    return found


def named_methods(text: str, *others: str) -> dict[str, Method | None]:
    """``LBB,BatchBALD(labelings=4096, seed=1),bald@PowerSample(beta=3)``: methods separated by commas, by their text.

    Args:
        others: words that stand for something else; their method is None.

    Raises:
        InputError: as ``named``, or one stands twice.
    """
    typed = [part.strip() for part in re.split(r",(?![^(]*\))", text)]  # settings have commas too
    for name in typed:
        if typed.count(name) > 1:
            raise InputError(f"the methods {text!r} name {name!r} twice")
    return {name: None if name in others else named(name) for name in typed}


def methods_by_name(name: str, given: Any) -> dict[str, Method]:
    """Methods by names of the user's own, from a dict of them; or from a list of names as ``named`` takes them.

    Args:
        name: of the argument.

    Raises:
        InputError: it is neither; or as ``named`` and ``Method``.
    """
    listed = isinstance(given, Mapping | Sequence) and not isinstance(given, str)
    if not listed or not all(isinstance(each, str) for each in given):
        raise refusal(name, given, "a list of names, or a dict of methods by names")
    if isinstance(given, Mapping):
        return {each: Method(method) for each, method in given.items()}
    return {each: named(each) for each in given}


def imported(path: str) -> Any:
    """What ``module:attribute`` names; a module of the working directory is found too.

    Raises:
        InputError: it cannot be imported, or the module raises an error, of which the message shows the last line.
    """
    names = re.fullmatch(r"(\w+(?:\.\w+)*):(\w+)", path)
    if names is None:
        raise InputError(f"{path!r} names nothing to import; expected my_module:my_name")
    if "" not in sys.path:
        sys.path.insert(0, "")  # modules of the user are where the command is typed
    with errors_of(path, "imported"):
        return getattr(importlib.import_module(names[1]), names[2])


@contextmanager
def errors_of(what: object, done: str) -> Iterator[None]:
    """A context for code of the user, whose errors become an ``InputError`` with their place.

    Args:
        what: the code, as the user named it.
        done: what was tried with it: "imported", "called".
    """
    try:
        yield
    except TonsureError:
        raise
    except (Exception, SystemExit) as error:  # whatever it is; a module that exits would end the command as if done
        kind = "" if isinstance(error, ImportError | AttributeError | TypeError) else f"{type(error).__name__}: "
        last = traceback.extract_tb(error.__traceback__)[-1]
        here = last.filename == __file__ or last.filename.startswith("<")  # not in a file of the user
        place = "" if here else f" ({last.filename}, line {last.lineno})"
        raise InputError(f"{what} cannot be {done}: {kind}{error}{place}") from error


def parsed(kind: str, text: str) -> tuple[str, dict[str, Any] | None]:
    """``name(key=value, …)`` with values that are plain literals.

    Raises:
        InputError: the text has another form.
    """
    name, parenthesis, rest = text.partition("(")
    if not parenthesis:
        return name.strip(), None
    try:
        call = ast.parse(f"_({rest}", mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            settings = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
            if len(settings) == len(call.keywords):  # no ** and no name twice
                return name.strip(), settings
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):  # the last two of deep parentheses
        pass
    raise InputError(f"the {kind} {text!r} cannot be read; expected Name or Name(setting=1.5)")


def _made(kind: str, text: str, known: Mapping[str, Any]) -> Any:
    """What a name, or a name with settings in parentheses, refers to; classes are called."""
    name, settings = parsed(kind, text)
    if ":" in name:
        thing = imported(name)
    elif name in known:
        thing = known[name]
    else:
        lower = {other.lower(): other for other in reversed(list(known))}  # of names that differ by case the first
        near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
        hint = f"; did you mean {lower[near[0]]}?" if near else "."
        raise InputError(f"there is no {kind} {name!r}{hint} There are {', '.join(known)}, or my_module:{kind.title()}")
    if not isinstance(thing, type):
        if settings is not None:
            raise InputError(f"{name} takes no settings, found {text!r}")
        return thing
    with errors_of(repr(text), "made"):
        return thing(**(settings or {}))


def _methods() -> dict[str, Any]:
    """All that can be named, without what needs an argument that cannot be typed."""
    left_out = {"Pointwise", "GivenScores", "Targeted", *_classes(objectives, WithTargets)}
    classes = _classes(objectives, Objective) | _classes(strategies, Strategy)
    return {**METHODS, **{name: one for name, one in classes.items() if name not in left_out}, **SCORES}


def _classes(package: ModuleType, base: type) -> dict[str, type]:
    return {
        name: value
        for name, value in vars(package).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }
