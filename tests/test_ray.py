"""The pool on a real cluster of three nodes: the rows of one process, whatever dies on the way."""

import contextlib
import itertools
import pickle

import pytest
import torch

import tonsure as tn
from cases import OPTIMIZERS, pairs
from tonsure import BackendError
from tonsure.backends import RayBackend, ray_cluster, ray_rows
from tonsure.backends import ray as ray_backend
from tonsure.errors import InputError, StoreError
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store import Store
from tonsure.search.plan import plan

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.xdist_group("ray"),  # one after the other, with one cluster
    pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning"),
]

LBB = tn.LargeBatchBALD()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shards": 0}, "shards is 0, expected a whole number from 1"),
        ({"retries": -1}, "retries is -1, expected a whole number from 0"),
        ({"cpus_per_shard": -0.5}, "cpus_per_shard is -0.5, expected a finite number of at least 0"),
    ],
)
def test_numbers_out_of_range(wrong, message):
    with pytest.raises(InputError, match=message):
        RayBackend(**wrong)


@pytest.mark.parametrize(("rows", "shards"), [(10, 3), (10, 20), (5000, 3), (1, 1)])
def test_shards_are_alike(rows, shards):
    step = ray_backend.shard_rows(rows, shards)
    assert len(range(0, rows, step)) <= shards
    assert step - 1 < rows / shards <= step


@pytest.mark.parametrize("rows", [None, torch.tensor([1, 4, 5, 6, 9])])
def test_a_slice_of_a_part(make_log_probs, rows):
    pool = make_log_probs(10)
    part = PoolReader(pool.split([3, 1, 6]), rows=rows)
    used = pool if rows is None else pool[rows]
    for start in range(len(used)):
        for stop in range(start + 1, len(used) + 1):
            part_here = part.slice(start, stop)
            assert torch.equal(part_here.stored(torch.arange(len(part_here))), used[start:stop])


@pytest.fixture
def backend(again):
    return RayBackend(shards=3)


def same(found, expected, tolerance=1e-9):
    assert found.rows.tolist() == expected.rows.tolist()
    torch.testing.assert_close(found.gains, expected.gains, atol=tolerance, rtol=tolerance)
    assert found.standard_error == pytest.approx(expected.standard_error, abs=1e-9)


@pytest.mark.parametrize(("objective", "optimizer"), list(pairs(OPTIMIZERS, every=tn.LazyGreedy(), full=LBB)))
def test_the_rows_of_one_process(backend, make_log_probs, objective, optimizer):
    pool = make_log_probs(100, dtype=torch.float32)
    found, expected = (tn.select(pool, objective, 6, optimizer=optimizer, backend=where) for where in (backend, None))
    # Gains that may rise are computed in the precision of the pool alone.
    same(found, expected, 1e-6 if objective.structure is tn.Structure.GENERAL else 1e-9)


@pytest.mark.parametrize("method", ["facility-location", "coverage", "EPIG"])
def test_strategies_whose_passes_run_on_a_cluster(backend, make_log_probs, method):
    pool = make_log_probs(100, dtype=torch.float32)
    features = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    found, expected = (
        tn.select(pool, method, 6, features=features, labeled=range(10), backend=where) for where in (backend, None)
    )
    same(found, expected)


def test_features_of_a_store_are_read_where_they_are(make_log_probs, backend, tmp_path):
    pool = make_log_probs(100, dtype=torch.float32)
    features = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    store = tn.write_store(tmp_path / "store", pool, features=features, dtype=torch.float32)
    on_ray, here = (tn.select(store, k=6, labeled=range(10), backend=where) for where in (backend, None))
    assert torch.equal(on_ray.rows, here.rows)


