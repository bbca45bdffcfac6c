import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from tonsure.datasets.texts import numbered, text_dataset
from tonsure.errors import InputError, MissingExtraError

sklearn_text = pytest.importorskip("sklearn.feature_extraction.text")

TRAIN = ["B a, b! c", "b A", "c d 5", "5"]
"""b three times, then a, c and 5 twice, d once."""


def test_words_are_numbered_by_frequency_and_then_by_the_alphabet():
    train, test = numbered(TRAIN, ["d b e", "A-A"], words=100, length=5)
    #      b: 2, 5: 3, a: 4, c: 5
    assert train.tolist() == [[2, 4, 2, 5, 0], [2, 4, 0, 0, 0], [5, 1, 3, 0, 0], [3, 0, 0, 0, 0]]
    assert test.tolist() == [[1, 2, 1, 0, 0], [4, 4, 0, 0, 0]]
    assert train.dtype == test.dtype == torch.int64


def test_numbers_stay_below_words():
    train, _ = numbered(TRAIN, TRAIN, words=4, length=5)
    assert train.tolist() == [[2, 1, 2, 1, 0], [2, 1, 0, 0, 0], [1, 1, 3, 0, 0], [3, 0, 0, 0, 0]]


def test_only_the_first_words_are_kept_and_counted():
    train, test = numbered(TRAIN, TRAIN, words=100, length=2)
    #      a: 2, b: 3
    assert train.tolist() == test.tolist() == [[3, 2], [3, 2], [1, 1], [1, 0]]


def test_a_text_without_words_is_one_unknown_word():
    train, test = numbered(["a a", ""], ["...", "a"], words=10, length=3)
    assert train.tolist() == [[2, 2, 0], [1, 0, 0]]
    assert test.tolist() == [[1, 0, 0], [2, 0, 0]]


def test_pairs_follow_in_columns_of_their_own():
    train, test = numbered(["x y z", "x y w", "x"], ["y x y z", "x z y", "y"], words=100, length=4, ngrams=2)
    #      x: 2, "x y": 3, y: 4; w, z, "y z" and "y w" are there only once
    assert train.tolist() == [[2, 4, 1, 0, 3, 0, 0], [2, 4, 1, 0, 3, 0, 0], [2, 0, 0, 0, 0, 0, 0]]
    assert test.tolist() == [[4, 2, 4, 1, 3, 0, 0], [2, 1, 4, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0, 0]]


def test_counts_agree_with_scikit_learn():
    generator = np.random.default_rng(0)
    words = [f"w{number}" for number in range(40)]
    texts = [" ".join(generator.choice(words, size=generator.integers(1, 9))) for _ in range(50)]
    vectorizer = sklearn_text.CountVectorizer(ngram_range=(1, 2))
    counts = np.asarray(vectorizer.fit_transform(texts).sum(0))[0]
    names = vectorizer.get_feature_names_out()
    ranked = [names[place] for place in np.argsort(-counts, kind="stable") if counts[place] > 1]
    found, _ = numbered(texts, [], words=1000, length=9, ngrams=2)
    for text, row in zip(texts, found, strict=True):
        singles = text.split()
        number = {name: place for place, name in enumerate(ranked, start=2)}
        pairs = [number[" ".join(pair)] for pair in pairwise(singles) if " ".join(pair) in number]
        expected = [number.get(word, 1) for word in singles]
        assert row.tolist() == expected + [0] * (9 - len(expected)) + pairs + [0] * (8 - len(pairs))


def test_a_dataset_of_texts_says_what_it_is():
    data = text_dataset(
        "tiny", "tiny: all", (TRAIN, [0, 1, 0, 1]), (["d"], [1]), ("x", "y"), words=1000, length=5, ngrams=2
    )
    assert data.train_inputs.shape == (4, 9)
    assert data.train_labels.tolist() == [0, 1, 0, 1]
    assert data.train_labels.dtype == data.test_labels.dtype == torch.int64
    assert (data.train_texts, data.train_images) == (TRAIN, None)
    assert data.description == (
        "tiny: all 4 for training and 1 for testing, the first 5 words of each and their pairs, as 1,000 numbers for "
        "the most frequent of the training texts"
    )


@pytest.mark.parametrize("setting", [{"words": 2}, {"length": 0}, {"ngrams": 3}, {"ngrams": 0}])
def test_settings_out_of_range_are_refused(setting):
    name, value = next(iter(setting.items()))
    with pytest.raises(InputError, match=f"{name} = {value}.*; expected words >= 3, length >= 1, ngrams 1 or 2"):
        numbered(TRAIN, TRAIN, **({"words": 10, "length": 5} | setting))


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(MissingExtraError, match=r"tonsure\[datasets\]"):
        numbered(TRAIN, TRAIN, words=10, length=5)
