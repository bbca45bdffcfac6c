"""What an experiment is: methods that are compared on one dataset and one model."""

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
    """Which methods learn most from how many labels, on which data, with which model.

    All methods begin with the same labels, class by class the same number, and the same initial weights under a
    seed, so that their differences are paired over seeds.

    Args:
        name: of the folder of records.
        dataset: where the pool and the test set come from.
        model: makes the model; called under the seed of the run, which decides the initial weights.
        methods: by name, in the order of the report.
        initial_labels: the number of labels before the first round.
        k: the number of labels added in a round.
        max_labels: the number of labels at which to stop.
        device: where the selection is done; the model knows its own.
        seeds: of the runs, in this order; None is 0, 1, ….
        validation: so many training items are set aside before all else, the same for every seed. They are not in the
            pool, and are given to every ``fit`` of the model, which must know what to do with them.

    Raises:
        InputError: the numbers of labels make no rounds, or a name is none of a folder or a file.
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
                    f"experiment {self.name}: the {what} {name!r} is part of where records are kept, but no file can "
                    "be called so: expected it without slashes, and not to be empty, '.' or '..'"
                )

    @property
    def rounds(self) -> int:
        """How many times a run fits its model."""
        return 1 + math.ceil((self.max_labels - self.initial_labels) / self.k)

    def first_seeds(self, count: int | None = None) -> Sequence[int]:
        """The first ``count`` of the experiment's seeds, or of 0, 1, …; None is all, or the first three.

        Raises:
            InputError: count is below one, or there are not so many.
        """
        if count is not None and count < 1:
            raise InputError(f"{count} seeds were asked for, expected at least 1")
        if self.seeds is None:
            return range(3 if count is None else count)
        if count is not None and count > len(self.seeds):
            raise InputError(f"{count} seeds were asked for, but experiment {self.name} has {len(self.seeds)}")
        return self.seeds[:count]

    def text_of(self, name: str) -> str:
        """What a run of one method depends on, as text; the same for every seed."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        settings["methods"] = {name: self.methods[name]}
        del settings["seeds"]  # which runs there are is not what one of them is
        if not self.validation:
            del settings["validation"]  # the first records are older than it
        return describe(settings)