def test_the_rows_of_a_store(backend, make_log_probs, tmp_path, monkeypatch):
    """Read where they lie: what travels is small, and only these rows and samples are used."""
    sent = []
    monkeypatch.setattr(ray_backend, "source", lambda *a, make=ray_backend.source: sent.append(make(*a)) or sent[-1])
    pool = make_log_probs(20_000, 8, 4, dtype=torch.float16)
    store = tn.write_store(tmp_path / "store", pool, rows_per_shard=3000)
    for more in ({}, {"candidates": list(range(7, 20_000, 5)), "samples": [0, 2, 3, 7]}):
        monkeypatch.chdir(tmp_path)
        found = tn.select(Store.open("store"), LBB, 5, backend=backend, **more)
        same(found, tn.select(pool, LBB, 5, **more))
    assert [len(pickle.dumps(each)) < 2000 for each in sent] == [True] * 3 + [False] * 3
    assert len(store) * 8 / 5 / 3 < len(pickle.dumps(sent[3])) < len(store) * 8 / 5 / 3 + 2000  # 8 bytes a row


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_predictions_in_memory(backend, make_log_probs, dtype, monkeypatch):
    monkeypatch.setattr(ray_rows, "PIECE_BYTES", 1000)
    monkeypatch.setattr(ray_backend, "IN_MESSAGE", 10)
    pool = make_log_probs(100, dtype=dtype).split([30, 70])
    more = {"candidates": list(range(3, 95)), "samples": [0, 2, 5]}
    same(tn.select(pool, LBB, 5, backend=backend, **more), tn.select(pool, LBB, 5, **more))


def test_answers_and_noise_travel_without_what_they_are_views_of():
    whole = torch.zeros(1000)
    assert ray_backend.own(whole[3:4]).untyped_storage().nbytes() == 4


def test_another_store_at_the_same_path(backend, make_log_probs, tmp_path, monkeypatch):
    tn.write_store(tmp_path / "store", make_log_probs().half())
    monkeypatch.setattr(ray_rows, "manifest_crc32", lambda _: 1)
    with pytest.raises(StoreError, match="is not the same store on all machines"):
        tn.select(Store.open(tmp_path / "store"), LBB, 5, backend=backend)


def test_an_error_of_a_shard_comes_out_as_it_is(backend, make_log_probs):
    pool = make_log_probs(30)
    bad = tn.Pointwise(lambda items: torch.where(tn.bald(items) == tn.bald(pool)[25], torch.nan, 1.0))
    with pytest.raises(InputError, match="gave nan for row 5, expected finite numbers") as caught:
        tn.select(pool, bad, 5, backend=backend)
    assert type(caught.value) is InputError
    assert caught.value.__notes__ == ["row 0 of shard 2 is row 20 of the pool"]


def test_on_a_device_that_was_not_asked_for(make_log_probs):
    class OnGPU(PoolReader):
        works_on = torch.device("cuda")

    planned = plan(PoolReader([make_log_probs()]), LBB, 5)
    with (
        pytest.raises(InputError, match="the work is to be done on cuda, expected gpus_per_shard above 0"),
        RayBackend().start(OnGPU([make_log_probs()]), LBB, planned),
    ):
        pass


def disturb(monkeypatch, method, times, what):
    """Has something happen before these calls of a method of all shards; gives what is left to happen."""
    left = list(times)
    calls = itertools.count()
    ask = ray_backend.RayShards._ask

    def disturbed(shards, places, name, arguments):
        if name == method and next(calls) in times:
            what(shards)
            left.pop()
        return ask(shards, places, name, arguments)

    monkeypatch.setattr(ray_backend.RayShards, "_ask", disturbed)
    return left


def kill(shards):
    ray.kill(shards._actors[1], no_restart=True)


