"""Random inputs to ``select``, of right and of wrong kinds: an answer that holds its contract, or an error of ours."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import hypothesis

import test_any_input
from stress.attack import Attack, Case
from tonsure.testing import inputs

INPUTS = 100
"""Of a case."""


def select(case: Case) -> Mapping[str, int]:
    counts: Counter[str] = Counter()

    def answer(arguments: dict[str, Any]) -> None:
        counts["inputs"] += 1
        counts["answered"] += test_any_input.check_selection(arguments)

    checked = test_any_input.so_many(INPUTS)(hypothesis.given(inputs.selections())(answer))
    hypothesis.seed(case.random.getrandbits(64))(checked)()
    return counts


ATTACK = Attack(
    f"random inputs to `select`, {INPUTS} for each case: predictions, features, methods, rows and settings, of right "
    "and of wrong kinds",
    lambda: 1000,
    1,
    select,
)
