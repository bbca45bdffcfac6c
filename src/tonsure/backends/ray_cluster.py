"""A Ray cluster, running or started for the purpose: workers on it, and what they answer."""

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
"""Seconds that a cluster has to answer."""

ROOM = 60.0
"""Seconds that a cluster has to find room for workers."""

OBJECT_STORE_BYTES = 100 * 2**20
"""Of a Ray that is started here, beside what is put into it; Ray wants 75 MiB at least."""

# Ray takes 127.0.0.1 for "the address that others see" on Linux, and would listen there.
LOOPBACK = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"

CONNECT = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False)"


class LostError(Exception):
    """A worker, its machine, or something that it needs is gone."""


def ray_library() -> Any:
    """Ray.

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
    """A context in which Ray can be used; what it connects or starts ends with it, what was there before does not.

    Args:
        address: of a running cluster, as Ray writes it; None is the Ray of this process, or else a new one on this
            machine alone.
        object_bytes: what will be put into the object store; a new Ray has room for so much.

    Raises:
        BackendError: the cluster does not answer, or this process is connected to another one.
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
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # what is started here tells nobody
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
    """Connects from another process first: Ray waits for minutes, and then ends its process."""
    place = urlsplit(address if "//" in address else f"//{address}")
    try:
        host, port = place.hostname, place.port
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
        raise BackendError(f"what listens at {address!r} did not answer as Ray does within {ANSWER:g} s") from error
    if trial.returncode:
        last = (trial.stderr.strip() or "no reason given").splitlines()[-1]
        raise BackendError(f"the Ray at {address!r} cannot be used: {last}")


def slots(cpus: float, gpus: float) -> int:
    """How many workers of this size the cluster has room for now; at least one."""
    free = ray_library().available_resources()
    counts = [int(free.get(kind, 0) // each) for kind, each in (("CPU", cpus), ("GPU", gpus)) if each]
    return max(1, min(counts, default=1))


def engage(kind: type, cpus: float, gpus: float) -> Any:
    """A new worker of this class, on whatever machine has room; it is given its number of threads."""
    options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
    return ray_library().remote(kind).options(**options).remote(max(1, int(cpus)))


def have_room(workers: Sequence[Any]) -> bool:
    """Whether all of them have found a machine, or do so in time."""
    ready = [worker.__ray_ready__.remote() for worker in workers]
    _, waiting = ray_library().wait(ready, num_returns=len(ready), timeout=ROOM)
    return not waiting


def no_room(count: int, cpus: float, gpus: float) -> BackendError:
    has = ray_library().cluster_resources()
    return BackendError(
        f"Ray found no room for {count} workers of {cpus:g} CPUs and {gpus:g} GPUs each within {ROOM:g} s: in all it "
        f"has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs. Ask for fewer workers, or smaller ones"
    )


def get(reference: Any) -> Any:
    """What a worker answers, or each of several.

    Raises:
        LostError: the worker is gone.
        Exception: what the worker raised.
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
    """Ends workers at once, those that are gone already too."""
    for worker in workers:
        ray_library().kill(worker)
