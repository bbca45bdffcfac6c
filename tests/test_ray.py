"""The pool on a real cluster of three nodes: the rows of one process, whatever dies on the way."""

import contextlib
import itertools
import os
import pickle
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest
import torch

import tonsure as tn
from cases import OPTIMIZERS, pairs
from tonsure import BackendError
from tonsure.backends import RayBackend, predict_on_ray, ray_cluster, ray_predict, ray_rows
from tonsure.backends import ray as ray_backend
from tonsure.errors import InputError, MissingExtraError, StoreError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store import Store, sealing
from tonsure.search.plan import plan

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.xdist_group("ray"),  # one after the other, with one cluster
    pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning"),
]

LBB = tn.LargeBatchBALD()


# First what happens while this process is not connected: the cluster below comes with the first test that asks for it.


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
    same(tn.select(pool, LBB, 5, backend=RayBackend()), tn.select(pool, LBB, 5))
    assert not ray.is_initialized()


def test_without_ray(make_log_probs, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"tonsure\[ray\]"):
        tn.select(make_log_probs(), LBB, 2, backend=RayBackend())


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


NODE = {"num_cpus": 2, "node_ip_address": ray_cluster.LOOPBACK, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    """Three nodes, to which this process is connected."""
    folder = tempfile.mkdtemp(prefix="ray")  # a path of pytest's would be too long for a socket
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
        head = {**NODE, "temp_dir": folder, "include_dashboard": False, "_system_config": soon}
        nodes = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        nodes.add_node(**NODE)
        nodes.add_node(**NODE)
        ray.init(nodes.address, log_to_driver=False, logging_level="WARNING")
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def idle(cluster):
    """Actors that earlier tests have left: to start one takes seconds."""
    return []


def lives(actor):
    try:
        ray.get(actor.__ray_ready__.remote())
    except ray.exceptions.RayActorError:
        return False
    return True


@pytest.fixture
def again(idle, monkeypatch):
    """Lets selections use actors again."""

    def engage(*size):
        idle[:] = filter(lives, idle)
        return idle.pop(0) if idle else ray_cluster.engage(*size)

    monkeypatch.setattr(ray_backend, "engage", engage)
    monkeypatch.setattr(ray_backend, "dismiss", idle.extend)


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


def test_a_node_that_dies(cluster, idle, make_log_probs, monkeypatch, tmp_path):
    """Its CPUs are gone for good; the others are taken by three idle actors and the shards."""
    idle[:] = filter(lives, idle)
    ray_cluster.dismiss(idle[3:])
    idle[3:] = []
    while len(idle) < 3:
        idle.append(ray_cluster.engage(ray_backend.ShardActor, 1.0, 0.0))
    assert all(map(lives, idle))
    pool = make_log_probs(300, dtype=torch.float32)
    tn.write_store(tmp_path / "store", pool)

    def remove(shards):
        monkeypatch.setattr(ray_cluster, "ROOM", 15.0)
        nodes = [
            actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id()) for actor in shards._actors
        ]
        nodes = ray.get(nodes)
        node = next(node for node in cluster.worker_nodes if node.node_id in nodes)
        lost = shards._actors[nodes.index(node.node_id)]
        cluster.remove_node(node, allow_graceful=False)
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
        cluster.add_node(**NODE)
    same(found, tn.select(pool, LBB, 12))
    assert not left
    assert cpus[:3] == [1.0] * 3
    assert {1.0, 0.0} == set(cpus[3:])  # a CPU was asked for again, and then none


def test_no_room(cluster, make_log_probs, monkeypatch):
    monkeypatch.setattr(ray_cluster, "ROOM", 1.0)
    with pytest.raises(BackendError, match=r"no room for 2 workers of 50 CPUs and 0 GPUs .* it has 6 CPUs and 0 GPUs"):
        tn.select(make_log_probs(), LBB, 5, backend=RayBackend(shards=2, cpus_per_shard=50.0))
    with pytest.raises(BackendError, match="no room for 1 workers of 50 CPUs"):
        predict_on_ray(Table(Path(), (2, 1)), torch.arange(5), "never", workers=1, cpus_per_worker=50.0)
    assert not Path("never").exists()


