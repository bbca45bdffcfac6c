"""Who may import whom: a module imports only from layers below its own, and the halves meet in the loop alone.

Both see the waist: predictions, in memory or on disk.
"""

import ast
from pathlib import Path

import tonsure

PACKAGE = Path(tonsure.__file__).parent

WAIST = [
    {"errors", "shapes"},
    {"arrays", "checks", "parts"},
    {"store"},
]
SELECTION = [
    {"errors", "shapes"},
    {"information", "objective", "keys", "distances"},
    {"scores", "batch_measures"},
    {"objectives"},
    {"plan", "level"},
    {"shard"},
    {"shards"},
    {"candidates"},
    {"optimizers"},
    {"facilities"},
    {"select"},
    {"strategies", "compare"},
]
MODEL = [
    {"errors", "shapes"},
    {"seeding"},
    {"training", "pool"},
    {"models"},
    {"prediction_blocks"},
    {"predictions"},
    {"measures"},
]
BOTH = [
    {"labels"},
    {"loop"},
    {"data", "description", "recording", "runs"},
    {"experiment_settings"},
    {"one_run"},
    {"experiment"},
    {"backends"},
    {"names", "tables", "array_files"},
    {"options", "store_commands", "experiment_commands"},
    {"compare_command"},
    {"cli"},
    {"__main__"},
]
ASIDE = {
    "records": {"errors"},
    "whole_files": set(),
    "figures": set(),
    "comparison": set(),
    "archive": {"errors", "records", "whole_files"},
    "study": {"errors", "records", "archive", "comparison"},
    "report_tables": {"errors", "comparison", "study"},
    "report": {"errors", "comparison", "study", "report_tables", "figures", "whole_files"},
    "datasets": {"errors", "whole_files"},
    "networks": {"errors"},
    "testing": None,
    "__init__": None,
}


ABOVE_NO_LAYER = {"records", "report", "datasets", "networks", "whole_files"}


def allowed(module):
    """The modules that this one may import; None is any."""
    if module in ASIDE:
        return ASIDE[module]
    for half in (WAIST, SELECTION, MODEL):
        for depth, layer in enumerate(half):
            if module in layer:
                return set().union(*half[:depth], *(() if half is WAIST else WAIST))
    for depth, layer in enumerate(BOTH):
        if module in layer:
            return set().union(*WAIST, *SELECTION, *MODEL, *BOTH[:depth], ABOVE_NO_LAYER)
    raise AssertionError(f"{module} stands in no layer")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tonsure":
            if node.module == "tonsure":
                yield from (alias.name for alias in node.names)
            else:
                yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("tonsure."))


def test_imports_go_down():
    files = list(PACKAGE.rglob("*.py"))
    assert len(files) > 30
    for path in files:
        module = path.relative_to(PACKAGE).with_suffix("").parts[0]
        may = allowed(module)
        for imported in imports(path):
            assert may is None or imported == module or imported in may, f"{path.name} imports {imported}"
