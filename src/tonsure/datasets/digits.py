"""The digits that are part of scikit-learn: 1,797 scans of 8 × 8, without a download."""

from dataclasses import dataclass

import torch

from tonsure.datasets.dataset import Dataset
from tonsure.errors import InputError, MissingExtraError


@dataclass(frozen=True)
class Digits:
    """A part of the UCI dataset "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998).

    The split into training and test images is random, because scikit-learn has none.

    Args:
        test: the number of test images, of 1,797.
        seed: of the split.
    """

    test: int = 500
    seed: int = 0

    def load(self) -> Dataset:
        """Reads the copy in scikit-learn and splits it.

        Raises:
            MissingExtraError: scikit-learn is not installed.
            InputError: ``test`` leaves no training or no test images.
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
