"""Commands in forked processes, which need not import anything, and what they leave on the disk."""

import contextlib
import csv
import functools
import gc
import io
import json
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

# All that a command imports, or else each child would import it again.
import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
import pyarrow.parquet  # noqa: F401
import torch
from tqdm import tqdm

import tonsure.datasets
import tonsure.experiments.experiment
import tonsure.report.html  # noqa: F401
from tonsure.cli.main import main
from tonsure.durable_files import parse_json, parse_json_object

# Of this process alone: a child that is killed would keep one that it shares with others.
tqdm.set_lock(threading.RLock())
tqdm.monitor_interval = 0  # no thread


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        status: the exit status; None if it was killed.
    """

    status: int | None
    out: str = ""
    err: str = ""


def typed(words: Sequence[object], folder: Path) -> Ended:
    """Runs a command as typed in a folder, within this process."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n") for _ in range(2)]
    sys.argv = ["tonsure", *map(str, words)]
    os.chdir(folder)
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            traceback.print_exc()
            status = 1
    out, err = (stream.detach().getvalue().decode(errors="replace") for stream in map(_flushed, streams))
    return Ended(status, out, err)


@functools.cache
def warm() -> None:
    """Does once, before it is copied, what a process does when it runs its first command; a copy need not do it."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        torch.save(torch.rand(4, 2, 3).log_softmax(-1), Path(folder) / "pool.pt")
        typed(("select", "pool.pt", "-k", 1, "--method", "margin"), Path(folder))
        os.chdir(home)
    gc.collect()
    gc.freeze()  # pages that a copy need not write to


def _flushed(stream: io.TextIOWrapper) -> Any:
    stream.flush()
    return stream


@dataclass
class Child:
    """A process that has begun to work."""

    pid: int
    answer: BinaryIO

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def result(self) -> Any:
        """What the work gave; None if the process was killed.

        Raises:
            AssertionError: the work raised it, or something else.
        """
        with self.answer:
            content = self.answer.read()
        os.waitpid(self.pid, 0)
        try:
            found = pickle.loads(content)
        except (EOFError, pickle.UnpicklingError):  # killed before, or while it was answering
            return None
        if isinstance(found, AssertionError):
            raise found
        return found


def start(work: Callable[[], object]) -> Child:
    """A process that does the work. It is a copy of this one, which must have no other threads."""
    warm()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            with open(writing, "wb", buffering=0) as answer:
                answer.write(b"!")
                answer.write(pickle.dumps(_answer(work)))
        finally:
            os._exit(0)
    os.close(writing)
    answer = os.fdopen(reading, "rb")
    answer.read(1)
    return Child(pid, answer)


def _answer(work: Callable[[], object]) -> object:
    try:
        return work()
    except AssertionError as error:
        return error
    except BaseException:
        return AssertionError(traceback.format_exc()[-1000:])


def started(words: Sequence[object], folder: Path) -> Child:
    """A process that runs a command."""
    return start(lambda: typed(words, folder))


def run(words: Sequence[object], folder: Path) -> Ended:
    """Runs a command in a process of its own."""
    found: Ended | None = started(words, folder).result()
    return found or Ended(None)


def timed(words: Sequence[object], folder: Path) -> float:
    """The seconds of a command, which must succeed."""
    child = started(words, folder)
    begin = time.perf_counter()
    must_succeed(child.result(), words)
    return time.perf_counter() - begin


def must_succeed(ended: Ended | None, words: Sequence[object]) -> None:
    assert ended is not None, f"{words} was killed"
    assert ended.status == 0, f"{words} ended with {ended.status}: {ended.err[-500:]}"


def must_be_refused(ended: Ended, words: Sequence[object]) -> None:
    """Asserts that it ended in one line of ours, or in one for each of several runs."""
    shown = f"{' '.join(map(str, words))} ended with {ended.status}: {ended.err[-500:]!r}"
    assert ended.status == 2, shown
    first, *others = [line for line in ended.err.splitlines() if not line.startswith("warning: ")]
    assert first.startswith("error: "), shown
    assert all(line.startswith("  ") for line in others), shown


OF_A_RUN = {"created", "crc32", "seconds", "peak_memory", "commit"}
"""What differs from one run to another: in manifests, whose checksum is of the time too, in records and in tables."""


def contents(folder: Path) -> dict[str, object]:
    """All files below a folder by path."""
    return {path.relative_to(folder).as_posix(): content(path) for path in folder.rglob("*") if not path.is_dir()}


def content(path: Path) -> object:
    """The bytes of a file, or what it says without times."""
    found = path.read_bytes()
    if path.name == "manifest.json":
        return {name: value for name, value in parse_json_object(found).items() if name not in OF_A_RUN}
    if path.suffix == ".jsonl" and not path.name.startswith("journal"):
        lines = map(parse_json, found.splitlines())
        return [json.dumps({name: value for name, value in line.items() if name not in OF_A_RUN}) for line in lines]
    if path.suffix == ".csv":
        rows = csv.DictReader(found.decode().splitlines())
        return [{name: value for name, value in row.items() if name not in OF_A_RUN} for row in rows]
    return found


def differences(found: dict[str, object], expected: dict[str, object]) -> str:
    """The names of files that differ, are missing or are left."""
    names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    return ", ".join(
        f"{name} {'is left' if name not in expected else 'is missing' if name not in found else 'differs'}"
        for name in names
    )
