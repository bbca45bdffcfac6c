"""Predictions once, selections many, as a person types it."""

import csv
import json
import logging
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import test_cli
import tonsure as tn
from tonsure.predictions.store import Store, write_store

typed, tonsure = test_cli.typed, test_cli.tonsure

MODEL = """
import torch, tonsure as tn
torch.manual_seed(0)
layers = [torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(8, 3)]
model = tn.MCDropout(torch.nn.Sequential(*layers), samples=6)
def make(): return model
images = torch.randn(20, 4)
def make_images(): return images.double().numpy()
number = 3
"""


@pytest.fixture
def log_probs(make_log_probs):
    return make_log_probs(30, K=20, C=4, dtype=torch.float32).cpu()


@pytest.fixture
def folder(log_probs, tmp_path, monkeypatch):
    """A store with ids, one without, and a module that makes a model."""
    write_store(tmp_path / "store", log_probs, ids=[f"{row}.png" for row in range(30)], about={"split": "train"})
    write_store(tmp_path / "plain", log_probs)
    (tmp_path / "my_model.py").write_text(MODEL)
    monkeypatch.delitem(sys.modules, "my_model", raising=False)  # of another test
    return tmp_path


def rows(text):
    return [int(line["row"]) for line in csv.DictReader(text.splitlines())]