class Table(BayesianModel):
    """Looks its predictions up; at one item its process ends, if there is a file that says so."""

    samples = 3

    def __init__(self, folder, widths, *, seed=0, bad=-1):
        self.log_probs_N_K_C = torch.randn(40, 3, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(2)
        self.folder, self.widths, self.bad = folder, widths, bad

    def __repr__(self):
        return "Table()"

    def fit(self, inputs, labels_n, *, seed=0):
        raise NotImplementedError

    def members(self):
        first = 0
        for width in self.widths:
            yield lambda inputs, first=first, width=width: self.look_up(inputs)[:, first : first + width]
            first += width

    def look_up(self, inputs):
        with (self.folder / "seen.txt").open("a") as file:
            file.write("".join(f"{row} " for row in inputs.tolist()))
        fatal = self.folder / "fatal.txt"
        if 17 in inputs and fatal.exists():
            fatal.unlink()
            os._exit(1)
        if self.bad in inputs:
            return torch.zeros(len(inputs), 3, 4)
        return self.log_probs_N_K_C[inputs]


@pytest.fixture
def model(cluster, tmp_path, monkeypatch):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    monkeypatch.setattr(sealing, "now", lambda: "2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(ray_predict, "RANGE_BLOCKS", 2)
    yield Table(tmp_path, (2, 1))
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


INPUTS = torch.arange(40)
MORE = {"rows": [*range(35), 1, 0], "block_size": 3, "ids": list(range(37)), "about": {"a": 1}}


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def seen(folder):
    rows = [int(row) for row in (folder / "seen.txt").read_text().split()]
    (folder / "seen.txt").unlink()
    return rows


def test_predicting_gives_the_same_bytes_though_a_worker_dies(model, tmp_path):
    tn.predict(model, INPUTS, out=tmp_path / "one", **MORE)
    (tmp_path / "fatal.txt").touch()
    store = predict_on_ray(model, INPUTS, tmp_path / "ray", workers=2, **MORE)
    assert not (tmp_path / "fatal.txt").exists()
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")
    store.verify()
    seen(tmp_path)
    predict_on_ray(model, INPUTS, tmp_path / "ray", **MORE)
    assert seen(tmp_path) == [0, 1, 2, 0, 1, 2]  # the complete store is compared with the model
    with pytest.raises(StoreError, match=r"another model .*: weights is \w{16}, this call has"):
        predict_on_ray(Table(tmp_path, (2, 1), seed=1), INPUTS, tmp_path / "ray", **MORE)


def test_predicting_goes_on_where_it_stopped(model, tmp_path, monkeypatch):
    tn.predict(model, INPUTS, out=tmp_path / "one", **MORE)
    with pytest.MonkeyPatch.context() as patch:
        answers = ray_predict.Crew.answers
        patch.setattr(ray_predict.Crew, "answers", lambda crew, jobs: interrupted(answers(crew, jobs)))
        with pytest.raises(KeyboardInterrupt):
            predict_on_ray(model, INPUTS, tmp_path / "ray", workers=1, **MORE)
    with pytest.raises(StoreError, match="was not finished"):
        Store.open(tmp_path / "ray")
    with pytest.raises(StoreError, match=r"another model .*: weights is \w{16}, this call has"):
        predict_on_ray(Table(tmp_path, (2, 1), seed=1), INPUTS, tmp_path / "ray", workers=1, **MORE)
    seen(tmp_path)
    predict_on_ray(model, INPUTS, tmp_path / "ray", workers=1, **MORE)
    again = seen(tmp_path)
    assert again[:8] == [0, 0, 0, 1, 2, 0, 1, 2]  # the sizes, and the first block of each member to compare
    assert sorted(again[8:]) == sorted([*range(18, 35), 1, 0] * 2)  # the ranges of six rows after the third
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")


def interrupted(answers):
    """After the fourth: that of the sizes comes alone."""
    for number, answer in enumerate(answers):
        if number == 3:
            raise KeyboardInterrupt
        yield answer


def test_predicting_where_the_workers_write_elsewhere(model, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_predict, "crc32_of", lambda _: 1)
    with pytest.raises(StoreError, match=r"rows 0 to 2 are not what a worker wrote there: .* all machines share"):
        predict_on_ray(model, INPUTS, tmp_path / "ray", workers=1, **MORE)


def test_predicting_what_is_no_distribution(model, tmp_path):
    bad = Table(tmp_path, (2, 1), bad=10)
    with pytest.raises(InputError, match="output for row 3 is not a distribution") as caught:
        predict_on_ray(bad, INPUTS, tmp_path / "ray", workers=1, **MORE)
    assert caught.value.__notes__ == ["row 0 of this range is row 6 of those to predict"]


def test_predicting_by_no_workers(tmp_path):
    with pytest.raises(InputError, match="workers is 0, expected a whole number from 1"):
        predict_on_ray(Table(tmp_path, (2, 1)), INPUTS, tmp_path / "ray", workers=0)


def test_a_range_that_is_lost_too_often(model, tmp_path):
    (tmp_path / "fatal.txt").touch()
    with pytest.raises(BackendError, match="the range of rows 12 to 17 was lost 1 times"):
        predict_on_ray(model, INPUTS, tmp_path / "ray", workers=1, retries=0, **MORE)


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
