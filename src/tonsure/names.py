"""From what is typed on a command line to the objects it names."""

import ast
import difflib
import functools
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tonsure import objectives, optimizers, scores
from tonsure.compare import METHODS, Search
from tonsure.errors import InputError
from tonsure.models import BayesianModel
from tonsure.objective import Objective
from tonsure.objectives import Pointwise
from tonsure.objectives.with_targets import WithTargets
from tonsure.optimizers import Optimizer
from tonsure.pool import as_inputs

if TYPE_CHECKING:
    from tonsure.experiment import Experiment

FULL = "full"
"""The scale of an experiment that has no other."""

ALL = "all"
"""The methods that are compared by default."""

SCORES = ("bald", "entropy", "least_confidence", "margin", "variation_ratio", "mean_std")


def objective(text: str) -> Objective[Any, Any]:
    """``LargeBatchBALD``, ``BatchBALD(labelings=4096)``, ``entropy`` or ``my_module:MyObjective``.

    Raises:
        InputError: there is none of that name (the message suggests the nearest), or it does not take the settings.
    """
    found = _made("objective", text, _objectives())
    if callable(found) and not isinstance(found, Objective):
        found = Pointwise(found)
    if not isinstance(found, Objective):
        raise InputError(f"{text} is {found!r}, expected an objective or a function of log_probs_n_K_C")
    return found


def optimizer(text: str) -> Optimizer:
    """``LazyGreedy``, ``PowerSample(beta=5)`` or ``my_module:MyOptimizer``; raises as ``objective`` does."""
    known = {name: getattr(optimizers, name) for name in _classes(optimizers, Optimizer) if name != "Optimizer"}
    found = _made("optimizer", text, known)
    if not isinstance(found, Optimizer):
        raise InputError(f"{text} is {found!r}, expected an optimizer")
    return found


def methods(text: str) -> tuple[dict[str, Search] | None, dict[str, Search]]:
    """``all,LBB,BatchBALD(labelings=4096, seed=1),bald@PowerSample(beta=3)``: what ``compare`` takes, as typed.

    Each is a name of ``METHODS``, or an objective and, after ``@``, its optimizer, if not the default one.

    Returns:
        the ``methods`` and ``more`` of ``compare``: where ``all`` stands among them, the others are more.

    Raises:
        InputError: one is neither (the message suggests the nearest), or stands twice.
    """
    found: dict[str, Search] = {}
    typed = [part.strip() for part in re.split(r",(?![^(]*\))", text)]  # settings have commas too
    for name in typed:
        if typed.count(name) > 1:
            raise InputError(f"the methods {text!r} name {name!r} twice")
        if name != ALL:
            found[name] = _method(name)
    return (None, found) if ALL in typed else (found, {})


def _method(text: str) -> Search:
    if text in METHODS:
        return METHODS[text]
    worth, at, search = text.partition("@")
    if not at and ":" not in text:
        name = text.partition("(")[0].strip()
        if name not in _objectives():
            known = dict.fromkeys([*METHODS, *_objectives()])
            raise _unknown("method", name, list(known), "Objective(setting=1)@Optimizer(beta=3)")
    return Search(objective(worth), optimizer(search) if at else None)


def experiments(file: Path, scale: str = FULL, network: str | None = None) -> "list[Experiment]":
    """The ``experiment`` of a Python file: one, a sequence, or a function from a scale to either.

    Args:
        scale: what the function is called with.
        network: given to every model as its ``network``; as ``my_module:make_network``.

    Raises:
        InputError: there is no such file, it makes none, has no such scale, or a model takes no network.
    """
    from tonsure.experiment import Experiment

    made = _of_scale(file, scale)
    found = list(made) if isinstance(made, Sequence) and not isinstance(made, str) else [made]
    if not found or not all(isinstance(one, Experiment) for one in found):
        raise InputError(
            f"{file} makes no `experiment`: expected experiment = tonsure.Experiment(…), a sequence of them, or a "
            f"function of the scale that gives either; found {made!r}"
        )
    names = [one.name for one in found]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InputError(f"{file} makes two experiments named {name!r}")
    return found if network is None else [_with_network(one, network) for one in found]


def only(found: "Sequence[Experiment]", patterns: str) -> "list[Experiment]":
    """Those that one of the patterns names, in their own order: ``mnist,*-dropout-10``.

    Raises:
        InputError: a pattern names none.
    """
    chosen: set[str] = set()
    for pattern in patterns.split(","):
        matching = {one.name for one in found if fnmatchcase(one.name, pattern.strip())}
        if not matching:
            known = ", ".join(one.name for one in found)
            raise InputError(f"there is no experiment {pattern.strip()!r}; there are {known}")
        chosen |= matching
    return [one for one in found if one.name in chosen]


def _of_scale(file: Path, scale: str) -> Any:
    made = getattr(_run_file(file), "experiment", None)
    if isinstance(made, FunctionType):
        try:
            return made(scale)
        except (ValueError, KeyError) as error:  # an InputError is a ValueError
            what = f"KeyError: {error}" if isinstance(error, KeyError) else error
            raise InputError(f"{file} makes no experiment of the scale {scale!r}: {what}") from error
    if scale != FULL:
        raise InputError(
            f"{file} makes its `experiment` at one scale, so there is none for {scale!r}; expected a function: "
            "def experiment(scale)"
        )
    return made


