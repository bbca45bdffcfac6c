"""Features of texts or images from a pretrained encoder."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tonsure.datasets.dataset import Dataset, Loader
from tonsure.datasets.encoders import Encoder
from tonsure.datasets.feature_cache import digest, feature_folder, read_features, write_features
from tonsure.errors import InputError

VERSION = 1
"""The version of this computation. Features that were stored with another number are not used."""


@dataclass(frozen=True)
class Encoded:
    """A dataset whose inputs become the features that a pretrained encoder gives them, float32 [N, D].

    The features are computed once and cached on disk, by the encoder and all items. Other machines and other versions
    of libraries round them differently, so the description, which is part of the record, has a hash of the features.

    With ``scaled`` they are centered by the mean of the training items, and divided by one number, so that the variance
    of a feature is 1 on average: a network on top then has inputs of the size that its learning rate was made for.

    Args:
        dataset: texts or images.
        encoder: for example ``MiniLM()`` for texts, ``EfficientNetLite0()`` for images.
        scaled: whether features are centered and scaled.
        cache: the folder of the features; None is the user's cache folder.
    """

    dataset: Loader
    encoder: Encoder
    scaled: bool = True
    cache: Path | None = field(default=None, repr=False)

    def load(self) -> Dataset:
        """The dataset with features as inputs.

        Raises:
            InputError: the dataset has no texts, where the encoder reads texts; or features are not [N, D], or not
                finite.
            MissingExtraError: the features are not cached, and the packages of the encoder are not installed.
        """
        dataset = self.dataset.load()
        splits = ("train", "test")
        items = [getattr(dataset, f"{split}_{self.encoder.reads}") for split in splits]
        if any(some is None for some in items):
            raise InputError(f"{dataset.name} has no texts, and {self.encoder} reads texts")
        path = feature_folder(self.cache) / f"{dataset.name}-{digest((VERSION, self.encoder), items)}.npz"
        if (features := read_features(path)) is None:
            train, test = (self._encode(some, f"{split} features") for some, split in zip(items, splits, strict=True))
            features = train, test
            write_features(path, features)
        train, test = features
        found = hashlib.sha256(b"".join(some.numpy().tobytes() for some in features)).hexdigest()[:16]
        scaled = ""
        if self.scaled:
            mean_D = train.double().mean(0)
            scale = (train.double() - mean_D).square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
            train, test = (((some.double() - mean_D) / scale).float() for some in (train, test))
            scaled = ", centered and divided by their standard deviation"
        return replace(
            dataset,
            train_inputs=train,
            test_inputs=test,
            description=f"{dataset.description}; made into features by {self.encoder} (hash {found}){scaled}",
        )

    def _encode(self, items: Any, what: str) -> Tensor:
        features: Tensor = self.encoder.encode(items, what)
        if features.ndim != 2 or len(features) != len(items):
            raise InputError(f"{what} of {self.encoder} are {list(features.shape)}, expected [{len(items)}, D]")
        if (wrong := ~features.isfinite().all(1)).any():
            raise InputError(f"{what} of {self.encoder}: row {int(wrong.nonzero()[0])} holds nan or infinity")
        return features.float()
