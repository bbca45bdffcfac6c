"""AG News: news stories, classified by section."""

from dataclasses import dataclass
from pathlib import Path

from tonsure.datasets.csv_texts import read_csv
from tonsure.datasets.dataset import Dataset
from tonsure.datasets.files import RemoteFile, find, find_first
from tonsure.datasets.texts import LabeledTexts, text_dataset
from tonsure.errors import InputError


@dataclass(frozen=True)
class Source:
    """The files. The subset of the training file is read only from the user's folder."""

    train: RemoteFile
    subset: RemoteFile
    test: RemoteFile


@dataclass(frozen=True)
class AGNews:
    """Titles and first lines of news stories in 4 sections, 120,000 for training and 7,600 for testing.

    If $TONSURE_DATA/ag_news has no train.csv but a subset of it with 30,020 stories, the subset is read, and the
    description says so.
    Source: Zhang, Zhao & LeCun 2015.

    Args:
        words: the number of word numbers; see ``tonsure.datasets.texts.numbered``.
        length: the number of words that are kept of a story.
        ngrams: 2 adds pairs of neighboring words.
    """

    words: int = 10_000
    length: int = 64
    ngrams: int = 1

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_ag_news(_SOURCE, words=self.words, length=self.length, ngrams=self.ngrams)


def load_ag_news(source: Source, cache: Path | None = None, *, words: int, length: int, ngrams: int = 1) -> Dataset:
    """Finds the two files, reads and checks them, and numbers their words."""
    train_file, train_path = find_first([source.train, source.subset], cache)
    test_path = find(source.test, cache)
    return text_dataset(
        "ag_news",
        "AG News, a subset of the official training file, with the official test file:"
        if train_file == source.subset
        else "AG News, the official files: all",
        _read(train_path),
        _read(test_path),
        CLASSES,
        words=words,
        length=length,
        ngrams=ngrams,
    )


def _read(path: Path) -> LabeledTexts:
    texts, labels = [], []
    for line, (section, title, story) in read_csv(path, fields=3):
        if section not in _LABELS:
            raise InputError(f"{path}, line {line}: the class is {section!r}, expected 1 to {len(CLASSES)}")
        texts.append(f"{title} {story}")
        labels.append(_LABELS[section])
    if not texts:
        raise InputError(f"{path} is empty")
    return texts, labels


CLASSES = ("World", "Sports", "Business", "Sci/Tech")
_LABELS = {str(number): number - 1 for number in range(1, len(CLASSES) + 1)}

_MIRRORS = ("https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv",)
_SOURCE = Source(
    train=RemoteFile("ag_news", "train.csv", "b1a00f826fdfbd249f79597b59e1dc12", _MIRRORS),
    subset=RemoteFile("ag_news", "train_subset_30020.csv", "5047382efa22bf499e116c0a86e9197f"),
    test=RemoteFile("ag_news", "test.csv", "d52ea96a97a2d943681189a97654912d", _MIRRORS),
)
