from functools import partial

from torch import nn

import small_experiment
import tonsure as tn
from tonsure.datasets import Digits
from tonsure.experiments import load
from tonsure.experiments.provenance import describe, machine, versions


def make(width=3):
    return nn.Linear(width, width)


def model(network=make, *, iterations):
    return network()


class Network(nn.Module):
    """A class of this file."""


def made_by_class():
    return Network()


def scaled(width):
    def inner():
        return make(width)

    return inner


def test_functions_by_their_source_with_those_they_call():
    text = describe({"model": small_experiment.model, "n": 3, "loader": Digits()})
    assert "n = 3" in text
    assert "return tn.MCDropout(network(), samples=8" in text
    assert "nn.Linear(64, 32)" in text
    assert "0x" not in text
    assert "def make(width=3):" in describe(model)
    assert "A class of this file." in describe(made_by_class)


def test_a_partial_is_its_function_and_its_settings():
    text = describe(partial(partial(model, network=partial(make, 5)), iterations=7))
    assert text.startswith("def model(network=make, *, iterations):")
    assert "network = def make(width=3):" in text
    assert "argument 0 = 5" in text
    assert text.endswith("iterations = 7")
    assert "functools" not in text


def test_what_a_function_took_from_around_it():
    assert describe(scaled(4)) != describe(scaled(5))
    assert describe(scaled(4)).endswith("width = 4")


def test_functions_that_took_one_another():
    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    assert describe(even).count("def ") == 2


def test_this_library_by_name_without_modules_or_addresses():
    assert describe(partial(tn.best_device)) == "tonsure.best_device"
    assert describe(object()) == "<object object>"


def test_a_class_of_an_experiment_file(tmp_path):
    """Such a file is not imported, so it is nowhere that ``inspect`` would look by itself."""
    (tmp_path / "with_class.py").write_text(
        "import dataclasses, small_experiment\n"
        "class Net:\n"
        "    mark = 1\n"
        "def model(): return Net()\n"
        "experiment = dataclasses.replace(small_experiment.experiment, model=model)\n"
    )
    [found] = load.experiments(tmp_path / "with_class.py")
    assert "mark = 1" in found.text_of("random")


def test_the_machine_and_the_versions():
    assert " threads, " in machine()
    assert list(versions()) == ["python", "tonsure", "torch", "numpy"]
