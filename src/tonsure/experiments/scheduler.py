"""Many runs, one after another or several at a time in their own processes; a run that fails does not stop the others.

A run yields records and has stored each of them before: runs that are stopped at any moment, with their processes, can
continue from there.
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
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from tonsure.errors import ExperimentError, TonsureError
from tonsure.experiments.records import Record
from tonsure.progress import is_terminal, progress


@dataclass(frozen=True)
class Run:
    """One method of an experiment with one seed.

    Attributes:
        rounds: the number of records that it yields in all.
        recorded: the number of records that exist already.
    """

    experiment: str
    method: str
    seed: int
    rounds: int
    recorded: int = 0

    def __str__(self) -> str:
        return f"{self.experiment}, {self.method}, seed {self.seed}"


Start = Callable[[Run], Iterator[Record]]
"""Starts a run: an iterator over its records, from the first one."""


def run_all(runs: Sequence[Run], make: Callable[[], Start], *, jobs: int = 1) -> None:
    """Runs all, started in this order, and shows the progress in rounds.

    Args:
        make: returns what starts a run; called once in each process, so it must be picklable if ``jobs`` is above 1.
        jobs: the number of runs at a time. With 1 they run in this process, else in as many processes, which share the
            threads of this one and the GPUs.

    Raises:
        ExperimentError: some runs failed with a ``TonsureError`` (all others are done), or a process was killed.
    """
    total, recorded = sum(run.rounds for run in runs), sum(run.recorded for run in runs)
    experiments = {run.experiment for run in runs}
    title = runs[0].experiment if len(experiments) == 1 else f"{len(experiments)} experiments"
    with progress(what=title, total=total, initial=recorded, unit="round", leave=True) as bar:

        def report(text: str) -> None:
            bar.update()
            bar.set_postfix_str(text)

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
    """Runs it; returns the message of its failure, or None."""
    try:
        for number, record in enumerate(start(run)):
            if number >= run.recorded:
                found = record["metrics"].get("accuracy")  # none before the first labels
                measured = "" if found is None else f", {found:.3f}"
                report(f"{run.method}, seed {run.seed}: {record['labeled']} labels{measured}")
    except TonsureError as error:
        return f"{', '.join([str(run), *getattr(error, '__notes__', ())])}: {error}"
    except Exception as error:
        error.add_note(f"in {run}")
        raise
    return None


def _in_processes(
    runs: Sequence[Run], make: Callable[[], Start], jobs: int, report: Callable[[str], None]
) -> list[str | None]:
    context = multiprocessing.get_context("spawn")  # forking a process that has used threads or CUDA may hang
    before = set(multiprocessing.active_children())
    reports, numbers = context.SimpleQueue(), context.SimpleQueue()
    for number in range(jobs):
        numbers.put(number)
    settings = (max(1, torch.get_num_threads() // jobs), _gpus(), numbers, reports, make)
    with ProcessPoolExecutor(jobs, context, _begin, settings) as pool:
        try:
            with _interrupts_held():  # the first call starts all processes
                futures = [pool.submit(_work, run) for run in runs]
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                while not reports.empty():
                    report(reports.get())
                for future in done:
                    future.result()  # any other error stops all runs
            return [future.result() for future in futures]
        except BaseException as error:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise ExperimentError(
                    f"one of {jobs} processes was killed, perhaps because memory ran out. The records are kept: the "
                    "same command continues from there, with fewer jobs if necessary"
                ) from error
            raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A context in which Ctrl-C waits; processes that are started in it never hear of it, even while they import.

    A terminal sends it to all of them: the parent handles it, and terminates the others.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu]
    return [str(number) for number in range(torch.cuda.device_count())]


_worker: tuple[Callable[[], Start], Callable[[str], None]] | None = None
"""In a process of ``run_all``: what starts a run, made when first needed, and where rounds are reported."""


def _begin(threads: int, gpus: list[str], numbers: Any, reports: Any, make: Callable[[], Start]) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is not held
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The parent shows one progress bar for all processes: this disables those of this one.
    if is_terminal():
        sys.stderr.isatty = lambda: False  # type: ignore[method-assign]
    tqdm.set_lock(threading.RLock())  # the default is a semaphore, which would leak when this process is terminated
    torch.set_num_threads(threads)
    number = numbers.get()
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]  # read when CUDA is first used
    _worker = functools.cache(make), reports.put


def _end_with_parent() -> None:
    # A parent that is killed cannot terminate its processes, which would keep their files locked.
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
        # As text, because not every exception can be pickled.
        raise RuntimeError(f"{run} failed in its process:\n{traceback.format_exc()}") from None
