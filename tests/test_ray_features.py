"""Features on Ray: workers store them beside the predictions, and shards read them from the store."""

import sys
from pathlib import Path

import pytest
import torch

import tonsure as tn
from test_predictions import Featured, make_features, make_table
from tonsure.backends import RayBackend, predict_on_ray, ray_cluster, ray_predict
from tonsure.backends.ray_rows import StoredRows, source
from tonsure.errors import InputError, StoreError
from tonsure.predictions.store import Store, sealing

ray = pytest.importorskip("ray")

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

INPUTS = torch.arange(10)
MORE = {"rows": [9, 1, *range(8)], "block_size": 3, "ids": list(range(10))}


@pytest.fixture(scope="module")
def machine():
    """A Ray on this machine, to which this process is connected."""
    with ray_cluster.connected(None):
        yield


@pytest.fixture
def model(machine, monkeypatch):
    ray.cloudpickle.register_pickle_by_value(sys.modules["test_predictions"])  # workers cannot import tests
    monkeypatch.setattr(sealing, "now", lambda: "2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(ray_predict, "RANGE_BLOCKS", 2)
    yield Featured(make_table(), (3, 1))
    ray.cloudpickle.unregister_pickle_by_value(sys.modules["test_predictions"])


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_same_bytes_as_in_one_process(model, tmp_path):
    for features in (True, False):
        one, several = tmp_path / f"one {features}", tmp_path / f"several {features}"
        tn.predict(model, INPUTS, out=one, features=features, **MORE)
        store = predict_on_ray(model, INPUTS, several, workers=2, features=features, **MORE)
        assert contents(several) == contents(one)
        assert ("features.safetensors" in contents(several)) == features
        store.verify()
    store = predict_on_ray(model, INPUTS, tmp_path / "one True", **MORE)  # a finished store
    assert torch.equal(store.features, make_features()[MORE["rows"]])
    with pytest.raises(StoreError, match="features is False, this call has True"):
        predict_on_ray(model, INPUTS, tmp_path / "one False", features=True, **MORE)


def test_resumed_by_one_process(model, tmp_path):
    class Stopped(Featured):
        def features(self, inputs):
            if 4 in inputs:
                raise KeyboardInterrupt
            return super().features(inputs)

    Stopped.__module__, Stopped.__qualname__ = Featured.__module__, Featured.__qualname__
    with pytest.raises(KeyboardInterrupt):
        tn.predict(Stopped(make_table(), (3, 1)), INPUTS, out=tmp_path / "store", **MORE)
    tn.predict(model, INPUTS, out=tmp_path / "whole", **MORE)
    predict_on_ray(model, INPUTS, tmp_path / "store", workers=1, **MORE)
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_features_that_are_wrong(model, tmp_path, monkeypatch):
    monkeypatch.setattr(Featured, "features", lambda self, inputs: torch.where(inputs == 6, torch.nan, 1.0)[:, None])
    with pytest.raises(InputError, match="the features of row 2 hold nan or infinity") as caught:
        predict_on_ray(model, INPUTS, tmp_path / "store", workers=1, **MORE)
    assert caught.value.__notes__ == ["row 0 of this range is row 6 of those to predict"]


@pytest.mark.parametrize("rows", [None, [1, 4, 5, 19]])
def test_shards_read_features_from_the_store(machine, tmp_path, rows):
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
