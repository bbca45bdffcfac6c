"""Experiment: methods that are compared on one dataset with one model."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import torch

from tonsure.arguments import Settings, flag, optional, refusal, setting, whole, whole_number
from tonsure.datasets import Loader
from tonsure.errors import InputError
from tonsure.experiments.provenance import describe
from tonsure.experiments.records import NAME, is_name
from tonsure.methods import Method, methods_by_name
from tonsure.models import BayesianModel

MOST_SEEDS = 10_000
"""Of one experiment: the plan of all runs is held in memory."""


def seeds_of_runs(name: str, given: Any) -> tuple[int, ...]:
    """The check of seeds, in their order.

    Raises:
        InputError: they are no list of different whole numbers from 0, or there are none, or more than ``MOST_SEEDS``.
    """
    expected = f"a list of 1 to {MOST_SEEDS:,} different whole numbers from 0"
    if isinstance(given, str | bytes | Set | Mapping) or not isinstance(given, Iterable):
        raise refusal(name, given, expected)
    try:
        found = tuple(whole_number(name, seed, 0) for seed in islice(given, MOST_SEEDS + 1))
    except Exception as error:  # whatever an object raises that is asked for its items
        raise refusal(name, given, expected) from error
    if not 1 <= len(found) <= MOST_SEEDS or len(set(found)) < len(found):
        raise refusal(name, given, expected)
    return found


def _name(name: str, given: object) -> str:
    if not is_name(given):
        raise refusal(name, given, NAME)
    return given


def _loader(name: str, given: object) -> Any:
    if isinstance(given, type) or not isinstance(given, Loader):
        raise refusal(name, given, "an object that loads a dataset, such as tonsure.datasets.Digits()")
    return given


def _maker(name: str, given: object) -> Any:
    expected = "a function without arguments that makes a model"
    if isinstance(given, torch.nn.Module | BayesianModel) or not callable(given):
        raise refusal(name, given, expected)
    try:
        inspect.signature(given).bind()
    except TypeError as error:
        raise refusal(name, given, f"{expected}: {error}") from error
    except ValueError:  # some functions that are not written in Python do not tell their arguments
        pass
    return given


def _methods(name: str, given: object) -> dict[str, Method]:
    found = methods_by_name(name, given)
    if not found:
        raise refusal(name, given, "at least one method")
    for method in found:
        _name(f"{name} has a name that", method)
    return found


def _device(name: str, given: object) -> str:
    if not isinstance(given, str | torch.device):
        raise refusal(name, given, "the name of a device, such as 'cpu' or 'cuda'")
    return str(given)


@dataclass(frozen=True)
class Experiment(Settings):
    """A comparison of methods on one dataset with one model.

    For a given seed, all methods start with the same labels and the same initial weights, so that their differences are
    paired over seeds.

    Args:
        name: the name of the folder of records.
        dataset: loads the pool and the test set.
        model: makes the model; called under the seed of the run, which determines the initial weights.
        methods: by name, in the order of the report: a dict, or a list of names as for ``compare``.
        initial_labels: the number of labels before the first round; 0 leaves the first batch to the method, as
            ``rounds`` describes.
        k: the number of labels added in a round.
        max_labels: the number of labels at which to stop.
        device: of the selection; the model has its own.
        seeds: of the runs, in this order; None is 0, 1, ….
        features: loads the same items with features as their inputs, by which methods compare them, for example those
            of a pretrained encoder. None is the features of the model.
        balanced: whether the initial labels are balanced over classes; if not, their rows are drawn uniformly.
        validation: the number of training items set aside as a validation set, the same for every seed. They are not in
            the pool, and are passed to ``fit`` of the model, which must accept ``validation``.

    Raises:
        InputError: an argument is of another type or out of range, there is no method, or a name cannot name a file.
    """

    name: str = setting(_name)
    dataset: Loader = setting(_loader)
    model: Callable[[], BayesianModel] = setting(_maker)
    methods: Mapping[str, Method] = setting(_methods)
    initial_labels: int = setting(whole(0))
    k: int = setting(whole(1))
    max_labels: int = setting(whole(1))
    device: str = setting(_device, "cpu")
    seeds: Sequence[int] | None = setting(optional(seeds_of_runs), None)
    validation: int = setting(whole(0), 0)
    features: Loader | None = setting(optional(_loader), None)
    balanced: bool = setting(flag, True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.initial_labels > self.max_labels:
            raise InputError(
                f"experiment {self.name}: initial_labels is {self.initial_labels}, expected at most max_labels, "
                f"{self.max_labels}"
            )

    @property
    def rounds(self) -> int:
        """The number of times a run fits its model."""
        return 1 + math.ceil((self.max_labels - self.initial_labels) / self.k)

    def first_seeds(self, count: int | None = None) -> Sequence[int]:
        """The first ``count`` seeds of the experiment, or of 0, 1, …; None is all of them, or 0, 1 and 2.

        Raises:
            InputError: count is no whole number, or below 1 or above the number of seeds.
        """
        count = optional(whole(1))("the number of seeds", count)
        if self.seeds is None:
            return range(3 if count is None else count)
        if count is not None and count > len(self.seeds):
            raise InputError(f"the number of seeds is {count}, but experiment {self.name} has {len(self.seeds)}")
        return self.seeds[:count]

    def text_of(self, name: str) -> str:
        """The configuration of a run of one method as text, the same for every seed."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        settings["methods"] = {name: self.methods[name]}
        del settings["seeds"]  # a run does not depend on which others there are
        later = {"validation": 0, "features": None, "balanced": True}  # records are older than these settings
        return describe({key: value for key, value in settings.items() if key not in later or value != later[key]})
