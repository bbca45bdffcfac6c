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
from tonsure.methods import errors_of, imported, parsed
from tonsure.models import BayesianModel

FULL = "full"
"""The default scale."""


def experiments(file: Path, scale: str = FULL, network: str | None = None) -> list[Experiment]:
    """The experiments of a Python file, whose ``experiment`` is one, a sequence, or a function of the scale.

    Args:
        scale: the argument of the function.
        network: replaces the ``network`` of every model, as ``my_module:make_network``.

    Raises:
        InputError: the file does not exist, raises an error, has no experiment or not this scale, or a model takes no
            network.
    """
    made = _of_scale(file, scale)
    found = list(made) if isinstance(made, Sequence) and not isinstance(made, str) else [made]
    if not found or not all(isinstance(one, Experiment) for one in found):
        raise InputError(
            f"{file} has no `experiment`: expected experiment = tonsure.Experiment(…), a sequence of them, or a "
            f"function of the scale that returns either; found {made!r}"
        )
    names = [one.name for one in found]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InputError(f"{file} has two experiments named {name!r}")
    return found if network is None else [_with_network(one, network) for one in found]


def only(found: Sequence[Experiment], patterns: str) -> list[Experiment]:
    """The experiments whose name matches a pattern, such as ``mnist,*-dropout-10``, in their own order.

    Raises:
        InputError: a pattern matches none.
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
            raise InputError(f"{file} has no experiment at the scale {scale!r}: {what}") from error
    if scale != FULL:
        raise InputError(
            f"{file} has an `experiment` at one scale only, not at {scale!r}; expected a function: "
            "def experiment(scale)"
        )
    return made


def _run_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise InputError(f"{file} is not a file; expected a Python file with an `experiment`")
    name = f"experiment_{file.stem}"  # its own name might hide that of a library
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is not a Python file")
    folder = str(file.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as for a script, so that experiments can import one another
    sys.modules[name] = module = importlib.util.module_from_spec(
        spec
    )  # where ``inspect`` looks for the source of a class
    with errors_of(file, "run"):
        spec.loader.exec_module(module)
    return module


def _with_network(found: Experiment, text: str) -> Experiment:
    name, settings = parsed("network", text)
    make = imported(name) if ":" in name else None
    if not callable(make):
        raise InputError(
            f"the network {text!r} is {make!r}, expected my_module:make_network, a function that returns a network"
        )
    if "network" not in inspect.signature(found.model).parameters:
        raise InputError(f"the model of experiment {found.name} takes no `network`; expected def model(network=…)")
    chosen = functools.partial(make, **settings) if settings else make
    make_model: Callable[..., BayesianModel] = found.model
    return replace(found, model=functools.partial(make_model, network=chosen))
