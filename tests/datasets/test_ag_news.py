import pytest

from tonsure.datasets import AGNews
from tonsure.datasets.ag_news import Source, load_ag_news
from tonsure.datasets.files import RemoteFile
from tonsure.errors import InputError

pytest.importorskip("sklearn")

TRAIN = b'"3","Oil ""up""","Prices, again"\n"4","A chip","A\nchip"\n'
TEST = b'"1","A","vote"\n'
ABSENT = RemoteFile("ag_news", "absent.csv", "0" * 32)


def load(source, **settings):
    return load_ag_news(source, **({"words": 100, "length": 6} | settings))


def test_title_and_story_are_one_text(put):
    data = load(Source(put("ag_news", "train.csv", TRAIN), ABSENT, put("ag_news", "test.csv", TEST)))
    assert data.train_texts == ['Oil "up" Prices, again', "A chip A\nchip"]
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([2, 3], [0])
    assert data.train_inputs.tolist() == [[1, 1, 1, 1, 0, 0], [2, 3, 2, 3, 0, 0]]
    assert data.test_inputs.tolist() == [[2, 1, 0, 0, 0, 0]]
    assert data.classes == ("World", "Sports", "Business", "Sci/Tech")
    assert data.description.startswith("AG News, the official files: all 2 for training and 1 for testing, the first 6")


def test_a_subset_is_read_where_there_is_no_more_and_says_so(put):
    part, test = put("ag_news", "part.csv", TRAIN), put("ag_news", "test.csv", TEST)
    data = load(Source(ABSENT, part, test), ngrams=2)
    assert data.train_inputs.shape == (2, 11)
    assert data.description.startswith(
        "AG News, a subset of the official training file, with the official test file: 2 for training"
    )
    whole = put("ag_news", "train.csv", TRAIN + TRAIN)
    assert "the official files: all 4" in load(Source(whole, part, test)).description


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TRAIN + b'"1","only"\n', r"train\.csv, line 4: 2 fields, expected 3: \['1', 'only'\]"),
        (TRAIN + b'"1","a","b","c"\n', r"train\.csv, line 4: 4 fields, expected 3"),
        (TRAIN + b"\n", r"train\.csv, line 4: 0 fields, expected 3"),
        (TRAIN + b'"5","a","b"\n', r"train\.csv, line 4: the class is '5', expected 1 to 4"),
        (TRAIN + b'"0","a","b"\n', r"train\.csv, line 4: the class is '0'"),
        (TRAIN + b'"1","a","b', r"train\.csv, line 4: unexpected end of data"),
        (TRAIN + b'"1","a","\xff"\n', r"train\.csv is no text in UTF-8"),
        (b"", r"train\.csv is empty"),
    ],
)
def test_other_rows_are_refused_with_their_line(content, message, put):
    source = Source(put("ag_news", "train.csv", content), ABSENT, put("ag_news", "test.csv", TEST))
    with pytest.raises(InputError, match=message):
        load(source)


def test_it_says_how_it_was_made():
    assert repr(AGNews(length=32)) == "AGNews(words=10000, length=32, ngrams=1)"


@pytest.mark.data
def test_the_real_files(data_folder):
    path = data_folder / "ag_news" / "train_subset_30020.csv.gz"
    if not path.is_file() or (path.parent / "train.csv").is_file():
        pytest.skip("TONSURE_DATA has no subset of AG News, or more than it")
    data = AGNews().load()
    assert data.train_labels.bincount().tolist() == [7478, 7524, 7545, 7473]
    assert data.test_labels.bincount().tolist() == [1900] * 4
    assert data.train_inputs.shape == (30_020, 64)
    assert data.train_inputs.max() == 9_999
    assert (data.train_inputs[:, 0] > 0).all()
    assert data.train_texts[1].startswith("Paralympians warmly welcomed home Britain #39;s Paralympians returned")
    assert "a subset of the official training file, with the official test file: 30,020 for" in data.description