@pytest.mark.parametrize("name", ["my_model:model", "my_model:make"])
@pytest.mark.parametrize("inputs", ["images.npy", "images.pt", "images.safetensors", "my_model:make_images"])
def test_predict_then_select(typed, folder, monkeypatch, name, inputs):
    monkeypatch.syspath_prepend(folder)
    import my_model

    np.save(folder / "images.npy", my_model.images.double().numpy())
    torch.save(my_model.images, folder / "images.pt")
    save_file({"a": my_model.images, "b": torch.ones(2)}, folder / "images.safetensors")
    (folder / "ids.txt").write_text("\n".join(f"{row}.png" for row in range(20)))
    key = ("--key", "a") if inputs == "images.safetensors" else ()
    words = ("predict", name, "--inputs", inputs, "--out", "mine", "--ids", "ids.txt", "--block-size", 7, *key)
    for _ in range(2):  # the second time it is there already
        done = typed(*words, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        shown = "mine: predictions 20 × 6 × 3 in float16, and features 20 × 8. Next: tonsure select mine\n"
        assert done.stdout == shown
    store = Store.open(folder / "mine")
    assert torch.equal(store.features, tn.features(my_model.model, my_model.images, block_size=7))
    expected = tn.predict(my_model.model, my_model.images, dtype=torch.float16, block_size=7)
    assert torch.equal(torch.cat(store.parts), expected)
    assert store.ids[:2] == ["0.png", "1.png"]
    done = typed("select", "mine", "-k", 2, "--method", "entropy", cwd=folder)
    assert rows(done.stdout) == tn.select(store, tn.entropy, 2).rows.tolist()


def test_features_that_are_not_wanted(typed, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    words = ("predict", "my_model:model", "--inputs", "my_model:images", "--out", "mine")
    done = typed(*words, "--no-features", cwd=folder)
    assert done.stdout == "mine: predictions 20 × 6 × 3 in float16. Next: tonsure select mine\n"
    assert "features is False, this call has True" in typed(*words, "--features", cwd=folder).stderr


def test_predict_in_a_process_of_its_own(folder):
    torch.save(torch.randn(20, 4), folder / "images.pt")
    done = tonsure("predict", "my_model:make", "--inputs", "images.pt", "--out", "mine", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "my_model.py").write_text(MODEL.replace("manual_seed(0)", "manual_seed(1)"))
    done = tonsure("predict", "my_model:make", "--inputs", "images.pt", "--out", "mine", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: mine is a finished store of another model")


def test_info_and_verify(typed, folder):
    done = typed("store", "info", "store", cwd=folder)
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["shape"] == "30 × 20 × 4 (rows, posterior samples, classes)"
    assert lines["bytes"] == f"{30 * 20 * 4 * 4 + 256:,} in 1 shard"
    assert (lines["dtype"], lines["items"], lines["split"]) == ("float32", "id", "train")
    described = json.loads(typed("store", "info", "store", "--json", cwd=folder).stdout)
    shown = described["shape"], described["columns"], described["about"], described["features"]
    assert shown == ([30, 20, 4], ["id"], {"split": "train"}, None)
    assert lines["features"] == "none"
    assert typed("store", "verify", "store", cwd=folder).stdout == "30 rows verified\n"


@pytest.mark.parametrize("values", ["probs", "logits", "log-probs"])
def test_a_store_of_other_peoples_file(typed, folder, log_probs, monkeypatch, values):
    monkeypatch.setattr("tonsure.cli.store.BLOCK", 7)
    numbers = {"probs": log_probs.exp(), "logits": log_probs + 3, "log-probs": log_probs}[values]
    np.save(folder / "numbers.npy", numbers.numpy())
    (folder / "ids.csv").write_text("name\n" + "".join(f"{row}.png\n" for row in range(30)))
    words = ("--values", values, "--ids", "ids.csv", "--dtype", "float16", "--out", "made")
    done = typed("store", "make", "numbers.npy", *words, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    store = Store.open(folder / "made")
    assert torch.allclose(torch.cat(store.parts).float(), log_probs, atol=1e-2)
    assert store.ids[3] == "3.png"
    assert store.manifest.about == {"source": "numbers.npy"}
    assert store.features is None
    assert typed("store", "make", "numbers.npy", *words, cwd=folder).returncode == 2


@pytest.mark.parametrize("name", ["features.npy", "features.pt"])
def test_a_store_with_features_of_a_file(typed, folder, log_probs, name):
    features = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    np.save(folder / "numbers.npy", log_probs.numpy())
    np.save(folder / "features.npy", features.numpy())
    torch.save(features, folder / "features.pt")
    done = typed("store", "make", "numbers.npy", "--features", name, "--out", "made", cwd=folder)
    assert done.stdout == "made: predictions 30 × 20 × 4 in float32, and features 30 × 5. Next: tonsure select made\n"
    assert torch.equal(Store.open(folder / "made").features, features)
    lines = dict(line.split(maxsplit=1) for line in typed("store", "info", "made", cwd=folder).stdout.splitlines())
    assert lines["features"] == f"30 × 5 in float32, {30 * 5 * 4 + 256} bytes"
    described = json.loads(typed("store", "info", "made", "--json", cwd=folder).stdout)
    assert described["features"] == {"shape": [30, 5], "dtype": "float32", "bytes": 30 * 5 * 4 + 256}
    done = typed("select", "made", "-k", 3, cwd=folder)
    assert rows(done.stdout) == tn.select(log_probs, k=3, features=features).rows.tolist()


def test_a_wrong_number_is_named_by_its_row_of_the_pool(typed, folder, log_probs, monkeypatch):
    monkeypatch.setattr("tonsure.cli.store.BLOCK", 7)
    probs = log_probs.exp()
    probs[16, 2, 1] = -0.5
    np.save(folder / "probs.npy", probs.numpy())
    done = typed("store", "make", "probs.npy", "--values", "probs", "--out", "made", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "row 16, sample 2 of the predictions holds -0.5 at class 1" in done.stderr
    assert not (folder / "made").exists()


def test_selecting_from_a_store(typed, folder, log_probs):
    expected = tn.select(log_probs, k=4)
    done = typed("select", "store", "-k", 4, cwd=folder)
    assert rows(done.stdout) == expected.rows.tolist()
    ids = [line["id"] for line in csv.DictReader(done.stdout.splitlines())]
    assert ids == [f"{row}.png" for row in expected.rows.tolist()]
    (folder / "ids.txt").write_text("\n".join(map(str, range(100, 130))))
    done = typed("select", "store", "-k", 1, "--ids", "ids.txt", cwd=folder)
    assert done.stdout.splitlines()[1].split(",")[2] == str(100 + int(expected.rows[0]))
    assert "id" not in typed("select", "plain", "-k", 1, cwd=folder).stdout


@pytest.mark.parametrize("store", ["store", "plain"])
def test_the_second_batch_leaves_out_the_first(typed, folder, log_probs, store):
    objective = tn.Pointwise(tn.entropy)
    ranking = tn.select(log_probs, objective, 8).rows.tolist()
    typed("select", store, "-k", 3, "--method", "entropy", "--out", "first.csv", cwd=folder)
    done = typed("select", store, "-k", 3, "--method", "entropy", "--exclude", "first.csv", cwd=folder)
    assert rows(done.stdout) == ranking[3:6]
    named = (lambda row: f"{row}.png") if store == "store" else str
    (folder / "candidates.txt").write_text("\n".join(named(row) for row in reversed(ranking[2:])))
    done = typed("select", store, "-k", 2, "--method", "entropy", "--candidates", "candidates.txt", cwd=folder)
    assert rows(done.stdout) == ranking[2:4]
    both = ("--candidates", "candidates.txt", "--exclude", "first.csv")
    assert rows(typed("select", store, "-k", 2, "--method", "entropy", *both, cwd=folder).stdout) == ranking[3:5]


def test_some_of_the_samples(typed, folder, log_probs):
    done = typed("select", "store", "-k", 2, "--method", "bald", "--samples", "0-3, 12", cwd=folder)
    expected = tn.select(log_probs[:, [0, 1, 2, 3, 12]], tn.Pointwise(tn.bald), 2)
    assert rows(done.stdout) == expected.rows.tolist()


def test_what_changes_no_result(typed, folder):
    plain = typed("select", "store", "-k", 3, cwd=folder)
    done = typed("select", "store", "-k", 3, "--memory", "2GB", "--device", "cpu", "--no-verify", "-v", cwd=folder)
    assert done.stdout == plain.stdout
    assert plain.stderr == ""
    assert done.stderr.startswith("plan for 30 rows")
    assert logging.getLogger("tonsure").handlers == []
    assert logging.getLogger("tonsure").level == logging.NOTSET


BAD = [
    (["select", "store", "-k", "2", "--values", "probs"], "is a store, which holds log-probabilities alone"),
    (["select", "draft", "-k", "2"], "draft was not finished: call predict again with the same arguments"),
    (["select", "bad", "-k", "2"], "log_probs-00000.safetensors is damaged in rows 0 to 29"),
    (["store", "verify", "bad"], "log_probs-00000.safetensors is damaged in rows 0 to 29"),
    (["store", "verify", "absent"], "absent: there is no such folder"),
    (["store", "info", "."], ". is not a store: it has no manifest.json"),
    (["store", "make", "absent.npy", "--out", "x"], "absent.npy: there is no such file"),
    (
        ["select", "store", "-k", "2", "--candidates", "7.txt"],
        "7.txt, line 1: '7' is not the id of an item",
    ),
    (
        ["select", "plain", "-k", "2", "--candidates", "30.txt"],
        "30.txt, line 2: '30' is not a row from 0 to 29",
    ),
    (["select", "plain", "-k", "2", "--candidates", "x.csv"], "x.csv has the columns a; none is named 'row'"),
    (["select", "plain", "-k", "2", "--exclude", "all.txt"], "leave none of the 30 rows to choose from"),
    (["select", "plain", "-k", "2", "--exclude", "absent.txt"], "absent.txt cannot be read"),
    (
        ["select", "plain", "-k", "2", "--samples", "3-1"],
        "cannot be read at '3-1'; expected numbers below a million and ranges",
    ),
    (["select", "plain", "-k", "2", "--samples", "0,x"], "cannot be read at 'x'"),
    (["select", "plain", "-k", "2", "--samples", "1" * 5000], "the samples a str ('1111"),
    (["select", "plain", "-k", "2", "--samples", "0,0"], "samples holds 0 twice"),
    (["select", "plain", "-k", "2", "--samples", "19-20"], "samples holds 20, expected numbers from 0 to 19"),
    (["select", "plain", "-k", "2", "--memory", "much"], "memory is 'much'"),
    (["select", "plain", "-k", "2", "--device", "gpu"], "the device 'gpu' cannot be used: "),
    (["predict", "my_model", "--inputs", "i.npy", "--out", "x"], "'my_model' names nothing to import"),
    (
        ["predict", "my_model:number", "--inputs", "i.npy", "--out", "x"],
        "number is 3, expected my_module:model",
    ),
    (["predict", "no_model:model", "--inputs", "i.npy", "--out", "x"], "no_model:model cannot be imported"),
    (["predict", "my_model:model", "--inputs", "i.npy", "--out", "x"], "i.npy: there is no such file"),
    (["predict", "my_model:model", "--inputs", "o.npy", "--out", "x"], "o.npy cannot be read"),
    (
        ["predict", "my_model:model", "--inputs", "text.npy", "--out", "x"],
        "the inputs are an array of <U1, expected numbers",
    ),
    (["predict", "my_model:model", "--inputs", "my_model:number", "--out", "x"], "my_model:number is 3, expected"),
    (["predict", "my_model:model", "--inputs", "my_model:images", "--out", "store"], "store is a finished store of"),
    (
        ["predict", "my_model:model", "--inputs", "my_model:images", "--out", "x", "--ids", "7.txt"],
        "names 1 items",
    ),
    (["store", "make", "plain.npy", "--features", "wrong.npy", "--out", "x"], "features has 7 rows, but the predictio"),
    (["store", "make", "plain.npy", "--features", "no.npy", "--out", "x"], "no.npy: there is no such file"),
]


@pytest.mark.parametrize(
    ("words", "message"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_words_are_one_message_and_status_2(typed, folder, log_probs, words, message):
    (folder / "draft").mkdir()
    (folder / "draft" / "journal.jsonl").write_text("")
    bad = write_store(folder / "bad", log_probs).path / "log_probs-00000.safetensors"
    bad.write_bytes(bad.read_bytes()[:-1] + b"x")
    (folder / "7.txt").write_text("7\n")
    (folder / "30.txt").write_text("7\n30\n")
    (folder / "all.txt").write_text("\n".join(map(str, range(30))))
    (folder / "x.csv").write_text("a\n1\n")
    np.save(folder / "o.npy", np.array([{}]), allow_pickle=True)
    np.save(folder / "text.npy", np.array(["a", "b"]))
    np.save(folder / "plain.npy", log_probs.numpy())
    np.save(folder / "wrong.npy", np.ones((7, 2)))
    before = {path: path.is_dir() for path in folder.iterdir() if path.name != "__pycache__"}
    done = typed(*words, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert {path: path.is_dir() for path in folder.iterdir() if path.name != "__pycache__"} == before


def test_help_teaches_with_an_example(typed):
    for command in (("predict",), ("store", "make")):
        done = typed(*command, "--help")
        assert done.returncode == 0
        assert "Example:" in done.stdout
