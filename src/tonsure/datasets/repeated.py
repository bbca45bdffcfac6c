"""A pool with near copies of every item."""

import math
from dataclasses import dataclass, replace

import torch

from tonsure.datasets.dataset import Dataset, Loader
from tonsure.errors import InputError


@dataclass(frozen=True)
class Repeated:
    """A dataset with several copies of all training items, with Gaussian noise.

    Row ``c N + i`` is copy c of item i. The noise is added to the inputs of all copies, the first included. Images and
    texts for display, and the test set, do not change.
    Source: RepeatedMNIST (Kirsch, van Amersfoort & Gal 2019).

    Args:
        dataset: the items.
        copies: the number of copies of each item.
        noise: the standard deviation of the noise, in the unit of the inputs; 0 makes exact copies.
        seed: of the noise.
    """

    dataset: Loader
    copies: int = 4
    noise: float = 0.1
    seed: int = 0

    def load(self) -> Dataset:
        """Raises as the dataset, and InputError for settings out of range, or noise on inputs that are no floats."""
        if self.copies < 1 or not 0 <= self.noise < math.inf:
            raise InputError(
                f"copies = {self.copies}, noise = {self.noise}; expected copies >= 1 and a finite noise >= 0"
            )
        once = self.dataset.load()
        if self.noise and not once.train_inputs.is_floating_point():
            raise InputError(
                f"noise = {self.noise} cannot be added to the {once.train_inputs.dtype} inputs of {once.name}; "
                "noise=0.0 makes exact copies"
            )
        N = len(once.train_labels)
        data = once.with_train_rows(torch.arange(N).repeat(self.copies))
        generator = torch.Generator().manual_seed(self.seed)
        for copy in data.train_inputs.split(N) if self.noise else ():
            copy.add_(torch.randn(copy.shape, generator=generator, dtype=copy.dtype), alpha=self.noise)
        how = f"with Gaussian noise of {self.noise}, seed {self.seed}" if self.noise else "exactly"
        return replace(data, description=f"{once.description}; each for training {self.copies} times, {how}")
