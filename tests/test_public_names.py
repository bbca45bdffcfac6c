import inspect
import subprocess
import sys

import tonsure


def test_the_public_names_are_those_imported_sorted():
    source = inspect.getsource(tonsure)
    lines = [line for line in source.splitlines() if line.startswith("from")]
    names = [line.split(" import ")[1].split(" as ") for line in lines]
    assert all(left == right for left, right in names)
    assert lines == sorted(lines)
    assert {left for left, _ in names} == {
        name for name, value in vars(tonsure).items() if not name.startswith("_") and not inspect.ismodule(value)
    } | {"select"}


def test_every_public_name_is_documented():
    for name in dir(tonsure):
        value = getattr(tonsure, name)
        if not name.startswith("_") and not inspect.ismodule(value):
            assert inspect.getdoc(value), name


def test_importing_does_nothing():
    """No seed, no logging, no thread count, no part that needs an extra."""
    code = (
        "import sys, logging, warnings, torch, numpy\n"
        "state = lambda: (torch.get_rng_state().tolist(), str(numpy.random.get_state()), torch.get_num_threads(),\n"
        "    torch.backends.cudnn.deterministic, logging.root.handlers, list(warnings.filters))\n"
        "before = state()\n"
        "import tonsure\n"
        "assert state() == before\n"
        "assert not {'matplotlib', 'sklearn', 'pooch', 'typer', 'tonsure.cli'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_module_hides_a_public_name():
    """``import tonsure.select`` imports the module, and leaves ``tonsure.select`` the function."""
    code = (
        "import importlib, pkgutil, tonsure\n"
        "before = {name: value for name, value in vars(tonsure).items() if callable(value)}\n"
        "assert {'select', 'compare', 'features', 'predict'} <= set(before)\n"
        "import tonsure.select\n"
        "for module in pkgutil.walk_packages(tonsure.__path__, 'tonsure.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "for name, value in before.items():\n"
        "    assert getattr(tonsure, name) is value, name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
