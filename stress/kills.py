"""Kills commands that write, at random instants; the same command must then go on to the same files."""

import functools
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from stress import scenes
from stress.attack import Attack, Case
from stress.children import content, contents, differences, must_be_refused, must_succeed, run, started, timed
from tonsure.errors import TonsureError
from tonsure.predictions.store import Store

KILLED = ("predict", "run", "store make")
TRIES = 5
"""A command that has ended before it could be killed is run again, to be killed at another instant."""


@functools.cache
def undisturbed(words: tuple[object, ...]) -> tuple[dict[str, object], float]:
    """What a command leaves that nobody disturbs, and the seconds that it takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenes.make(folder)
        seconds = timed(words, folder)
        return contents(folder), seconds


def kill(case: Case) -> Mapping[str, int]:
    command = KILLED[case.number % len(KILLED)]
    words, random = scenes.COMMANDS[command], case.random
    expected, seconds = undisturbed(words)
    for attempt in range(TRIES):
        folder = case.folder / str(attempt)
        folder.mkdir()
        scenes.make(folder)
        child = started(words, folder)
        time.sleep(instant := random.random() * seconds)
        child.kill()
        if child.result() is None:
            break
    else:
        return {f"{command} that had ended": 1}
    shutil.copytree(folder, case.folder / "killed")
    try:
        whole = _is_whole(folder, expected)
        again = run(words, folder)
        if whole and command == "store make":
            must_be_refused(again, words)  # as it exists
        else:
            must_succeed(again, words)
        apart = differences(contents(folder), expected)
        assert not apart, apart
    except AssertionError as error:
        error.add_note(f"{command}, killed after {instant * 1000:.1f} of {seconds * 1000:.1f} ms, left 'killed'")
        raise
    return {f"of {command}": 1, "when all was written": whole}


def _is_whole(folder: Path, expected: Mapping[str, object]) -> bool:
    """Whether there is a store; it must be all of it, or be refused."""
    path = folder / "out" / "store"
    try:
        Store.open(path)
    except TonsureError:
        return False
    must_be_whole(path, [expected])
    return True


def must_be_whole(path: Path, wholes: Sequence[Mapping[str, object]]) -> None:
    """Asserts that an opened store is what one of these commands leaves; it may have other files too."""
    folder = path.parents[1]
    stores = [{name: what for name, what in whole.items() if name.startswith("out/store/")} for whole in wholes]
    same = [all(content(folder / name) == what for name, what in store.items()) for store in stores]
    assert any(same), "a store that is not whole was opened"


ATTACK = Attack(
    "`predict`, `run` and `store make` killed (SIGKILL) at random instants, then the same command once more",
    lambda: 1000,
    8,
    kill,
)
