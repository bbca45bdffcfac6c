"""What a function does to the memory of a process of its own."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

# Otherwise the C library keeps blocks of up to 32 MiB that were freed, more or fewer from run to run.
os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**17)

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tonsure"])

measured = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")


def of_this_process(what: str) -> int:
    """Bytes that the kernel states; ``VmHWM`` is the peak of this process alone, as that of resource is not."""
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith(what + ":")).split()[1]) * 1024


def in_a_process(function: Callable, *args):
    """``function(*args)`` in a process forked from one that has imported tonsure, and has done nothing else."""
    with ProcessPoolExecutor(1, PROCESSES, initializer=torch.set_num_threads, initargs=(1,)) as process:
        return process.submit(function, *args).result()
