"""Runs in processes of their own; what they compute stands in test_experiment.py."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from tqdm import tqdm

from cases import rest
from tonsure.errors import ExperimentError, InputError
from tonsure.experiments.scheduler import Run, _interrupts_held, run_all

RUNS = [Run("test", "a", seed=0, rounds=1), Run("test", "b", seed=1, rounds=1)]


def record(labeled=10):
    return {"labeled": labeled, "metrics": {"accuracy": 0.5}}


def say_where(folder, run):
    """Fails with what it finds in its process, once the other run has begun too, in another one."""
    (folder / f"{run.method}.begun").touch()
    while len(list(folder.glob("*.begun"))) < 2:
        time.sleep(0.01)
    raise InputError(
        f"GPU {os.environ['CUDA_VISIBLE_DEVICES']}, {torch.get_num_threads()} threads, {sys.stderr.isatty()}"
    )
    yield


def have_a_bug(run):
    yield record()
    raise ZeroDivisionError("of a kind")


def be_killed(run):
    yield record()
    os.kill(os.getpid(), signal.SIGKILL)


def wait_locked(folder, run):
    with FileLock(folder / f"{run.method}.lock"):
        tqdm(disable=True)
        (folder / f"{run.method}.begun").touch()
        yield record()
        time.sleep(600)


def give(start):
    """What is sent to a process: it gives ``start`` there."""
    return start


def test_processes_share_threads_and_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    threads = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        with pytest.raises(ExperimentError) as caught:
            run_all(RUNS, partial(give, partial(say_where, tmp_path)), jobs=2)
    finally:
        torch.set_num_threads(threads)
    title, *failures = str(caught.value).splitlines()
    assert title == "2 of 2 runs failed:"
    assert [re.sub("GPU .", "GPU", failure) for failure in failures] == [
        "  test, a, seed 0: GPU, 3 threads, False",
        "  test, b, seed 1: GPU, 3 threads, False",
    ]
    assert sorted(re.findall("GPU (.)", str(caught.value))) == ["4", "7"]


def test_a_bug_in_a_process_names_its_run_and_its_line():
    with pytest.raises(RuntimeError, match=r"test, a, seed 0 failed in its process:\n(?s:.*)have_a_bug") as caught:
        run_all(RUNS[:1] * 2, partial(give, have_a_bug), jobs=2)
    assert "ZeroDivisionError: of a kind" in str(caught.value)
    assert not isinstance(caught.value, ExperimentError)


def test_a_process_that_is_killed_is_said():
    with pytest.raises(ExperimentError, match="one of 2 processes was killed, perhaps because memory ran out"):
        run_all(RUNS, partial(give, be_killed), jobs=2)
    assert multiprocessing.active_children() == []


PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from test_scheduler import RUNS, give, wait_locked
from tonsure.experiments.scheduler import run_all
if __name__ == "__main__":
    run_all(RUNS, partial(give, partial(wait_locked, Path(sys.argv[1]))), jobs=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, rest(signal.SIGKILL)])
def test_processes_end_with_their_parent(tmp_path, number):
    """Interrupted, which it can act upon, or killed, which it cannot: nobody keeps the files locked."""
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, "program.py", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background lets them ignore interrupts, and all that they start.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    while len(list(tmp_path.glob("*.begun"))) < 2 and parent.poll() is None:
        time.sleep(0.05)
    parent.send_signal(number)
    said = parent.communicate(timeout=60)[1]
    assert "Traceback" not in said or said.rstrip().endswith("KeyboardInterrupt")
    assert parent.returncode != 0
    assert number == signal.SIGKILL or "leaked" not in said
    for run in RUNS:
        FileLock(tmp_path / f"{run.method}.lock").acquire(timeout=60).lock.release()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be held")
def test_an_interrupt_waits_while_processes_start_which_never_hear_of_it():
    """They inherit that it is held; a terminal sends it to them too, while they import."""
    number = signal.SIGINT
    heard = []
    before = signal.signal(number, lambda *_: heard.append(number))
    try:
        with _interrupts_held():
            signal.pthread_kill(threading.get_ident(), number)  # other threads may be there, and hold nothing
            show = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
            inherited = subprocess.run([sys.executable, "-S", "-c", show], capture_output=True, text=True).stdout
            assert not heard
        assert heard == [number]
        assert "SIGINT" in inherited
    finally:
        signal.signal(number, before)
