import pytest

from tonsure.datasets import Banking77
from tonsure.datasets.banking77 import Source, load_banking77
from tonsure.errors import InputError

pytest.importorskip("sklearn")

TRAIN = b'text,category\n"my card, please",lost\nmy PIN?,pin\n'
TEST = b"text,category\nmy card,pin\n"
CLASSES = b'["pin", "lost"]'


def load(put, train=TRAIN, test=TEST, classes=CLASSES):
    source = Source(
        put("banking77", "train.csv", train),
        put("banking77", "test.csv", test),
        put("banking77", "categories.json", classes),
    )
    return load_banking77(source, words=100, length=4)


def test_labels_are_places_among_the_categories(put):
    data = load(put)
    assert data.classes == ("pin", "lost")
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([1, 0], [0])
    assert data.train_texts == ["my card, please", "my PIN?"]
    assert data.train_inputs.tolist() == [[2, 1, 1, 0], [2, 1, 0, 0]]
    assert data.description.startswith("Banking77, the official files: all 2 for training and 1 for testing")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": TRAIN + b"a,b,c\n"}, r"train\.csv, line 4: 3 fields, expected 2"),
        ({"train": TRAIN + b"a,Pin\n"}, r"train\.csv, line 4: 'Pin' is none of the 2 classes"),
        ({"test": TRAIN.split(b"\n", 1)[1]}, r"test\.csv begins with \['my card, please', 'lost'\], expected"),
        ({"test": b""}, r"test\.csv begins with \[\], expected"),
        ({"test": b"text,category\n"}, r"test\.csv is empty"),
        ({"classes": b'["pin", "lost"'}, r"categories\.json is no JSON"),
        ({"classes": b'{"pin": 1, "lost": 2}'}, r"categories\.json is no list of the names"),
        ({"classes": b'["pin", 2]'}, r"categories\.json is no list of the names of classes: \['pin', 2\]"),
        ({"classes": b'["pin"]'}, r"categories\.json is no list"),
    ],
)
def test_other_files_are_refused(changed, message, put):
    with pytest.raises(InputError, match=message):
        load(put, **changed)


@pytest.mark.data
def test_the_real_files(data_folder):
    if not (data_folder / "banking77").is_dir():
        pytest.skip("TONSURE_DATA has no banking77")
    data = Banking77().load()
    counts = data.train_labels.bincount()
    assert (len(data.classes), len(counts), int(counts.min()), int(counts.max())) == (77, 77, 35, 187)
    assert data.train_inputs.shape == (10_003, 32)
    assert data.test_labels.bincount().tolist() == [40] * 77
    assert data.train_texts[0] == "I am still waiting on my card?"
    assert data.classes[int(data.train_labels[0])] == "card_arrival"
