"""Experiment: methods that are compared on one dataset with one model."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from tonsure.datasets import Loader
from tonsure.errors import InputError
from tonsure.experiments.provenance import describe
from tonsure.experiments.records import names_a_file
from tonsure.methods import Method
from tonsure.models import BayesianModel


@dataclass(frozen=True)
class Experiment:
    """A comparison of methods on one dataset with one model.

    For a given seed, all methods start with the same labels, balanced over classes, and the same initial weights, so
    that their differences are paired over seeds.

    Args:
        name: the name of the folder of records.
        dataset: loads the pool and the test set.
        model: makes the model; called under the seed of the run, which determines the initial weights.
        methods: by name, in the order of the report.
        initial_labels: the number of labels before the first round.
        k: the number of labels added in a round.
        max_labels: the number of labels at which to stop.
        device: of the selection; the model has its own.
        seeds: of the runs, in this order; None is 0, 1, ….
        validation: the number of training items set aside as a validation set, the same for every seed. They are not in
            the pool, and are passed to ``fit`` of the model, which must accept ``validation``.

    Raises:
        InputError: the numbers of labels are inconsistent, a method is not a ``Method``, or a name cannot name a file.
    """

    name: str
    dataset: Loader
    model: Callable[[], BayesianModel]
    methods: Mapping[str, Method]
    initial_labels: int
    k: int
    max_labels: int
    device: str = "cpu"
    seeds: tuple[int, ...] | None = None
    validation: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.initial_labels <= self.max_labels or self.k < 1:
            raise InputError(
                f"experiment {self.name}: initial_labels = {self.initial_labels}, k = {self.k}, max_labels = "
                f"{self.max_labels}; expected 1 <= initial_labels <= max_labels and k >= 1"
            )
        for method in self.methods.values():
            if not isinstance(method, Method):
                raise InputError(f"experiment {self.name}: a method is {method!r}, expected tonsure.Method(…)")
        for what, name in (("name", self.name), *(("method", method) for method in self.methods)):
            if not names_a_file(name):
                raise InputError(
                    f"experiment {self.name}: the {what} {name!r} cannot name a file of records: expected a name "
                    "without slashes that is not empty, '.' or '..'"
                )

    @property
    def rounds(self) -> int:
        """The number of times a run fits its model."""
        return 1 + math.ceil((self.max_labels - self.initial_labels) / self.k)

    def first_seeds(self, count: int | None = None) -> Sequence[int]:
        """The first ``count`` seeds of the experiment, or of 0, 1, …; None is all of them, or 0, 1 and 2.

        Raises:
            InputError: count is below 1 or above the number of seeds.
        """
        if count is not None and count < 1:
            raise InputError(f"the number of seeds is {count}, expected at least 1")
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
        if not self.validation:
            del settings["validation"]  # records are older than this setting
        return describe(settings)
