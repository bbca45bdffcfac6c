import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where tensors live: cpu or cuda")
    parser.addoption("--examples", type=int, help="how many random inputs each property gets; other ones at every run")


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--device")


@pytest.fixture(scope="session", autouse=True)
def ray_that_does_not_give_way() -> Iterator[None]:
    """Ray lowers the priority of its workers, which would then wait for all other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="session", autouse=True)
def refine_of_few_calls() -> Iterator[None]:
    """By its name it runs five methods fifty times each; what all methods promise is seen in a few of these."""
    import tonsure as tn  # here, after the annotations are checked

    few = tn.Refine([tn.margin, tn.BADGE()], rounds=2, batches=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tn.METHODS, "refine", tn.Method(few))
        yield


@pytest.fixture
def annotations_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that make the same calls very often: to check annotations at every call takes most of the time."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def make_log_probs(device: str):
    """A maker of posterior-like predictions: classes with a prior, samples that agree on some items only."""

    def make(
        N: int = 24, K: int = 6, C: int = 3, *, seed: int = 0, impossible: bool = False, dtype=torch.float64
    ) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
        logits = 1.5 * normal(N, 1, C) + normal(N, 1, 1).exp() * torch.einsum(
            "nd,dkc->nkc", normal(N, 3), normal(3, K, C)
        )
        if impossible:
            logits[: N // 2, :, 0] = -torch.inf
            logits[N // 4 : N // 2, : K // 2, 1] = -torch.inf
        return logits.log_softmax(-1).to(dtype).to(device)

    return make


@pytest.fixture
def data_folder() -> Path:
    folder = os.environ.get("TONSURE_DATA")
    if not folder:
        pytest.skip("TONSURE_DATA names no folder of datasets")
    return Path(folder)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: compressed ones hold the time, and two processes must name tests alike."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on Ray first: they are one group, which waits more than it computes, while other processes run the rest."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


@pytest.fixture(scope="session")
def node() -> dict[str, object]:
    """A node of the cluster."""
    from tonsure.backends import ray_cluster

    return {"num_cpus": 2, "node_ip_address": ray_cluster.LOOPBACK, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="session")
def cluster(node):
    """Ray on three nodes, to which this process is connected."""
    import ray
    from ray.cluster_utils import Cluster

    Path("/tmp/ray").mkdir(exist_ok=True)  # where the cluster writes its address, but makes no folder
    folder = tempfile.mkdtemp(prefix="ray")  # a path of pytest's would be too long for a socket
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
        head = {**node, "temp_dir": folder, "include_dashboard": False, "_system_config": soon}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        nodes.add_node(**node)
        nodes.add_node(**node)
        ray.init(nodes.address, log_to_driver=False, logging_level="WARNING")
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    shutil.rmtree(folder)


class IdleActors:
    """Actors that earlier tests have left: to start one takes seconds."""

    def __init__(self) -> None:
        self.of_kind: dict[type, list[Any]] = {}

    def engage(self, kind: type, *size: float) -> Any:
        from tonsure.backends import ray_cluster

        living = [actor for actor in self.of_kind.pop(kind, []) if self.lives(actor)]
        self.of_kind[kind] = living[1:]
        return living[0] if living else ray_cluster.engage(kind, *size)

    def keep(self, kind: type, actors: Sequence[Any]) -> None:
        self.of_kind.setdefault(kind, []).extend(actors)

    def lives(self, actor: Any) -> bool:
        """Whether an actor lives, as soon as it is done with what it does."""
        import ray

        try:
            ray.get(actor.__ray_ready__.remote())
        except ray.exceptions.RayActorError:
            return False
        return True

    def dismiss(self) -> None:
        from tonsure.backends import ray_cluster

        for actors in self.of_kind.values():
            ray_cluster.dismiss(actors)
        self.of_kind.clear()


@pytest.fixture(scope="session")
def idle(cluster) -> IdleActors:
    return IdleActors()


@pytest.fixture
def again(idle, monkeypatch) -> None:
    """Lets selections and predictions use actors again."""
    from tonsure.backends import ray, ray_predict

    for module, kind in ((ray, ray.ShardActor), (ray_predict, ray_predict.PredictActor)):
        monkeypatch.setattr(module, "engage", idle.engage)
        monkeypatch.setattr(module, "dismiss", lambda actors, kind=kind: idle.keep(kind, actors))
