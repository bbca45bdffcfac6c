"""Features of texts, learned without labels by latent semantic analysis."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tonsure.datasets.dataset import Dataset, Loader
from tonsure.datasets.texts import UNKNOWN
from tonsure.errors import InputError, MissingExtraError


@dataclass(frozen=True)
class LatentSemantics:
    """A dataset of texts whose inputs become features, float32 [N, D], learned from the training texts alone.

    Words are counted and weighted by (1 + log count) · (log((1 + N) / (1 + texts with the word)) + 1), as scikit-learn
    does, and each text is scaled to length 1. The weights are projected on the first D right singular vectors of the
    training texts, and each text is scaled to length √D, so that a feature has a size of about 1. A text without a
    known word is all zeros.
    Source: Deerwester, Dumais, Furnas, Landauer & Harshman 1990.

    Args:
        dataset: the texts, as numbered words, int64 [N, length].
        components: D, below the number of words.
        seed: of the randomized singular value decomposition.

    Raises:
        InputError: components or seed is out of range.
    """

    dataset: Loader
    components: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.components < 1:
            raise InputError(f"components must be at least 1, found {self.components}")

    def load(self) -> Dataset:
        """Raises as the dataset; InputError if its inputs are no texts; MissingExtraError without scikit-learn."""
        try:
            from sklearn.decomposition import TruncatedSVD
            from sklearn.feature_extraction.text import TfidfTransformer
        except ImportError as error:
            raise MissingExtraError("LatentSemantics", "datasets") from error
        dataset = self.dataset.load()
        for inputs in (dataset.train_inputs, dataset.test_inputs):
            if inputs.ndim != 2 or inputs.dtype != torch.int64:
                raise InputError(
                    f"the inputs of {dataset.name} are {inputs.dtype} {list(inputs.shape)}, expected texts as numbered "
                    "words, int64 [N, length]"
                )
        words = int(dataset.train_inputs.max()) + 1
        if self.components >= words:
            raise InputError(f"components is {self.components}, expected fewer than the {words:,} words there are")
        weigh = TfidfTransformer(sublinear_tf=True)
        project = TruncatedSVD(self.components, random_state=self.seed)
        train = project.fit_transform(weigh.fit_transform(_counts(dataset.train_inputs, words)))
        test = project.transform(weigh.transform(_counts(dataset.test_inputs, words)))
        return replace(
            dataset,
            train_inputs=_scaled(train),
            test_inputs=_scaled(test),
            description=(
                f"{dataset.description}; made into {self.components} features that were learned from the training "
                f"texts without labels (latent semantic analysis of tf-idf weights, seed {self.seed})"
            ),
        )


def _counts(texts: Tensor, words: int) -> Any:
    from scipy.sparse import coo_matrix

    rows, columns = (texts > UNKNOWN).nonzero(as_tuple=True)
    numbers = texts[rows, columns]
    known = numbers < words  # a loader numbers only words of the training texts, another may not
    ones = np.ones(int(known.sum()))
    return coo_matrix((ones, (rows[known].numpy(), numbers[known].numpy())), shape=(len(texts), words)).tocsr()


def _scaled(features: Any) -> Tensor:
    features_n_D = torch.from_numpy(features).float()
    length_n_1 = features_n_D.norm(dim=1, keepdim=True)
    return features_n_D / length_n_1.clamp_min(1e-9) * features_n_D.shape[1] ** 0.5