@pytest.mark.parametrize(
    ("objective", "by", "method", "times"),
    [
        (LBB, tn.StochasticGreedy(epsilon=0.1), "bid", (5,)),
        (tn.BatchBALD(), tn.PowerSample(), "close", (4,)),
    ],
    ids=repr,
)
def test_a_shard_that_dies(again, make_log_probs, monkeypatch, objective, by, method, times):
    pool = make_log_probs(300, dtype=torch.float32)
    expected = tn.select(pool, objective, 12, optimizer=by)
    left = disturb(monkeypatch, method, times, kill)
    same(tn.select(pool, objective, 12, optimizer=by, backend=RayBackend(shards=3)), expected)
    assert not left


def test_a_shard_that_dies_too_often(again, make_log_probs, monkeypatch):
    left = disturb(monkeypatch, "bid", (1,), kill)
    message = r"shard 1, rows 12 to 23, was lost 1 times; the last error: .*killed by"
    with pytest.raises(BackendError, match=message) as caught:
        tn.select(make_log_probs(24), LBB, 4, backend=RayBackend(shards=2, retries=0))
    assert not left
    assert isinstance(caught.value.__cause__, ray_cluster.LostError)


def test_a_node_that_dies(cluster, node, idle, make_log_probs, monkeypatch, tmp_path):
    """Its CPUs are gone for good; the others are taken by three idle actors and the shards."""
    idle.dismiss()
    idle.keep(ray_backend.ShardActor, [ray_cluster.engage(ray_backend.ShardActor, 1.0, 0.0) for _ in range(3)])
    assert all(map(idle.lives, idle.of_kind[ray_backend.ShardActor]))
    pool = make_log_probs(300, dtype=torch.float32)
    tn.write_store(tmp_path / "store", pool)

    def remove(shards):
        monkeypatch.setattr(ray_cluster, "ROOM", 15.0)
        nodes = [
            actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id()) for actor in shards._actors
        ]
        nodes = ray.get(nodes)
        found = next(each for each in cluster.worker_nodes if each.node_id in nodes)
        lost = shards._actors[nodes.index(found.node_id)]
        cluster.remove_node(found, allow_graceful=False)
        with contextlib.suppress(ray.exceptions.RayActorError):
            while True:  # its processes outlive it by moments, in which a search may come to its end
                ray.get(lost.__ray_call__.remote(lambda _: None), timeout=30)

    engage, cpus = ray_backend.engage, []
    monkeypatch.setattr(ray_backend, "engage", lambda kind, *size: cpus.append(size[0]) or engage(kind, *size))
    left = disturb(monkeypatch, "join", (4,), remove)
    backend = RayBackend(shards=3)
    try:
        found = tn.select(Store.open(tmp_path / "store"), LBB, 12, backend=backend)
        assert len(cluster.worker_nodes) == 1
    finally:
        cluster.add_node(**node)
    same(found, tn.select(pool, LBB, 12))
    assert not left
    assert cpus[:3] == [1.0] * 3
    assert {1.0, 0.0} == set(cpus[3:])  # a CPU was asked for again, and then none


def test_no_room(cluster, make_log_probs, monkeypatch):
    monkeypatch.setattr(ray_cluster, "ROOM", 1.0)
    with pytest.raises(BackendError, match=r"no room for 2 workers of 50 CPUs and 0 GPUs .* it has 6 CPUs and 0 GPUs"):
        tn.select(make_log_probs(), LBB, 5, backend=RayBackend(shards=2, cpus_per_shard=50.0))


# Last, for it ends the connection of the other tests.


def test_a_cluster_that_was_there_stays(cluster, make_log_probs):
    with pytest.raises(BackendError, match=r"connected to the Ray at .* already, found the address 'h:1'"):
        tn.select(make_log_probs(), LBB, 5, backend=RayBackend("h:1"))
    ray.shutdown()
    pool = make_log_probs()
    same(tn.select(pool, LBB, 5, backend=RayBackend(cluster.address, shards=2)), tn.select(pool, LBB, 5))
    assert not ray.is_initialized()
    ray.init(cluster.address, log_to_driver=False, logging_level="WARNING")
    assert ray.get(ray.put(1)) == 1
