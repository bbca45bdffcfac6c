"""Texts as sequences of word numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise

import torch
from jaxtyping import Int64
from torch import Tensor

from tonsure.datasets.dataset import Dataset
from tonsure.errors import InputError, MissingExtraError

PADDING, UNKNOWN = 0, 1
"""The numbers of padding, and of words without a number of their own."""

LabeledTexts = tuple[Sequence[str], Sequence[int]]


def text_dataset(
    name: str,
    what: str,
    train: LabeledTexts,
    test: LabeledTexts,
    classes: tuple[str, ...],
    *,
    words: int,
    length: int,
    ngrams: int = 1,
) -> Dataset:
    """A dataset from texts that were read and checked. ``what`` begins the description; the rest as ``numbered``."""
    (train_texts, train_labels), (test_texts, test_labels) = train, test
    train_inputs, test_inputs = numbered(train_texts, test_texts, words=words, length=length, ngrams=ngrams)
    return Dataset(
        name=name,
        train_inputs=train_inputs,
        train_labels=torch.tensor(train_labels, dtype=torch.int64),
        test_inputs=test_inputs,
        test_labels=torch.tensor(test_labels, dtype=torch.int64),
        train_texts=train_texts,
        test_texts=test_texts,
        classes=classes,
        description=(
            f"{what} {len(train_labels):,} for training and {len(test_labels):,} for testing, the first {length} "
            f"words of each{' and their pairs' if ngrams == 2 else ''}, as {words:,} numbers for the most frequent of "
            "the training texts"
        ),
    )


def numbered(
    train_texts: Sequence[str], test_texts: Sequence[str], *, words: int, length: int, ngrams: int = 1
) -> tuple[Int64[Tensor, "N width"], Int64[Tensor, "M width"]]:
    """Both sets of texts as numbers: 0 is padding, 1 an unknown word, then the training words, most frequent first.

    Words are those of scikit-learn's CountVectorizer, in lower case, with words of one letter. Words with the same
    frequency are sorted. Words that occur once in the training texts are unknown too, so that a network is trained on
    unknown words. A text without words is one unknown word.

    Args:
        words: the number of numbers; every number is below it.
        length: the number of first words that are kept of a text; the width.
        ngrams: 2 adds pairs of neighboring words (fastText: Joulin, Grave, Bojanowski & Mikolov 2017). Pairs share the
            numbers with words and follow them in ``length - 1`` more columns. Pairs without a number are omitted,
            because most pairs are rare.

    Raises:
        InputError: a setting is out of range.
        MissingExtraError: scikit-learn is not installed.
    """
    if words < 3 or length < 1 or ngrams not in (1, 2):
        raise InputError(
            f"words = {words}, length = {length}, ngrams = {ngrams}; expected words >= 3, length >= 1, ngrams 1 or 2"
        )
    try:
        from sklearn.feature_extraction.text import CountVectorizer
    except ImportError as error:
        raise MissingExtraError("A dataset of texts", "datasets") from error
    # By default it drops words of one letter, such as the 5 of a sum of money.
    analyze = CountVectorizer(token_pattern=r"(?u)\b\w+\b").build_analyzer()
    train, test = ([analyze(text)[:length] for text in texts] for texts in (train_texts, test_texts))
    numbers = _numbers(train, words, ngrams)
    return _table(train, numbers, length, ngrams), _table(test, numbers, length, ngrams)


def _numbers(train: Sequence[Sequence[str]], words: int, ngrams: int) -> dict[str, int]:
    counts = Counter(chain.from_iterable(train))
    if ngrams == 2:
        counts.update(chain.from_iterable(map(_pairs, train)))
    ranked = sorted((word for word in counts if counts[word] > 1), key=lambda word: (-counts[word], word))
    return {word: number for number, word in enumerate(ranked[: words - 2], start=2)}


def _table(texts: Sequence[Sequence[str]], numbers: Mapping[str, int], length: int, ngrams: int) -> Tensor:
    table = torch.full((len(texts), length if ngrams == 1 else 2 * length - 1), PADDING)
    for row, text in zip(table.numpy(), texts, strict=True):
        row[: max(len(text), 1)] = [numbers.get(word, UNKNOWN) for word in text] or UNKNOWN
        if ngrams == 2:
            known = [numbers[pair] for pair in _pairs(text) if pair in numbers]
            row[length : length + len(known)] = known
    return table


def _pairs(text: Sequence[str]) -> list[str]:
    # No word holds a blank, so no pair can be taken for a word.
    return [f"{left} {right}" for left, right in pairwise(text)]