def _run_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise InputError(f"{file} is no file; expected a Python file that makes one `experiment`")
    name = f"experiment_{file.stem}"  # by its own name it might stand in the way of a library
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is no Python file")
    folder = str(file.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as for any script, so that one experiment may build on another
    sys.modules[name] = module = importlib.util.module_from_spec(spec)  # where the source of a class is looked for
    spec.loader.exec_module(module)
    return module


def _with_network(found: "Experiment", text: str) -> "Experiment":
    name, settings = _parsed("network", text)
    make = _imported(name) if ":" in name else None
    if not callable(make):
        raise InputError(
            f"the network {text!r} is {make!r}, expected my_module:make_network, a function that gives one"
        )
    if "network" not in inspect.signature(found.model).parameters:
        raise InputError(f"the model of experiment {found.name} takes no `network`; expected def model(network=…)")
    chosen = functools.partial(make, **settings) if settings else make
    make_model: Callable[..., BayesianModel] = found.model
    return replace(found, model=functools.partial(make_model, network=chosen))


def model(text: str) -> BayesianModel:
    """``my_module:model``, a fitted model, or a function without arguments that gives one.

    Raises:
        InputError: it cannot be imported, or is no model.
    """
    found = _given(
        text, BayesianModel, "my_module:model, a BayesianModel or a function without arguments that gives one"
    )
    assert isinstance(found, BayesianModel)
    return found


def inputs(text: str) -> Tensor:
    """``my_module:inputs``, a tensor or an array [N, ...], or a function without arguments that gives one.

    Raises:
        InputError: it cannot be imported, or is neither.
    """
    expected = "my_module:inputs, a tensor or an array or a function without arguments that gives one"
    return as_inputs(_given(text, (Tensor, np.ndarray), expected))


def _given(text: str, kind: type | tuple[type, ...], expected: str) -> Any:
    if ":" not in text:
        raise InputError(f"{text!r} names nothing to import, expected {expected}")
    found = _imported(text)
    if callable(found) and not isinstance(found, kind):
        found = found()
    if not isinstance(found, kind):
        raise InputError(f"{text} is {found!r}, expected {expected}")
    return found


def samples(text: str) -> list[int]:
    """``0-9,12``: numbers and ranges of them, both ends included.

    Raises:
        InputError: it cannot be read.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise InputError(f"the samples {text!r} cannot be read at {part!r}; expected numbers and ranges: 0-9,12")
        found.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def device(text: str) -> torch.device:
    """``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        InputError: there is none of that name, or it cannot be used here.
    """
    try:
        found = torch.device(text)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts that it has it
        raise InputError(f"the device {text!r} cannot be used: {str(error).splitlines()[0]}") from error
    return found


def _made(kind: str, text: str, known: dict[str, Any]) -> Any:
    """What a name, or a name with settings in parentheses, stands for; classes are called."""
    name, settings = _parsed(kind, text)
    if ":" in name:
        thing = _imported(name)
    elif name in known:
        thing = known[name]
    else:
        raise _unknown(kind, name, list(known), f"my_module:{kind.title()}")
    if not isinstance(thing, type):
        if settings is not None:
            raise InputError(f"{name} takes no settings, found {text!r}")
        return thing
    try:
        return thing(**(settings or {}))
    except TypeError as error:
        raise InputError(f"{text!r} cannot be made: {error}") from error


def _unknown(kind: str, name: str, known: list[str], own: str) -> InputError:
    lower = {other.lower(): other for other in reversed(known)}  # of names alike the first
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    hint = f"; did you mean {lower[near[0]]}?" if near else "."
    return InputError(f"there is no {kind} {name!r}{hint} There are {', '.join(known)}, or {own}")


def _parsed(kind: str, text: str) -> tuple[str, dict[str, Any] | None]:
    """``name(key=value, …)`` with values that are plain literals."""
    name, parenthesis, rest = text.partition("(")
    if not parenthesis:
        return name.strip(), None
    try:
        call = ast.parse(f"_({rest}", mode="eval").body
        assert isinstance(call, ast.Call)
        assert not call.args
        return name.strip(), {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, AssertionError) as error:
        raise InputError(f"the {kind} {text!r} cannot be read; expected Name or Name(setting=1.5)") from error


def _imported(path: str) -> Any:
    module_name, _, attribute = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the user's own modules lie where the command is typed
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{path} cannot be imported: {error}") from error


def _objectives() -> dict[str, Any]:
    # A score stands for itself, and targets cannot be typed.
    unnamed = {"Pointwise", *_classes(objectives, WithTargets)}
    known = {name: getattr(objectives, name) for name in _classes(objectives, Objective) if name not in unnamed}
    return known | {name: getattr(scores, name) for name in SCORES}


def _classes(package: ModuleType, base: type) -> list[str]:
    return [name for name, value in vars(package).items() if isinstance(value, type) and issubclass(value, base)]
