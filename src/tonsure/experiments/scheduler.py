"""Many runs, one after another or several at once, each in a process of its own; one that fails does not stop the rest.

A run is whatever gives records, and has kept each of them when it gives it out: runs that are ended at any moment, with
their processes, go on from there the next time.
"""

import functools
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from tonsure.errors import ExperimentError, TonsureError
from tonsure.experiments.records import Record


@dataclass(frozen=True)
class Run:
    """One method of an experiment under one seed.

    Attributes:
        rounds: how many records it gives in all.
        recorded: how many of them an earlier time has left.
    """

    experiment: str
    method: str
    seed: int
    rounds: int
    recorded: int = 0

    def __str__(self) -> str:
        return f"{self.experiment}, {self.method}, seed {self.seed}"


Start = Callable[[Run], Iterator[Record]]
"""From a run to its records, from the first, one by one as they are made."""


def run_all(runs: Sequence[Run], make: Callable[[], Start], *, jobs: int = 1) -> None:
    """Runs all, begun in this order, and shows how many rounds are done.

    Args:
        make: called once in each process for what starts a run there. With several jobs it must be picklable.
        jobs: how many at once. One is this process, more are processes of their own, which share this one's threads
            and the GPUs.

    Raises:
        ExperimentError: runs failed with a ``TonsureError``; all others are done. Or a process was killed.
    """
    total, recorded = sum(run.rounds for run in runs), sum(run.recorded for run in runs)
    experiments = {run.experiment for run in runs}
    title = runs[0].experiment if len(experiments) == 1 else f"{len(experiments)} experiments"
    with tqdm(desc=title, total=total, initial=recorded, unit="round", disable=None) as progress:

        def report(text: str) -> None:
            progress.update()
            progress.set_postfix_str(text)

        if jobs == 1:
            start = make()
            found = [_attempt(run, start, report) for run in runs]
        else:
            found = _in_processes(runs, make, min(jobs, len(runs)), report)
    failures = [failure for failure in found if failure is not None]
    if failures:
        listed = f" {failures[0]}" if len(failures) == 1 else "".join(f"\n  {failure}" for failure in failures)
        raise ExperimentError(f"{len(failures)} of {len(runs)} runs failed:{listed}")


def _attempt(run: Run, start: Start, report: Callable[[str], None]) -> str | None:
    """How the run failed, or None."""
    try:
        for number, record in enumerate(start(run)):
            if number >= run.recorded:
                report(
                    f"{run.method}, seed {run.seed}: {record['labeled']} labels, {record['metrics']['accuracy']:.3f}"
                )
    except TonsureError as error:
        return f"{', '.join([str(run), *getattr(error, '__notes__', ())])}: {error}"
    except Exception as error:
        error.add_note(f"in {run}")
        raise
    return None


def _in_processes(
    runs: Sequence[Run], make: Callable[[], Start], jobs: int, report: Callable[[str], None]
) -> list[str | None]:
    context = multiprocessing.get_context("spawn")  # a fork of a process that has used threads, or CUDA, may hang
    before = set(multiprocessing.active_children())
    reports, numbers = context.SimpleQueue(), context.SimpleQueue()
    for number in range(jobs):
        numbers.put(number)
    settings = (max(1, torch.get_num_threads() // jobs), _gpus(), numbers, reports, make)
    with ProcessPoolExecutor(jobs, context, _begin, settings) as pool:
        try:
            futures = [pool.submit(_work, run) for run in runs]
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                while not reports.empty():
                    report(reports.get())
                for future in done:
                    future.result()  # what is no TonsureError ends all
            return [future.result() for future in futures]
        except BaseException as error:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise ExperimentError(
                    f"one of {jobs} processes was killed, perhaps for want of memory. What is recorded is kept: the "
                    "same command goes on from there, with fewer jobs if need be"
                ) from error
            raise


def _gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu]
    return [str(number) for number in range(torch.cuda.device_count())]


_worker: tuple[Callable[[], Start], Callable[[str], None]] | None = None
"""In a process of ``run_all``: what starts a run, made at the first one, and where rounds are reported."""


def _begin(threads: int, gpus: list[str], numbers: Any, reports: Any, make: Callable[[], Start]) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Progress bars look here whether anybody is watching: the parent has one for all.
    sys.stderr.isatty = lambda: False  # type: ignore[method-assign]
    tqdm.set_lock(threading.RLock())  # by default a semaphore, which would be left behind when we are ended
    torch.set_num_threads(threads)
    number = numbers.get()
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]  # read when CUDA is first used
    _worker = functools.cache(make), reports.put


def _end_with_parent() -> None:
    # A parent that is killed outright tells nobody; its processes would keep their files locked.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(run: Run) -> str | None:
    assert _worker is not None
    make, report = _worker
    try:
        return _attempt(run, make(), report)
    except Exception:
        # As text, for not every exception can be sent to another process.
        raise RuntimeError(f"{run} failed in its process:\n{traceback.format_exc()}") from None
