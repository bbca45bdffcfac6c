"""The files of experiments/paper make what they say, with networks that fit their data; none of the data is read."""

from pathlib import Path

import pytest
import torch

from tonsure import InputError
from tonsure.experiments import load

PAPER = Path(__file__).parents[1] / "experiments" / "paper"
IMAGE, FEATURES, COLOR = torch.zeros(2, 1, 28, 28), torch.zeros(2, 512), torch.zeros(2, 3, 32, 32)
# What two items look like at the small scale and at the full one, and how many classes there are.
ITEMS = {
    "mnist": (IMAGE, IMAGE, 10),
    "rmnist": (IMAGE, IMAGE, 10),
    "fashion_mnist": (IMAGE, IMAGE, 10),
    "kmnist": (IMAGE, IMAGE, 10),
    "emnist": (IMAGE, IMAGE, 47),
    "cifar10": (FEATURES, COLOR, 10),
    "cifar100": (FEATURES, COLOR, 100),
    "repeated_cifar10": (None, COLOR, 10),
    "repeated_cifar100": (None, COLOR, 100),
    "svhn": (FEATURES, COLOR, 10),
    "ag_news": (torch.ones(2, 48, dtype=torch.int64), torch.ones(2, 64, dtype=torch.int64), 4),
    "clinc150": (torch.ones(2, 24, dtype=torch.int64), torch.ones(2, 24, dtype=torch.int64), 150),
    "banking77": (torch.ones(2, 32, dtype=torch.int64), torch.ones(2, 32, dtype=torch.int64), 77),
}


def test_no_file_is_left_out():
    assert {path.stem for path in PAPER.glob("*.py")} == {*ITEMS, "paper", "resnets"}


@pytest.mark.parametrize("scale", ["small", "full"])
@pytest.mark.parametrize("name", ITEMS)
def test_networks_fit_their_data(name, scale):
    small, full, classes = ITEMS[name]
    if small is None and scale == "small":
        with pytest.raises(InputError, match="has no small scale"):
            load.experiments(PAPER / f"{name}.py", scale)
        return
    found = load.experiments(PAPER / f"{name}.py", scale)
    assert len({experiment.name for experiment in found}) == len(found)
    assert scale == "full" or len(found) == 6

    for experiment in {repr(experiment.model): experiment for experiment in found}.values():
        settings = experiment.model.keywords
        network = settings["network"]().eval()
        assert network(small if scale == "small" else full).shape == (2, classes)
        assert experiment.model().samples == settings.get("samples", settings.get("members"))


@pytest.mark.parametrize("name", ITEMS)
def test_the_record_holds_every_setting_and_no_address(name):
    for experiment in load.experiments(PAPER / f"{name}.py", "full"):
        for method in experiment.methods:
            text = experiment.text_of(method)
            assert "0x" not in text
            assert f"dataset = {experiment.dataset!r}" in text
        assert experiment.seeds == (42, 227, 346, 684, 920)
