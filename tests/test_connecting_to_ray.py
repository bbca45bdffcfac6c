"""While this process is not connected to Ray; the cluster of the other tests on Ray comes with the first that asks."""

import socket
import sys

import pytest
import torch

import tonsure as tn
from tonsure import BackendError
from tonsure.backends import RayBackend, ray_cluster
from tonsure.errors import MissingExtraError

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.xdist_group("ray"),  # one after the other, with one cluster
    pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning"),
]

LBB = tn.LargeBatchBALD()


@pytest.fixture
def silent():
    """An address where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_an_address_that_does_not_answer(make_log_probs, silent, monkeypatch):
    monkeypatch.setattr(ray_cluster, "ANSWER", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"ray://127.0.0.1:{server.getsockname()[1]}"
    for address, message in (
        (silent, f"the server at '{silent}' did not answer as Ray within 1 s"),
        (closed, f"there is no Ray at '{closed}': .*refused"),
        ("head", "the address of Ray is 'head', expected host:6379"),
        ("head:port", "the address of Ray is 'head:port', expected host:6379"),
    ):
        with pytest.raises(BackendError, match=message):
            tn.select(make_log_probs(), LBB, 2, backend=RayBackend(address))
    assert not ray.is_initialized()


def test_a_ray_of_its_own_ends_with_the_selection(make_log_probs):
    pool = make_log_probs()
    on_ray, here = (tn.select(pool, LBB, 5, backend=where) for where in (RayBackend(), None))
    assert torch.equal(on_ray.rows, here.rows)
    assert not ray.is_initialized()


def test_without_ray(make_log_probs, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"tonsure\[ray\]"):
        tn.select(make_log_probs(), LBB, 2, backend=RayBackend())
