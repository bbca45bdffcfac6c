"""Banking77: questions to a bank, classified by intent."""

from dataclasses import dataclass
from pathlib import Path

from tonsure.datasets.csv_texts import read_csv
from tonsure.datasets.dataset import Dataset
from tonsure.datasets.files import RemoteFile, find, unpacked
from tonsure.datasets.texts import LabeledTexts, text_dataset
from tonsure.durable_files import parse_json
from tonsure.errors import InputError


@dataclass(frozen=True)
class Source:
    """The files: training, test, names of the classes."""

    train: RemoteFile
    test: RemoteFile
    classes: RemoteFile


@dataclass(frozen=True)
class Banking77:
    """Questions to a bank with 77 intents, 10,003 for training (35 to 187 of each) and 3,080 for testing.

    Source: Casanueva et al. 2020.

    Args:
        words: the number of word numbers; see ``tonsure.datasets.texts.numbered``.
        length: the number of words that are kept of a question.
        ngrams: 2 adds pairs of neighboring words.
    """

    words: int = 1_500
    length: int = 32
    ngrams: int = 1

    def load(self) -> Dataset:
        """Reads the files; raises as ``tonsure.datasets.files.find``, and InputError if their contents are wrong."""
        return load_banking77(_SOURCE, words=self.words, length=self.length, ngrams=self.ngrams)


def load_banking77(source: Source, cache: Path | None = None, *, words: int, length: int, ngrams: int = 1) -> Dataset:
    """Finds the files, reads and checks them, and numbers their words."""
    train_path, test_path, class_path = (find(file, cache) for file in (source.train, source.test, source.classes))
    classes = _classes(class_path)
    return text_dataset(
        "banking77",
        "Banking77, the official files: all",
        _read(train_path, classes),
        _read(test_path, classes),
        classes,
        words=words,
        length=length,
        ngrams=ngrams,
    )


def _classes(path: Path) -> tuple[str, ...]:
    content = unpacked(path)
    try:
        names = parse_json(content)
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) < 2:
        raise InputError(f"{path} is no list of the names of classes: {str(names)[:80]}")
    return tuple(names)


def _read(path: Path, classes: tuple[str, ...]) -> LabeledTexts:
    label_of = {name: label for label, name in enumerate(classes)}
    texts, labels = [], []
    rows = read_csv(path, fields=2)
    if (header := next(rows, (0, []))[1]) != ["text", "category"]:
        raise InputError(f"{path} begins with {header}, expected ['text', 'category']")
    for line, (text, category) in rows:
        if category not in label_of:
            raise InputError(f"{path}, line {line}: {category!r} is none of the {len(classes)} classes")
        texts.append(text)
        labels.append(label_of[category])
    if not texts:
        raise InputError(f"{path} is empty")
    return texts, labels


_MIRRORS = ("https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/master/banking_data",)
_SOURCE = Source(
    train=RemoteFile("banking77", "train.csv", "cec64185f4197906aabce0781ef9a19b", _MIRRORS),
    test=RemoteFile("banking77", "test.csv", "8dcd9dc31b686c75ec1f24bf23c140cb", _MIRRORS),
    classes=RemoteFile("banking77", "categories.json", "8312ff01430af97fba5a113b7a490269", _MIRRORS),
)
