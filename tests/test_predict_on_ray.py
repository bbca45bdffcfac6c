"""Predictions and features on Ray: the bytes of one process, whatever dies on the way."""

import os
import sys
from pathlib import Path

import pytest
import torch

import tonsure as tn
from test_predictions import Featured, make_features, make_table
from tonsure import BackendError
from tonsure.backends import RayBackend, predict_on_ray, ray_cluster, ray_predict
from tonsure.backends.ray_rows import StoredRows, source
from tonsure.errors import InputError, StoreError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.predictions.store import Store, sealing

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.xdist_group("ray"),  # one after the other, with one cluster
    pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning"),
]


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
def by_value(again, monkeypatch):
    """Workers cannot import tests; ranges are short, and each store is written at the same time."""
    modules = [sys.modules[name] for name in (__name__, "test_predictions")]
    for module in modules:
        ray.cloudpickle.register_pickle_by_value(module)
    monkeypatch.setattr(sealing, "now", lambda: "2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(ray_predict, "RANGE_BLOCKS", 2)
    yield
    for module in modules:
        ray.cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def model(by_value, tmp_path):
    return Table(tmp_path, (2, 1))


@pytest.fixture
def featured(by_value):
    return Featured(make_table(), (3, 1))


INPUTS = torch.arange(40)
MORE = {"rows": [*range(35), 1, 0], "block_size": 3, "ids": list(range(37)), "about": {"a": 1}}


def contents(folder: Path) -> dict[str, bytes]:
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


def test_no_room(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, "ROOM", 1.0)
    with pytest.raises(BackendError, match="no room for 1 workers of 50 CPUs"):
        predict_on_ray(Table(tmp_path, (2, 1)), INPUTS, tmp_path / "never", workers=1, cpus_per_worker=50.0)
    assert not (tmp_path / "never").exists()


def test_a_range_that_is_lost_too_often(model, tmp_path):
    (tmp_path / "fatal.txt").touch()
    with pytest.raises(BackendError, match="the range of rows 12 to 17 was lost 1 times"):
        predict_on_ray(model, INPUTS, tmp_path / "ray", workers=1, retries=0, **MORE)


FEATURED = torch.arange(10)
ORDER = {"rows": [9, 1, *range(8)], "block_size": 3, "ids": list(range(10))}


def test_features_are_the_same_bytes_as_in_one_process(featured, tmp_path):
    for features in (True, False):
        one, several = tmp_path / f"one {features}", tmp_path / f"several {features}"
        tn.predict(featured, FEATURED, out=one, features=features, **ORDER)
        store = predict_on_ray(featured, FEATURED, several, workers=2, features=features, **ORDER)
        assert contents(several) == contents(one)
        assert ("features.safetensors" in contents(several)) == features
        store.verify()
    store = predict_on_ray(featured, FEATURED, tmp_path / "one True", **ORDER)  # a finished store
    assert torch.equal(store.features, make_features()[ORDER["rows"]])
    with pytest.raises(StoreError, match="features is False, this call has True"):
        predict_on_ray(featured, FEATURED, tmp_path / "one False", features=True, **ORDER)


def test_features_go_on_where_one_process_stopped(featured, tmp_path):
    class Stopped(Featured):
        def features(self, inputs):
            if 4 in inputs:
                raise KeyboardInterrupt
            return super().features(inputs)

    Stopped.__module__, Stopped.__qualname__ = Featured.__module__, Featured.__qualname__
    with pytest.raises(KeyboardInterrupt):
        tn.predict(Stopped(make_table(), (3, 1)), FEATURED, out=tmp_path / "store", **ORDER)
    tn.predict(featured, FEATURED, out=tmp_path / "whole", **ORDER)
    predict_on_ray(featured, FEATURED, tmp_path / "store", workers=1, **ORDER)
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_features_that_are_wrong(featured, tmp_path, monkeypatch):
    monkeypatch.setattr(Featured, "features", lambda self, inputs: torch.where(inputs == 6, torch.nan, 1.0)[:, None])
    with pytest.raises(InputError, match="the features of row 2 hold nan or infinity") as caught:
        predict_on_ray(featured, FEATURED, tmp_path / "store", workers=1, **ORDER)
    assert caught.value.__notes__ == ["row 0 of this range is row 6 of those to predict"]


@pytest.mark.parametrize("rows", [None, [1, 4, 5, 19]])
def test_shards_read_features_from_the_store(again, tmp_path, rows):
    features = torch.randn(20, 3)
    store = tn.write_store(tmp_path / "store", torch.full((20, 2, 2), 0.5).log(), features=features)
    reader = store.feature_reader()
    used = features if rows is None else features[rows]
    if rows is not None:
        reader = reader.at(torch.tensor(rows))
    sent = source(reader, 1, 3, None)
    assert isinstance(sent, StoredRows)
    assert torch.equal(sent.open().stored(torch.arange(2)), used[1:3])
    found = RayBackend(shards=2).map(reader, lambda part: (part.of, part.stored(torch.arange(len(part)))))
    assert torch.equal(torch.cat([part for _, part in found]), used)
    assert {of for of, _ in found} == {"features"}
    assert Store.open(tmp_path / "store").features is not None
