import json

import pytest

from tonsure.datasets import CLINC150
from tonsure.datasets.clinc150 import load_clinc150
from tonsure.errors import InputError

pytest.importorskip("sklearn")

SPLITS = {
    "oos_train": [["what is love", "oos"]],
    "val": [["wake me", "alarm"]],
    "train": [["wake me", "alarm"], ["be my alarm", "alarm"], ["hello me", "Greeting"]],
    "test": [["be me", "Greeting"]],
}


def load(put, splits):
    return load_clinc150(put("clinc150", "data_full.json", json.dumps(splits).encode()), words=100, length=3)


def test_train_and_test_are_read_and_nothing_else(put):
    data = load(put, SPLITS)
    assert data.train_texts == ["wake me", "be my alarm", "hello me"]
    assert data.classes == ("Greeting", "alarm")
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([1, 1, 0], [0])
    assert data.train_inputs.tolist() == [[1, 2, 0], [1, 1, 1], [1, 2, 0]]
    assert data.test_inputs.tolist() == [[1, 2, 0]]
    assert data.description.startswith(
        "CLINC150, the official splits train and test, without val and without what is out of scope: all 3 for training"
    )


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({key: value for key, value in SPLITS.items() if key != "test"}, "has no list 'test'"),
        (SPLITS | {"train": {"a": "b"}}, "has no list 'train'"),
        ([], "has no list 'train'"),
        (SPLITS | {"train": [["wake me", "alarm"], ["wake"]]}, r"train, row 1: \['wake'\], expected \[text, intent\]"),
        (SPLITS | {"test": [["wake me", 3]]}, r"test, row 0: \['wake me', 3\]"),
        (SPLITS | {"test": ["ab"]}, "test, row 0: ab, expected"),
        (SPLITS | {"test": []}, "test is empty"),
        (SPLITS | {"test": [["what", "oos"]]}, "'oos' of 'what' is none of the 2 classes of its train"),
    ],
)
def test_other_contents_are_refused(splits, message, put):
    with pytest.raises(InputError, match=rf"data_full\.json.*{message}"):
        load(put, splits)


def test_what_is_no_json_is_refused(put):
    with pytest.raises(InputError, match=r"data_full\.json is no JSON"):
        load_clinc150(put("clinc150", "data_full.json", b'{"train": ['), words=100, length=3)


@pytest.mark.data
def test_the_real_file(data_folder):
    if not (data_folder / "clinc150").is_dir():
        pytest.skip("TONSURE_DATA has no clinc150")
    data = CLINC150().load()
    assert data.train_inputs.shape == (15_000, 24)
    assert data.train_labels.bincount().tolist() == [100] * 150
    assert data.test_labels.bincount().tolist() == [30] * 150
    assert "oos" not in data.classes
    assert data.classes[int(data.train_labels[0])] == "translate"
