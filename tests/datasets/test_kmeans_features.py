import itertools
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tonsure.datasets import Dataset, kmeans_features
from tonsure.datasets.kmeans_features import KMeansFeatures
from tonsure.errors import InputError, MissingExtraError

cluster = pytest.importorskip("sklearn.cluster")
decomposition = pytest.importorskip("sklearn.decomposition")


def images(N: int, seed: int, channels: int = 3, side: int = 10) -> Tensor:
    """Stripes of random direction, width and colors, a little noisy: some patches are like others."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    across, down = torch.arange(side), torch.arange(side)[:, None]
    angle, frequency, phase = 3 * draw(N, 1, 1), 0.5 + draw(N, 1, 1), 6 * draw(N, 1, 1)
    stripes = (frequency * (angle.cos() * across + angle.sin() * down) + phase).sin()
    return stripes[:, None] * draw(N, channels, 1, 1) + draw(N, channels, 1, 1) + 0.1 * draw(N, channels, side, side)


@dataclass(frozen=True)
class Stripes:
    train: Tensor = field(default_factory=lambda: images(40, seed=0), repr=False)
    test: Tensor = field(default_factory=lambda: images(9, seed=1), repr=False)

    def load(self) -> Dataset:
        return Dataset(
            name="stripes",
            train_inputs=self.train,
            train_labels=torch.arange(len(self.train)) % 2,
            test_inputs=self.test,
            test_labels=torch.arange(len(self.test)) % 2,
            classes=("a", "b"),
            description="stripes",
        )


@pytest.fixture
def small(tmp_path) -> KMeansFeatures:
    return KMeansFeatures(Stripes(), centroids=5, patch=3, components=None, patches=500, cache=tmp_path)


def test_every_image_gets_its_features(small):
    dataset = small.load()
    assert (dataset.train_inputs.shape, dataset.test_inputs.shape) == ((40, 5 * 2 * 2), (9, 5 * 2 * 2))
    assert (dataset.train_inputs.dtype, dataset.test_inputs.dtype) == (torch.float32, torch.float32)
    assert replace(small, pool=3, components=7).load().test_inputs.shape == (9, 7)
    original = Stripes().load()
    assert torch.equal(dataset.train_labels, original.train_labels)
    assert (dataset.name, dataset.classes) == (original.name, original.classes)


def test_training_features_have_mean_0_and_variance_1(small):
    features_N_D = small.load().train_inputs
    torch.testing.assert_close(features_N_D.mean(0), torch.zeros(20), atol=1e-5, rtol=0)
    torch.testing.assert_close(features_N_D.var(0, correction=0), torch.ones(20), atol=1e-4, rtol=0)


def test_features_are_what_the_equations_say(small):
    image = Stripes().test[:1]
    layer = replace(small, pool=3)._learn(Stripes().train)
    flat = 0.0025 * Stripes().train.var()
    part = [slice(0, 3), slice(2, 6), slice(5, 8)]  # of 8 × 8 patches; what is between two parts belongs to both
    activations = torch.empty(5, 8, 8)
    for top, left in itertools.product(range(8), range(8)):
        x = image[0, :, top : top + 3, left : left + 3].flatten()
        normalized = (x - x.mean()) / (x.var(correction=0) + flat).sqrt()
        whitened = layer.whitening @ (normalized - layer.mean_D)
        distances = torch.stack([(whitened - centroid).norm() for centroid in layer.centroids])
        activations[:, top, left] = (distances.mean() - distances).clamp(min=0)
    expected = [activations[k, down, across].mean() for k, down, across in itertools.product(range(5), part, part)]
    torch.testing.assert_close(layer(image)[0], torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_whitening_takes_the_covariance_of_patches_away(small):
    train = Stripes().train + torch.tensor([1.0, 0, 0])[:, None, None]  # so that patches have a mean, reddish
    layer = replace(small, whiten=0.01, patches=50_000)._learn(train)
    x = train.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 27).numpy()
    normalized = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 0.0025 * float(train.var()))
    covariance = np.cov(normalized.T)
    variances, axes = np.linalg.eigh(covariance)
    left = axes * (variances / (variances + 0.01)) @ axes.T
    whitening = layer.whitening.numpy()
    assert whitening @ covariance @ whitening == pytest.approx(left, abs=0.05)
    assert layer.mean_D.numpy() == pytest.approx(normalized.mean(0), abs=0.02)


def test_centroids_are_as_near_to_the_patches_as_those_of_scikit_learn(small):
    train = Stripes().train + torch.tensor([1.0, 0, 0])[:, None, None]  # so that patches have a mean, reddish
    layer = replace(small, patches=5000)._learn(train)
    x = train.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 27)
    normalized = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 0.0025 * train.var()).sqrt()
    whitened = (normalized - layer.mean_D) @ layer.whitening
    error = float(torch.cdist(whitened, layer.centroids).min(1).values.square().sum())
    assert error < 1.1 * cluster.KMeans(5, n_init=5, random_state=0).fit(whitened).inertia_


def test_components_are_principal_components_of_the_features(small):
    every, some = small.load(), replace(small, components=6).load()
    pca = decomposition.PCA(6).fit(every.train_inputs.double())
    scale = np.sqrt(pca.explained_variance_.mean() * 39 / 40)  # theirs is over N − 1
    for ours_N_D, features_N_D in ((some.train_inputs, every.train_inputs), (some.test_inputs, every.test_inputs)):
        theirs_N_D = torch.from_numpy(pca.transform(features_N_D.double()) / scale).float()
        sign_D = (ours_N_D * theirs_N_D).sum(0).sign()
        torch.testing.assert_close(ours_N_D, theirs_N_D * sign_D, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(some.train_inputs.var(0, correction=0).mean(), torch.tensor(1.0))


def test_pixels_may_have_any_scale(small):
    larger = replace(small, dataset=Stripes(8 * Stripes().train, 8 * Stripes().test))
    torch.testing.assert_close(small.load().test_inputs, larger.load().test_inputs, atol=1e-4, rtol=1e-4)


def test_flat_images_have_features_too(small):
    train, test = images(40, seed=0), images(9, seed=1)
    train[3], train[4], test[5] = 0, 1, 1e6
    dataset = replace(small, dataset=Stripes(train, test)).load()
    assert dataset.train_inputs.isfinite().all()
    assert dataset.test_inputs.isfinite().all()
    torch.testing.assert_close(dataset.train_inputs[3], dataset.train_inputs[4])


def test_a_centroid_that_no_image_is_near_becomes_0():
    train, test = torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.tensor([[4.0, 7.0]])
    kmeans_features._standardize(train, test)
    assert (train.tolist(), test.tolist()) == ([[-1.0, 0.0], [1.0, 0.0]], [[2.0, 0.0]])


def test_one_channel_and_double_precision_will_do(small):
    train, test = images(40, seed=0, channels=1), images(9, seed=1, channels=1)
    single = replace(small, dataset=Stripes(train, test)).load().test_inputs
    double = replace(small, dataset=Stripes(train.double(), test.double())).load().test_inputs
    assert single.dtype == double.dtype == torch.float32
    assert torch.equal(single, double)


def test_the_same_seed_gives_the_same_features_and_touches_no_other_generator(small, tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first, again = (replace(small, cache=tmp_path / name).load() for name in ("first", "again"))
    assert torch.equal(first.train_inputs, again.train_inputs)
    assert torch.equal(first.test_inputs, again.test_inputs)
    assert not torch.equal(first.test_inputs, replace(small, seed=1).load().test_inputs)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


@pytest.fixture
def no_work(monkeypatch):
    """From when it is called on, nothing can be computed."""

    def refuse(*_: object) -> None:
        raise AssertionError("computed")

    return lambda: monkeypatch.setattr(KMeansFeatures, "_compute", refuse)


def test_features_are_computed_once(small, no_work, monkeypatch):
    first = small.load()
    no_work()
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    again = small.load()
    assert torch.equal(first.train_inputs, again.train_inputs)
    assert torch.equal(first.test_inputs, again.test_inputs)
    assert first.description == again.description


@pytest.mark.parametrize(
    "change",
    [
        {"centroids": 6},
        {"patch": 4},
        {"whiten": 0.2},
        {"pool": 1},
        {"components": 20},
        {"patches": 501},
        {"seed": 1},
        {"dataset": Stripes(images(40, seed=0) + torch.eye(10))},
        {"dataset": Stripes(test=images(9, seed=2))},
        {"dataset": Stripes(test=images(8, seed=1))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_and_other_pixels_are_computed_anew(small, no_work, change):
    small.load()
    no_work()
    with pytest.raises(AssertionError, match="computed"):
        replace(small, **change).load()


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "other arrays"])
def test_a_damaged_file_is_made_again(small, tmp_path, damage):
    first = small.load()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 2
    if damage == "other arrays":
        np.savez(path, features=np.zeros(3))
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut": whole[:middle],
                "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            }[damage]
        )
    assert torch.equal(small.load().train_inputs, first.train_inputs)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == whole


def test_the_folder_is_the_users_cache_or_the_one_that_is_named(small, tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "of the user" / name)
    replace(small, cache=None).load()
    assert len(list((tmp_path / "of the user" / "tonsure" / "features").iterdir())) == 1
    small.load()
    assert len(list(tmp_path.glob("stripes-*.npz"))) == 1


def test_says_what_it_is(small):
    assert repr(small) == (
        "KMeansFeatures(dataset=Stripes(), centroids=5, patch=3, whiten=0.1, pool=2, components=None, patches=500, "
        "seed=0)"
    )
    description = replace(small, components=7).load().description
    assert description.startswith("stripes; ")
    for part in ("500 patches of 3 × 3", "5 centroids", "2 × 2 parts", "the first 7 principal components", "seed 0"):
        assert part in description
    assert "all features" in small.load().description


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centroids": 1}, "centroids must be at least 2, found 1"),
        ({"patch": 0}, "patch must be at least 1, found 0"),
        ({"pool": 0}, "pool must be at least 1, found 0"),
        ({"patches": 4}, "patches must be at least 5, found 4"),
        ({"whiten": 0.0}, "whiten must be above 0, found 0.0"),
        ({"components": 0}, "components must be 1 to 20, .* found 0"),
        ({"components": 21}, "components must be 1 to 20, .* found 21"),
    ],
)
def test_settings_out_of_range_are_refused(small, change, message):
    with pytest.raises(InputError, match=message):
        replace(small, **change)


def spoiled(row: int, value: float) -> Tensor:
    spoiled = images(9, seed=1)
    spoiled[row, 0, 0, 0] = value
    return spoiled


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            Stripes(torch.zeros(40, 7, dtype=torch.int64)),
            r"train_inputs of stripes are torch.int64 \[40, 7\], expected",
        ),
        (Stripes(torch.zeros(40, 3, 10, 10, dtype=torch.uint8)), "train_inputs of stripes are torch.uint8"),
        (Stripes(test=torch.zeros(9, 10, 10)), r"test_inputs of stripes are torch.float32 \[9, 10, 10\], expected"),
        (Stripes(test=torch.zeros(0, 3, 10, 10)), r"\[0, 3, 10, 10\], expected some"),
        (Stripes(torch.zeros(40, 3, 3, 10)), "a height and width of at least 4, for 2 × 2 patches of 3 × 3"),
        (Stripes(test=images(9, seed=1, side=9)), r"\[40, 3, 10, 10\] and \[9, 3, 9, 9\], expected images of one size"),
        (Stripes(test=spoiled(4, torch.nan)), "test_inputs .* row 4 holds nan or infinity"),
        (Stripes(test=spoiled(8, -torch.inf)), "test_inputs .* row 8 holds nan or infinity"),
        (Stripes(torch.full((40, 3, 10, 10), 0.5)), "all pixels of the training images are 0.5"),
    ],
)
def test_what_is_no_image_is_refused(small, dataset, message):
    with pytest.raises(InputError, match=message):
        replace(small, dataset=dataset).load()


def test_a_folder_that_cannot_be_made_is_named(small, tmp_path, no_work):
    (tmp_path / "taken").write_text("a file")
    no_work()
    with pytest.raises(InputError, match="taken, where features are kept, cannot be made"):
        replace(small, cache=tmp_path / "taken").load()


def test_a_full_disk_leaves_nothing_behind(small, tmp_path, monkeypatch):
    def full(path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match=r"stripes-.*\.npz cannot be written: no space left"):
        small.load()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["sklearn.cluster", "pooch"])
def test_a_missing_library_is_named(small, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"tonsure\[datasets\]"):
        replace(small, cache=small.cache if module == "sklearn.cluster" else None).load()
