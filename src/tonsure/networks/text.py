"""Networks for texts: int64 [n, length], the numbers of their words, padded with 0.

The output for a text does not depend on its padding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tonsure.errors import InputError
from tonsure.networks.initial import glorot
from tonsure.networks.settings import checked_settings


@checked_settings
def fasttext_network(
    words: int, classes: int, width: int = 64, hidden: int = 128, dropout: float = 0.5
) -> nn.Sequential:
    """The mean of the word vectors of a text (0 for a text without words), (dense, ReLU, dropout), dense.

    From int64 [n, length] to logits [n, C].
    Source: fastText (Joulin, Grave, Bojanowski & Mikolov 2017), with one more hidden layer for dropout.

    Args:
        words: the number of word numbers, with 0, the padding.
        classes: C.
        width: of a word vector.
        hidden: units of the dense layer.
        dropout: probability of dropping a unit.
    """
    return glorot(
        nn.Sequential(
            nn.EmbeddingBag(words, width, mode="mean", padding_idx=0),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )
    )


@checked_settings
def text_convolution(
    words: int,
    classes: int,
    width: int = 64,
    filters: int = 64,
    sizes: Sequence[int] = (2, 3, 4),
    hidden: int = 128,
    dropout: float = 0.5,
) -> nn.Sequential:
    """Convolutions over word vectors, ReLU, the maximum over the text, dropout, (dense, ReLU, dropout), dense.

    From int64 [n, length] to logits [n, C].
    Source: Kim 2014, with one more dense layer.

    Args:
        words: the number of word numbers, with 0, the padding.
        classes: C.
        width: of a word vector.
        filters: the number of filters of each size.
        sizes: the sizes of the filters, in words.
        hidden: units of the dense layer.
        dropout: probability of dropping a unit.

    Raises:
        InputError: there are no sizes.
    """
    if len(sizes) == 0:
        raise InputError("sizes is empty, expected one or several numbers of words")
    return glorot(
        nn.Sequential(
            MaxOfFilters(words, width, filters, sizes),
            nn.Dropout(dropout),
            nn.Linear(filters * len(sizes), hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )
    )


class MaxOfFilters(nn.Module):
    """max_i ReLU(filter(v_{w_i}, …, v_{w_{i + size − 1}}))  over the words w_i of a text, for each filter of each size.

    The text is padded with zeros, so that the last word begins a window too.
    """

    def __init__(self, words: int, width: int, filters: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, width, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, filters, size) for size in sizes)
        self.sizes = tuple(sizes)

    def forward(self, texts: Tensor) -> Tensor:
        vectors = self.vectors(texts).transpose(1, 2)
        begins_with_word = (texts != 0)[:, None]
        found = []
        for size, convolution in zip(self.sizes, self.convolutions, strict=True):
            windows = convolution(nn.functional.pad(vectors, (0, size - 1)))
            # ReLU leaves nothing below 0, so 0 in the place of other windows is never the maximum.
            found.append((nn.functional.relu(windows) * begins_with_word).amax(dim=2))
        return torch.cat(found, dim=1)
