"""The connection to a Ray cluster: connects or starts it, starts and stops workers, and waits for results."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tonsure.errors import BackendError, MissingExtraError

ANSWER = 30.0
"""The time limit in seconds for a cluster to answer."""

ROOM = 60.0
"""The time limit in seconds for a cluster to place workers."""

OBJECT_STORE_BYTES = 100 * 2**20
"""The size of the object store of a Ray started here, in addition to the data put into it; Ray requires 75 MiB."""

# On Linux, Ray replaces 127.0.0.1 by the address that other machines see, and would listen there.
LOOPBACK = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"

CONNECT = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False)"


class LostError(Exception):
    """A worker, its machine, or an object that it needs was lost."""


def ray_library() -> Any:
    """The module ``ray``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError("work on several machines", "ray") from error
    return ray


@contextmanager
def connected(address: str | None, object_bytes: int = 0) -> Iterator[None]:
    """A context with a connection to Ray. On exit it closes a connection that it has opened, and keeps an earlier one.

    Args:
        address: the address of a running cluster, in Ray's form. None uses the connection of this process, or starts
            Ray on this machine.
        object_bytes: the size of the data that will be put into the object store; used if Ray is started here.

    Raises:
        BackendError: the cluster does not answer, or this process is connected to another cluster.
        MissingExtraError: Ray is not installed.
    """
    ray = ray_library()
    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", here):
            raise BackendError(f"this process is connected to the Ray at {here} already, found the address {address!r}")
        yield
        return
    if address is None:
        _start(object_bytes)
    else:
        _connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def _start(object_bytes: int) -> None:
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # a Ray started here reports no usage statistics
    try:
        ray_library().init(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES + object_bytes,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _node_ip_address=LOOPBACK,
        )
    finally:
        if before is None:
            del os.environ["RAY_USAGE_STATS_ENABLED"]
        else:
            os.environ["RAY_USAGE_STATS_ENABLED"] = before


def _connect(address: str) -> None:
    if address != "auto":
        _try(address)
    try:
        ray_library().init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        raise BackendError(f"the Ray at {address!r} cannot be used: {error}") from error


def _try(address: str) -> None:
    """Connects from another process first: if Ray cannot connect, it waits for minutes and then ends its process."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise BackendError(f"the address of Ray is {address!r}, expected host:6379, ray://host:10001 or auto")
    try:
        socket.create_connection((host, port), timeout=ANSWER).close()
        trial = subprocess.run([sys.executable, "-c", CONNECT, address], capture_output=True, timeout=ANSWER, text=True)
    except OSError as error:
        raise BackendError(f"there is no Ray at {address!r}: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"the server at {address!r} did not answer as Ray within {ANSWER:g} s") from error
    if trial.returncode:
        last = (trial.stderr.strip() or "no reason given").splitlines()[-1]
        raise BackendError(f"the Ray at {address!r} cannot be used: {last}")


def slots(cpus: float, gpus: float) -> int:
    """The number of workers of this size that the free resources of the cluster allow; at least one."""
    free = ray_library().available_resources()
    counts = [int(free.get(kind, 0) // each) for kind, each in (("CPU", cpus), ("GPU", gpus)) if each]
    return max(1, min(counts, default=1))


def engage(kind: type, cpus: float, gpus: float) -> Any:
    """Starts a worker of this class on any machine with free resources; its argument is the number of threads."""
    options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
    return ray_library().remote(kind).options(**options).remote(max(1, int(cpus)))


def have_room(workers: Sequence[Any]) -> bool:
    """Whether all workers are placed on a machine within the time limit."""
    ready = [worker.__ray_ready__.remote() for worker in workers]
    _, waiting = ray_library().wait(ready, num_returns=len(ready), timeout=ROOM)
    return not waiting


def no_room(count: int, cpus: float, gpus: float) -> BackendError:
    has = ray_library().cluster_resources()
    return BackendError(
        f"Ray found no room for {count} workers of {cpus:g} CPUs and {gpus:g} GPUs each within {ROOM:g} s: in total it "
        f"has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs. Use fewer or smaller workers"
    )


def get(reference: Any) -> Any:
    """The result of a call, or the results of several calls.

    Raises:
        LostError: the worker was lost.
        Exception: the exception that the worker raised.
    """
    errors = ray_library().exceptions
    gone = (errors.RayActorError, errors.ObjectLostError, errors.NodeDiedError, errors.WorkerCrashedError)
    try:
        return ray_library().get(reference)
    except errors.RayTaskError as error:
        if isinstance(error.cause, gone):
            raise LostError(_one_line(error.cause)) from error
        raise error.cause from error
    except gone as error:
        raise LostError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def dismiss(workers: Sequence[Any]) -> None:
    """Stops workers immediately; workers that are already lost are accepted."""
    for worker in workers:
        ray_library().kill(worker)
