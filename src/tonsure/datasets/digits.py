"""The digits that come with scikit-learn: 1,797 real scans of 8 × 8, without any download."""

from dataclasses import dataclass

import torch

from tonsure.datasets.dataset import Dataset
from tonsure.errors import InputError, MissingExtraError


@dataclass(frozen=True)
class Digits:
    """PoolReader of the UCI "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998).

    Args:
        test: how many of the 1,797 images are the test set.
        seed: decides which.
    """

    test: int = 500
    seed: int = 0

    def load(self) -> Dataset:
        """Reads the copy in scikit-learn, and splits it.

        Raises:
            MissingExtraError: scikit-learn is not installed.
            InputError: ``test`` leaves nothing to train or to test on.
        """
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise MissingExtraError("Digits", "datasets") from error
        bunch = load_digits()
        images, labels = torch.from_numpy(bunch.images), torch.from_numpy(bunch.target).long()
        if not 0 < self.test < len(labels):
            raise InputError(f"test must be 1 to {len(labels) - 1} of the {len(labels)} digits, found {self.test}")
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(self.seed))
        test, train = order[: self.test], order[self.test :]
        inputs = (images / 16).float()[:, None]
        return Dataset(
            name="digits",
            train_inputs=inputs[train],
            train_labels=labels[train],
            test_inputs=inputs[test],
            test_labels=labels[test],
            train_images=(images[train] * (255 / 16)).round().to(torch.uint8),
            classes=tuple(str(digit) for digit in range(10)),
            description=(
                f"scikit-learn's digits, {len(train):,} for training and {len(test):,} for testing "
                f"(a split of ours, seed {self.seed}), 8 × 8, pixels scaled to [0, 1]"
            ),
        )
