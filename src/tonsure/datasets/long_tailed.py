"""A pool in which some classes are rare."""

import math
from dataclasses import dataclass, replace

import torch

from tonsure.datasets.dataset import Dataset, Loader
from tonsure.errors import InputError


@dataclass(frozen=True)
class LongTailed:
    """A dataset with ⌈n_c · ratio^(−c / (C − 1))⌉ random training items of class c, of the n_c that there are.

    The items keep the order of the dataset. The test set does not change.
    Source: Cui, Jia, Lin, Song & Belongie 2019, section 5.1 (long-tailed CIFAR).

    Args:
        dataset: the whole dataset.
        ratio: the share of the first class that is kept, divided by that of the last; 1 keeps all items.
        seed: of the draw.
    """

    dataset: Loader
    ratio: float = 20.0
    seed: int = 0

    def load(self) -> Dataset:
        """Raises as the dataset, and InputError for a ratio below 1."""
        if not 1 <= self.ratio < float("inf"):
            raise InputError(f"ratio is {self.ratio}, expected a finite number of at least 1")
        whole = self.dataset.load()
        C = len(whole.classes)
        generator = torch.Generator().manual_seed(self.seed)
        kept: list[torch.Tensor] = []
        for c in range(C):
            rows = (whole.train_labels == c).nonzero()[:, 0]
            share = self.ratio ** (-c / max(C - 1, 1))
            order = torch.randperm(len(rows), generator=generator)
            kept.append(rows[order[: math.ceil(len(rows) * share)]])
        rows = torch.cat(kept).sort().values
        return replace(
            whole.with_train_rows(rows),
            description=(
                f"{whole.description}; for training {len(rows):,} of these, the last class {self.ratio:g} times rarer "
                f"than the first, by equal factors from class to class, drawn with seed {self.seed}"
            ),
        )
