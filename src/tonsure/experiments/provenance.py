"""The provenance of records: the configuration as text, the versions, the commit, the machine."""

import functools
import inspect
import os
import platform
import re
import subprocess
import textwrap
from collections.abc import Mapping
from importlib.metadata import version
from types import FunctionType
from typing import Any

import torch

from tonsure.training import stable_name


def describe(value: Any) -> str:
    """A value as text: functions and classes by their source code, with that of the functions they call.

    Functions and classes of this library are written as ``tonsure.name``, without their module, so that the text stays
    the same when modules are moved. A ``functools.partial`` is written as its function and its arguments. Memory
    addresses are left out, because they differ from process to process.
    """
    if isinstance(value, Mapping):
        return "\n".join(f"{key} = {describe(entry)}" for key, entry in value.items())
    if isinstance(value, functools.partial):
        settings = {**{f"argument {place}": entry for place, entry in enumerate(value.args)}, **value.keywords}
        return "\n\n".join([describe(value.func), *(f"{key} = {describe(entry)}" for key, entry in settings.items())])
    if not isinstance(value, FunctionType | type):
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    if value.__module__.split(".")[0] == "tonsure":
        return stable_name(value)
    parts = _with_callees(value)
    sources = [textwrap.dedent(inspect.getsource(part)).strip() for part in parts]
    enclosed = {
        name: entry
        for part in parts
        for name, entry in _enclosed(part).items()
        if not (isinstance(entry, FunctionType | type) and entry in parts)
    }
    return "\n\n".join([*sources, *([describe(enclosed)] if enclosed else [])])


def versions() -> dict[str, str]:
    packages = {package: version(package) for package in ("tonsure", "torch", "numpy")}
    return {"python": platform.python_version(), **packages}


def commit() -> str | None:
    """The commit of the repository in which the experiment is run; None outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.machine()}, {device}"


def _with_callees(function: FunctionType | type) -> list[Any]:
    """The function, and all functions and classes of its file that it refers to, directly or not."""
    parts: list[Any] = [function]
    for part in parts:  # the list grows in the loop
        parts += [
            value
            for value in dict.fromkeys(_named(part))
            if value.__module__ == function.__module__ and value not in parts
        ]
    return parts


def _named(part: Any) -> list[Any]:
    if not isinstance(part, FunctionType):
        return []
    values = [part.__globals__.get(name) for name in part.__code__.co_names]
    values += [*(part.__defaults__ or ()), *(part.__kwdefaults__ or {}).values(), *_enclosed(part).values()]
    return [value for value in values if isinstance(value, FunctionType | type)]


def _enclosed(part: Any) -> dict[str, Any]:
    """The variables that a function captured where it was defined, such as the scale of an experiment."""
    return dict(inspect.getclosurevars(part).nonlocals) if isinstance(part, FunctionType) else {}
