"""Experiments from a Python file."""

import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from tonsure.errors import InputError
from tonsure.experiments.settings import Experiment
from tonsure.methods import imported, parsed
from tonsure.models import BayesianModel

FULL = "full"
"""The scale of an experiment that has no other."""


def experiments(file: Path, scale: str = FULL, network: str | None = None) -> list[Experiment]:
    """The ``experiment`` of a Python file: one, a sequence, or a function from a scale to either.

    Args:
        scale: what the function is called with.
        network: given to every model as its ``network``; as ``my_module:make_network``.

    Raises:
        InputError: there is no such file, it makes none, has no such scale, or a model takes no network.
    """
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


def only(found: Sequence[Experiment], patterns: str) -> list[Experiment]:
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


def _with_network(found: Experiment, text: str) -> Experiment:
    name, settings = parsed("network", text)
    make = imported(name) if ":" in name else None
    if not callable(make):
        raise InputError(
            f"the network {text!r} is {make!r}, expected my_module:make_network, a function that gives one"
        )
    if "network" not in inspect.signature(found.model).parameters:
        raise InputError(f"the model of experiment {found.name} takes no `network`; expected def model(network=…)")
    chosen = functools.partial(make, **settings) if settings else make
    make_model: Callable[..., BayesianModel] = found.model
    return replace(found, model=functools.partial(make_model, network=chosen))
