"""An attack: numbered cases, made from a seed alone, run by processes; each that is done has a line of JSON."""

import contextlib
import hashlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from stress import ROOT
from tonsure.durable_files import append_json_line, read_json_lines
from tonsure.experiments.provenance import machine, versions

PROCESSES = multiprocessing.get_context("forkserver")

DEADLINE = 300
"""The seconds after which a case has failed: what is refused must be refused soon."""

MEMORY = 8 * 2**30
"""The bytes that a process of an attack may address."""


@dataclass(frozen=True)
class Case:
    """One case of an attack.

    Attributes:
        folder: of its own, empty; kept if the case fails.
    """

    kind: str
    seed: int
    number: int
    folder: Path

    @property
    def random(self) -> random.Random:
        """A generator, always in the same state."""
        return random.Random(f"{self.kind} {self.seed} {self.number}")


@dataclass(frozen=True)
class Attack:
    """A kind of attack, the ``ATTACK`` of the module of its name.

    Args:
        tries: what is tried, in one sentence, for the table of the docs.
        cases: the number of cases of a whole attack.
        tests: the number of cases that the ordinary tests run.
        run: runs a case; gives what it counted by name, and raises if something is not as it must be.
    """

    tries: str
    cases: Callable[[], int]
    tests: int
    run: Callable[[Case], Mapping[str, int]]


def attack(kind: str) -> Attack:
    found: Attack = import_module(f"stress.{kind}").ATTACK
    return found


@dataclass
class Result:
    """What an attack found.

    Attributes:
        of: the number of cases of a whole attack.
        seconds: of all cases, one after the other.
        counts: what the cases counted, added up.
        failures: of cases by number.
    """

    kind: str
    seed: int
    cases: int
    of: int
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)

    def to_json(self, of_commit: str | None) -> dict[str, Any]:
        """Plain data, with what it was found with."""
        found = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": of_commit, "versions": versions()}
        return {
            **vars(self),
            "seconds": round(self.seconds),
            "counts": dict(self.counts),
            **found,
            "machine": machine(),
        }

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        cases = f"{self.cases:,} of {self.of:,} cases in {self.seconds:,.0f} s"
        return f"{self.kind}: {len(self.failures):,} failed; {cases}: {counts}"

    def repeats(self) -> list[str]:
        """How to repeat each failure, and what it was."""
        return [
            f"{self.kind}, seed {self.seed}, case {number}: python -m stress {self.kind} --seed {self.seed} --case "
            f"{number}\n    {failure}"
            for number, failure in sorted(self.failures.items())
        ]


def perform(
    kind: str,
    folder: Path,
    *,
    share: float = 1.0,
    count: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    case: int | None = None,
    say: Callable[[str], object] = print,
) -> Result:
    """Runs an attack, or goes on with one: cases that have passed with the same code are not run again.

    Args:
        folder: of the lines of JSON, one for each case that is done, and of what failed cases leave.
        share: of all cases.
        count: the number of cases, in place of a share.
        jobs: the number of processes.
        case: the number of the only case to run, whether or not it has passed before.
    """
    path = folder / f"{kind}-seed{seed}-{code()}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(jobs, PROCESSES, initializer=_begin) as processes:
        of = processes.submit(_cases, kind).result()
        several = count or max(1, round(of * share))
        numbers = [case] if case is not None else random.Random(seed).sample(range(of), min(several, of))
        wanted = set(numbers)
        done = {line["case"]: line for line in read_json_lines(path).objects if line["case"] in wanted}
        passed = {number for number, line in done.items() if line["failure"] is None and case is None}
        if passed:
            say(f"{kind}: {len(passed):,} of {len(numbers):,} cases have passed already ({path})")
        to_do = [number for number in numbers if number not in passed]
        for running in as_completed([processes.submit(_tried, kind, seed, number, folder) for number in to_do]):
            line = running.result()
            append_json_line(path, line, wait=False)
            done[line["case"]] = line
    result = Result(kind, seed, len(numbers), of)
    for number in numbers:
        line = done[number]
        result.seconds += line["seconds"]
        result.counts.update(line["counts"])
        if line["failure"] is not None:
            result.failures[number] = line["failure"]
    return result


def code() -> str:
    """A hash of the code: of tonsure, of the attacks, and of the tests that they use."""
    found = hashlib.blake2b(digest_size=4)
    for path in sorted(path for part in ("src", "stress", "tests") for path in (ROOT / part).rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _begin() -> None:
    # A case that takes all memory fails, and says which it is; the system would end the process of any.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # As one thread, a process can fork others at any time.
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")


def _cases(kind: str) -> int:
    return attack(kind).cases()


def _tried(kind: str, seed: int, number: int, folder: Path) -> dict[str, Any]:
    """The line of a case."""
    case = Case(kind, seed, number, folder.absolute() / "failed" / f"{kind}-seed{seed}-{number}")
    shutil.rmtree(case.folder, ignore_errors=True)
    case.folder.mkdir(parents=True)
    start, failure, counts = time.perf_counter(), None, {}
    home = Path.cwd()
    try:
        with _deadline(DEADLINE):
            counts = dict(attack(kind).run(case))
    except (Exception, Late) as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
        failure = f"{type(error).__name__}: {error}{notes} ({Path(at.filename).name}, line {at.lineno})"[:2000]
    finally:
        os.chdir(home)
    if failure is None:
        shutil.rmtree(case.folder)
    return {"case": number, "seconds": round(time.perf_counter() - start, 3), "counts": counts, "failure": failure}


class Late(BaseException):
    """Not an ``Exception``: a command turns those of its machine into its own errors."""


@contextlib.contextmanager
def _deadline(seconds: int) -> Iterator[None]:
    def end(*_: object) -> None:
        raise Late(f"not at its end after {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
