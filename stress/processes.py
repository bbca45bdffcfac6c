"""Twenty processes at once on one store or one folder of records, all by the same command, and readers among them."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from stress import scenes
from stress.attack import Attack, Case
from stress.children import Child, contents, differences, must_be_refused, must_succeed, run, start, typed
from stress.kills import undisturbed
from tonsure.errors import TonsureError
from tonsure.predictions.store import Store

TOGETHER = 20

READERS = 8
"""Of them, which open the store as often as they can; the others write it."""

COMMANDS = ("predict", "store make", "run")

READ = 20
"""Times that a reader tries to open the store."""


def crowd(case: Case) -> Mapping[str, int]:
    command = COMMANDS[case.number % len(COMMANDS)]
    words, random = scenes.COMMANDS[command], case.random
    expected, seconds = undisturbed(command)
    scenes.make(case.folder)
    mine = {name.removeprefix("out/store/"): what for name, what in expected.items() if name.startswith("out/store/")}
    read = partial(_read, case.folder / "out" / "store", 2 * seconds / READ, mine)
    works = [read] * READERS + [partial(typed, words, case.folder)] * (TOGETHER - READERS)
    random.shuffle(works)
    children: list[Child] = [start(work) for work in works]
    found = [child.result() for child in children]
    ended = [one for one in found if not isinstance(one, int)]
    done = [one for one in ended if one.status == 0]
    for one in ended:
        if one.status:
            must_be_refused(one, words)
            assert "another process" in one.err or "exists already" in one.err or "finished store" in one.err, one.err
    assert done, f"none of {len(ended)} processes did it: {ended[0].err}"
    apart = differences(contents(case.folder), expected)
    assert not apart, apart
    if command != "store make":
        must_succeed(run(words, case.folder), words)
        apart = differences(contents(case.folder), expected)
        assert not apart, f"after one more, {apart}"
    return {
        "processes": TOGETHER,
        "that wrote, or found it whole": len(done),
        "refused": len(ended) - len(done),
        "openings by readers": sum(one for one in found if isinstance(one, int)),
    }


def _read(path: Path, wait: float, mine: Mapping[str, object]) -> int:
    """Opens a store again and again; it must be refused, or be whole. Gives how often it was opened."""
    opened = 0
    for _ in range(READ):
        time.sleep(wait)
        try:
            Store.open(path)
        except TonsureError:
            continue
        found = contents(path)
        assert all(found.get(name) == what for name, what in mine.items()), "a reader saw a store that is not whole"
        opened += 1
    return opened


ATTACK = Attack(
    f"{TOGETHER} processes at once on one store or one folder of records: {TOGETHER - READERS} of the same command "
    f"(`predict`, `store make` or `run`), {READERS} that open the store all the time",
    lambda: 60,
    1,
    crowd,
)
