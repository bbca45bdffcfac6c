"""Twenty processes at once on one store or one folder of records: those that write it, and readers among them."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from stress import scenes
from stress.attack import Attack, Case
from stress.children import Child, contents, differences, must_be_refused, must_succeed, run, start, typed
from stress.kills import must_be_whole, undisturbed
from tonsure.errors import TonsureError
from tonsure.predictions.store import Store

TOGETHER = 20

READERS = 8
"""Of them, which open the store as often as they can; the others write it."""

COMMANDS = ("predict", "store make", "run")

OTHER: dict[str, tuple[object, ...]] = {"predict": ("--dtype", "float32"), "store make": ("--dtype", "float32")}
"""What half of the writers add: a mixture of the two would be seen."""

REFUSALS = ("another process", "exists already", "finished store", "was begun for another")

READ = 20
"""Times that a reader tries to open the store."""


def crowd(case: Case) -> Mapping[str, int]:
    command, random = COMMANDS[case.number % len(COMMANDS)], case.random
    lines = [scenes.COMMANDS[command], (*scenes.COMMANDS[command], *OTHER.get(command, ()))]
    wholes = [undisturbed(words)[0] for words in lines]
    _, seconds = undisturbed(lines[0])
    scenes.make(case.folder)
    works = [partial(typed, lines[number % 2], case.folder) for number in range(TOGETHER - READERS)]
    works += [partial(_read, case.folder / "out" / "store", 2 * seconds / READ, wholes)] * READERS
    random.shuffle(works)
    children: list[Child] = [start(work) for work in works]
    found = [child.result() for child in children]
    ended = [one for one in found if not isinstance(one, int)]
    done = [one for one in ended if one.status == 0]
    for one in ended:
        if one.status:
            must_be_refused(one, lines[0])
            assert any(words in one.err for words in REFUSALS), one.err
    # The two runs of `run` may have been done by two processes, each of which was refused the other one.
    assert done or command == "run", f"none of {len(ended)} processes did it: {ended[0].err}"
    apart = [differences(contents(case.folder), whole) for whole in wholes]
    assert not all(apart), " and ".join(apart)
    if command != "store make":
        words = lines[apart.index("")]
        must_succeed(run(words, case.folder), words)
        again = differences(contents(case.folder), wholes[apart.index("")])
        assert not again, f"after one more, {again}"
    return {
        "processes": TOGETHER,
        "that wrote, or found it whole": len(done),
        "refused": len(ended) - len(done),
        "openings by readers": sum(one for one in found if isinstance(one, int)),
    }


def _read(path: Path, wait: float, wholes: list[dict[str, object]]) -> int:
    """Opens a store again and again; it must be refused, or be whole. Gives how often it was opened."""
    opened = 0
    for _ in range(READ):
        time.sleep(wait)
        try:
            Store.open(path)
        except TonsureError:
            continue
        must_be_whole(path, wholes)
        opened += 1
    return opened


ATTACK = Attack(
    f"{TOGETHER} processes at once on one store or one folder of records: {TOGETHER - READERS} that write it "
    f"(`predict` or `store make`, half of them in another type; `run`), {READERS} that open the store all the time",
    lambda: 60,
    1,
    crowd,
)
