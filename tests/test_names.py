"""The axes in a parameter's name are those of its annotation, and all letters are in the legend."""

import ast
import re
from pathlib import Path

import tonsure
from tonsure.shapes import LETTERS

NAME = re.compile(r"^[a-z][a-z_]*?((?:_(?:[NnKCcbmMGTD]+|1))+)$")
ANNOTATION = re.compile(r"^(?:Float|Float64|Int|Int64|Bool)\[Tensor, ['\"]([^'\"]*)['\"]\]$")


def parameters():
    for path in Path(tonsure.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.Lambda):
                for argument in [*node.args.args, *node.args.kwonlyargs]:
                    if argument.annotation is not None:
                        yield path.name, argument.arg, ast.unparse(argument.annotation)


def test_names_and_annotations_carry_the_same_axes():
    compared = 0
    for file, name, annotation in parameters():
        axes = ANNOTATION.match(annotation)
        if axes is None or name.endswith("_rows"):  # positions, which all have one axis
            continue
        letters = axes[1].split()
        suffix = NAME.match(name)
        assert suffix is not None, f"{file}: {name} is annotated {annotation}, but its name carries no axes"
        named = suffix[1].strip("_").split("_")
        if letters[-1] == "...":  # any further axes
            letters, named = letters[:-1], named[: len(letters) - 1]
        assert named == letters, f"{file}: {name} is annotated {annotation}"
        compared += 1
    assert compared > 20


def test_letters_are_in_the_legend():
    for file, name, _ in parameters():
        suffix = NAME.match(name)
        if suffix is not None:
            assert set(suffix[1]) - {"_"} <= LETTERS, f"{file}: {name}"


def test_annotations_of_arrays_are_checked(request):
    """In every module that has some: pyproject.toml names the packages."""
    checked = request.config.getoption("--jaxtyping-packages").split(",")[:-1]
    root = Path(tonsure.__file__).parent
    for path in root.rglob("*.py"):
        module = ".".join(["tonsure", *path.relative_to(root).with_suffix("").parts])
        if re.search("^(?:from|import) jaxtyping", path.read_text(), flags=re.MULTILINE):
            assert any(f"{module}.".startswith(f"{name}.") for name in checked), module
