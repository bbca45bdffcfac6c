"""Features of images, learned without labels by k-means on small patches."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from tonsure.datasets.dataset import Dataset, Loader
from tonsure.datasets.feature_cache import digest, feature_folder, read_features, write_features
from tonsure.errors import InputError, MissingExtraError
from tonsure.progress import progress

VERSION = 1
"""The version of this computation. Features that were stored with another number are not used."""

FLAT = 0.0025
"""Added to the variance of a patch, relative to the variance of all pixels, so that noise in a flat patch stays small:
10 for pixels from 0 to 255 in Coates, Ng & Lee, whose images have a variance of about 4,000."""

BLOCK = 8
"""Images at a time; their distances, 9 MB by default, fit the processor's cache."""


@dataclass(frozen=True)
class KMeansFeatures:
    """A dataset of images whose inputs become features, float32 [N, D], learned from the training images alone.

    One convolutional layer that is trained by k-means, with "triangle" activations. With x a patch of patch × patch
    pixels of all channels::

        x̂ = (x − mean(x)) / √(var(x) + 0.0025 · var(all pixels))
        w = (Σ + whiten · 1)^(−1/2) (x̂ − μ)          μ, Σ: mean and covariance of the sampled x̂
        z_k = ‖w − c_k‖                              c_k: centroid k of the sampled w
        f_k = max(0, mean_j z_j − z_k)

    f is averaged over the patches of each of pool × pool parts of the image. Each of these centroids · pool² numbers is
    standardized, and they are projected on their first principal components, which are divided by one number, so that
    their variances are 1 on average. All statistics are those of the training images. (Components with variance 1 each,
    as is also common, cost a third of the accuracy with 1,000 labels of CIFAR-100.)

    The inputs of the dataset may be scaled. A scale that is the same for all channels is removed by the contrast
    normalization. Different scales are removed by the whitening for the most part; the features then differ a little.

    The features are cached on disk, by the settings and all pixels. The same seed gives the same features with the same
    number of threads. Another number rounds sums differently, which k-means can amplify.
    Source: Coates, Ng & Lee 2011, "An analysis of single-layer networks in unsupervised feature learning".

    Args:
        dataset: the images, float [N, channels, height, width].
        centroids: the number of centroids of k-means.
        patch: the height and width of a patch, in pixels; neighboring patches are one pixel apart.
        whiten: added to the variances of normalized patches, so that noise is not amplified.
        pool: the number of parts of the height and of the width.
        components: the number of principal components; None keeps the standardized features themselves.
        patches: the number of patches, at random places of random training images, for k-means.
        seed: of the patches and of k-means.
        cache: the folder of the features; None is the user's cache folder.

    Raises:
        InputError: a number is out of range.
    """

    dataset: Loader
    centroids: int = 400
    patch: int = 6
    whiten: float = 0.1
    pool: int = 2
    components: int | None = 512
    patches: int = 400_000
    seed: int = 0
    cache: Path | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, least in (("centroids", 2), ("patch", 1), ("pool", 1), ("patches", self.centroids)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, found {getattr(self, name)}")
        if not self.whiten > 0:
            raise InputError(f"whiten must be above 0, found {self.whiten}")
        features = self.centroids * self.pool**2
        if self.components is not None and not 1 <= self.components <= features:
            raise InputError(f"components must be 1 to {features}, of so many features, found {self.components}")

    def load(self) -> Dataset:
        """The dataset with features as inputs, computed once and then read from the cache.

        Raises:
            InputError: the inputs are no images, or are smaller than pool × pool patches.
            MissingExtraError: scikit-learn or pooch is needed and not installed.
        """
        dataset = self.dataset.load()
        images = [self._checked(dataset, split) for split in ("train_inputs", "test_inputs")]
        if images[0].shape[1:] != images[1].shape[1:]:
            found = " and ".join(str(list(inputs.shape)) for inputs in images)
            raise InputError(f"train_inputs and test_inputs of {dataset.name} are {found}, expected images of one size")
        settings = {name: value for name, value in vars(self).items() if name not in ("dataset", "cache")}
        path = feature_folder(self.cache) / f"{dataset.name}-{digest((VERSION, settings), images)}.npz"
        if (features := read_features(path)) is None:
            features = self._compute(*images)
            write_features(path, features)
        kept = "all features" if self.components is None else f"the first {self.components} principal components"
        description = (
            f"{dataset.description}; made into features that were learned from the training images without labels "
            f"(Coates, Ng & Lee 2011): {self.patches:,} patches of {self.patch} × {self.patch}, whitened with "
            f"{self.whiten}, {self.centroids} centroids, {self.pool} × {self.pool} parts of the image, "
            f"standardized, {kept}, seed {self.seed}"
        )
        return replace(dataset, train_inputs=features[0], test_inputs=features[1], description=description)

    def _checked(self, dataset: Dataset, split: str) -> Float32[Tensor, "N channels height width"]:
        inputs: Tensor = getattr(dataset, split)
        found = f"{split} of {dataset.name} are {inputs.dtype} {list(inputs.shape)}"
        if inputs.ndim != 4 or not inputs.is_floating_point() or len(inputs) == 0:
            raise InputError(f"{found}, expected some floating-point images [N, channels, height, width]")
        if min(inputs.shape[2:]) < (least := self.patch + self.pool - 1):
            raise InputError(
                f"{found}, expected a height and width of at least {least}, for {self.pool} × {self.pool} patches of "
                f"{self.patch} × {self.patch}"
            )
        inputs = inputs.float()
        if (wrong := ~inputs.isfinite().flatten(1).all(1)).any():
            raise InputError(f"{found}; row {int(wrong.nonzero()[0])} holds nan or infinity")
        return inputs

    def _compute(self, train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
        layer = self._learn(train)
        train_N_D, test_N_D = (
            torch.cat([layer(block) for block in progress(inputs.split(BLOCK), what, delay=2)])
            for inputs, what in ((train, "training features"), (test, "test features"))
        )
        _standardize(train_N_D, test_N_D)
        if self.components is None:
            return train_N_D, test_N_D
        return _principal_components(train_N_D, test_N_D, self.components)

    def _learn(self, images: Tensor) -> "_Layer":
        """The whitening and the centroids, from patches at random places of random images."""
        try:
            from sklearn.cluster import MiniBatchKMeans
        except ImportError as error:
            raise MissingExtraError("KMeansFeatures", "datasets") from error
        if not (flat := FLAT * float(images.var())) > 0:
            raise InputError(f"all pixels of the training images are {float(images.mean()):g}, expected differences")
        generator = torch.Generator().manual_seed(self.seed)
        everywhere = _patches(images, self.patch)
        places = [torch.randint(size, (self.patches,), generator=generator) for size in everywhere.shape[:3]]
        patches_n_D = _normalized(everywhere[tuple(places)].flatten(1), flat)
        mean_D = patches_n_D.mean(0)
        patches_n_D -= mean_D
        variances, axes = torch.linalg.eigh((patches_n_D.T @ patches_n_D / self.patches).double())
        whitening = (axes * (variances + self.whiten).rsqrt() @ axes.T).float()
        kmeans = MiniBatchKMeans(
            self.centroids,
            batch_size=10 * self.centroids,
            n_init=1,
            random_state=int(torch.randint(2**31, (), generator=generator)),
        )
        centroids = torch.from_numpy(kmeans.fit((patches_n_D @ whitening).numpy()).cluster_centers_)
        return _Layer(self.patch, self.pool, flat, mean_D, whitening, centroids)


@dataclass(frozen=True, eq=False)
class _Layer:
    patch: int
    pool: int
    flat: float
    mean_D: Tensor
    whitening: Tensor
    centroids: Tensor

    def __call__(self, images: Tensor) -> Float[Tensor, "n D"]:
        places = _patches(images, self.patch)
        n, height, width = places.shape[:3]
        patches = _normalized(places.reshape(n * height * width, -1), self.flat)
        distances = torch.cdist((patches - self.mean_D) @ self.whitening, self.centroids)
        activations = distances.mean(1, keepdim=True).sub(distances).relu_()
        # As a picture whose channels are the centroids; in memory they stay last, which the pooling knows to use.
        return adaptive_avg_pool2d(activations.view(n, height, width, -1).permute(0, 3, 1, 2), self.pool).flatten(1)


def _patches(images: Tensor, size: int) -> Tensor:
    """A view of every patch: [N, height − size + 1, width − size + 1, channels, size, size]."""
    return images.unfold(2, size, 1).unfold(3, size, 1).permute(0, 2, 3, 1, 4, 5)


def _normalized(patches_n_D: Float[Tensor, "n D"], flat: float) -> Float[Tensor, "n D"]:
    """(x − mean x) / √(var x + flat) of each patch."""
    centered_n_D = patches_n_D - patches_n_D.mean(1, keepdim=True)
    return centered_n_D.div_(centered_n_D.square().mean(1, keepdim=True).add_(flat).sqrt_())


def _standardize(train_N_D: Tensor, test_N_D: Tensor) -> None:
    """Mean 0 and variance 1 over the training images, in place; a constant feature becomes 0."""
    deviation_D, mean_D = torch.std_mean(train_N_D, 0, correction=0)
    scale_D = torch.where(deviation_D > 1e-6, 1 / deviation_D, 0)
    for features_n_D in (train_N_D, test_N_D):
        features_n_D.sub_(mean_D).mul_(scale_D)


def _principal_components(train_N_D: Tensor, test_N_D: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """The first components of standardized features, by variance, divided by the root of their mean variance."""
    variances, axes = torch.linalg.eigh((train_N_D.T @ train_N_D / len(train_N_D)).double())
    axes = (axes.flip(1)[:, :components] / variances.flip(0)[:components].mean().sqrt()).float()
    return train_N_D @ axes, test_N_D @ axes
