import os
from collections.abc import Iterator
from pathlib import Path

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
