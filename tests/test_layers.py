"""The rooms of the house: a module imports only from rooms below its own, and neither half imports from the other.

A room is a file or a folder at the top level of the package.
"""

import ast
from itertools import chain
from pathlib import Path

import tonsure

PACKAGE = Path(tonsure.__file__).parent

GROUND = ["shapes", "errors", "arguments", "surroundings", "durable_files", "progress"]
SELECTION = [
    "information",
    "scores",
    "objectives",
    "search",
    "optimizers",
    "selection",
    "strategies",
    "methods",
    "select",
]
MODEL = ["seeding", "training", "networks", "models"]
ROOMS = [
    *GROUND,
    "information",
    "scores",
    "seeding",
    "networks",
    "training",
    "datasets",
    "predictions",
    "objectives",
    "search",
    "optimizers",
    "selection",
    "strategies",
    "methods",
    "select",
    "models",
    "comparison",
    "loop",
    "experiments",
    "report",
    "backends",
    "testing",
    "cli",
    "__main__",
]
"""From the lowest to the highest."""

FILES = 15
"""At most so many modules at the top level."""


def imports(path):
    """The rooms that a file imports from, with the lines, wherever in the file that is."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}, line {node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("tonsure."):
                yield name.split(".")[1], node.lineno


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


FILES_OF_ROOMS = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def test_every_room_has_its_place():
    assert {room_of(path) for path in FILES_OF_ROOMS} == set(ROOMS)
    assert len(ROOMS) == len(set(ROOMS))
    assert len(FILES_OF_ROOMS) > 100


def test_the_top_level_can_be_read_at_a_glance():
    assert len(list(PACKAGE.glob("*.py"))) <= FILES


def test_imports_go_down():
    place = {room: number for number, room in enumerate(ROOMS)}
    wrong = [
        f"{path.relative_to(PACKAGE)}, line {line}, imports {room}"
        for path in FILES_OF_ROOMS
        for room, line in imports(path)
        if room != room_of(path) and place[room] >= place[room_of(path)]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_halves_know_nothing_of_each_other():
    for one, other in ((SELECTION, MODEL), (MODEL, SELECTION)):
        found = chain.from_iterable(imports(path) for path in FILES_OF_ROOMS if room_of(path) in one)
        assert not {room for room, _ in found} & set(other)
