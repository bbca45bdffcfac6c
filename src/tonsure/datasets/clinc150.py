"""CLINC150: requests to an assistant, classified by intent."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tonsure.datasets.dataset import Dataset
from tonsure.datasets.files import RemoteFile, find, unpacked
from tonsure.datasets.texts import LabeledTexts, text_dataset
from tonsure.durable_files import parse_json
from tonsure.errors import InputError


@dataclass(frozen=True)
class CLINC150:
    """Requests with 150 intents, 100 of each for training and 30 for testing; the version "full".

    The validation split (20 of each) and the requests out of scope are not used.
    Source: Larson et al. 2019.

    Args:
        words: the number of word numbers; see ``tonsure.datasets.texts.numbered``.
        length: the number of words that are kept of a request.
        ngrams: 2 adds pairs of neighboring words.
    """

    words: int = 3_000
    length: int = 24
    ngrams: int = 1

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_clinc150(_FILE, words=self.words, length=self.length, ngrams=self.ngrams)


def load_clinc150(file: RemoteFile, cache: Path | None = None, *, words: int, length: int, ngrams: int = 1) -> Dataset:
    """Finds the file, reads and checks it, and numbers its words. Classes are the training intents, sorted."""
    path = find(file, cache)
    content = unpacked(path)
    try:
        splits = parse_json(content)
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    train, test = _pairs(path, splits, "train"), _pairs(path, splits, "test")
    classes = tuple(sorted({intent for _, intent in train}))
    return text_dataset(
        "clinc150",
        "CLINC150, the official splits train and test, without val and without what is out of scope: all",
        _labeled(path, train, classes),
        _labeled(path, test, classes),
        classes,
        words=words,
        length=length,
        ngrams=ngrams,
    )


def _pairs(path: Path, splits: Any, split: str) -> list[tuple[str, str]]:
    if not isinstance(splits, dict) or not isinstance(splits.get(split), list):
        raise InputError(f"{path} has no list {split!r}")
    for row, pair in enumerate(splits[split]):
        if not isinstance(pair, list) or [type(part) for part in pair] != [str, str]:
            raise InputError(f"{path}, {split}, row {row}: {str(pair)[:80]}, expected [text, intent]")
    if not splits[split]:
        raise InputError(f"{path}: {split} is empty")
    return [(text, intent) for text, intent in splits[split]]


def _labeled(path: Path, pairs: list[tuple[str, str]], classes: tuple[str, ...]) -> LabeledTexts:
    label_of = {name: label for label, name in enumerate(classes)}
    for text, intent in pairs:
        if intent not in label_of:
            raise InputError(f"{path}: {intent!r} of {text!r} is none of the {len(classes)} classes of its train")
    return [text for text, _ in pairs], [label_of[intent] for _, intent in pairs]


_FILE = RemoteFile(
    "clinc150",
    "data_full.json",
    "30c29dc6ab78edf3b5dfa640be204cde",
    ("https://raw.githubusercontent.com/clinc/oos-eval/master/data",),
)
