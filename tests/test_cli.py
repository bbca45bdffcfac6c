"""The command as a person runs it: its own process, its files, what it prints and how it ends."""

import contextlib
import csv
import json
import os
import re
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import save_file

import tonsure as tn
from tonsure import optimizers as tonsure_optimizers
from tonsure.cli import read_arrays
from tonsure.cli.main import app, main
from tonsure.errors import FileError


def tonsure(*words, cwd=None):
    command = [sys.executable, "-m", "tonsure", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def typed(monkeypatch, capsys):
    """The same within this process, where there are many cases."""
    monkeypatch.setattr(sys, "path", list(sys.path))  # to which a command adds the folder of an experiment

    def run(*words, cwd=None):
        monkeypatch.setattr(sys, "argv", ["tonsure", *map(str, words)])
        if cwd is not None:
            monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as end:
            main()
        return subprocess.CompletedProcess(words, end.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def log_probs(make_log_probs):
    return make_log_probs(30, K=20, C=4, dtype=torch.float32).cpu()


@pytest.fixture
def npy(log_probs, tmp_path):
    np.save(tmp_path / "predictions.npy", log_probs.numpy())
    return tmp_path / "predictions.npy"


def test_every_kind_of_file_gives_the_rows_of_select(typed, log_probs, npy, tmp_path):
    np.savez(tmp_path / "one.npz", log_probs.numpy())
    np.savez(tmp_path / "two.npz", pool=log_probs.numpy(), other=np.zeros(3))
    torch.save(log_probs, tmp_path / "tensor.pt")
    torch.save({"pool": log_probs}, tmp_path / "dict.pt")
    save_file({"pool": log_probs.bfloat16()}, tmp_path / "tensors.safetensors")
    expected = tn.select(log_probs, k=3)
    for name, more in (
        ("predictions.npy", ()),
        ("one.npz", ()),
        ("two.npz", ("--key", "pool")),
        ("tensor.pt", ()),
        ("dict.pt", ()),
        ("tensors.safetensors", ()),
    ):
        done = typed("select", tmp_path / name, "-k", 3, *more)
        assert (done.returncode, done.stderr) == (0, "")
        rows = list(csv.DictReader(done.stdout.splitlines()))
        selected = tn.select(log_probs.bfloat16(), k=3) if "safetensors" in name else expected
        assert [int(row["row"]) for row in rows] == selected.rows.tolist()
        assert [row["rank"] for row in rows] == ["1", "2", "3"]
        assert [float(row["gain"]) for row in rows] == pytest.approx(selected.gains.tolist(), abs=1e-12)


def test_probabilities_and_logits(typed, log_probs, tmp_path):
    np.save(tmp_path / "probs.npy", log_probs.exp().numpy())
    np.save(tmp_path / "logits.npy", log_probs.numpy() + 3)
    expected = tn.select(log_probs, k=3).rows.tolist()
    for values in ("probs", "logits"):
        done = typed("select", tmp_path / f"{values}.npy", "-k", 3, "--values", values)
        assert [int(row["row"]) for row in csv.DictReader(done.stdout.splitlines())] == expected


def rows_of(done):
    assert (done.returncode, done.stderr) == (0, "")
    return [int(row["row"]) for row in csv.DictReader(done.stdout.splitlines())]


@pytest.fixture
def features(tmp_path):
    made = np.random.default_rng(0).normal(size=(30, 3))
    np.save(tmp_path / "features.npy", made)
    return made


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_labels_candidates_and_excluded_rows(typed, log_probs, npy, features, tmp_path):
    """Labeled rows are not chosen, and cover what is near them; excluded rows are not chosen alone."""
    labeled, classes = [4, 7, 21], [0, 3, 1]
    lines = "".join(f"{row},{label}\n" for row, label in zip(labeled, classes, strict=True))
    (tmp_path / "labels.csv").write_text("row,label\n" + lines)
    (tmp_path / "labeled.txt").write_text("4\n7\n21\n")
    (tmp_path / "allowed.txt").write_text("".join(f"{row}\n" for row in range(0, 30, 2)))
    (tmp_path / "excluded.csv").write_text("rank,row,gain\n1,5,0.1\n2,6,0.1\n")
    unlabeled = [row for row in range(30) if row not in labeled]
    for words, options in (
        (("--labels", "labels.csv"), {"labeled": labeled}),
        (("--labels", "labeled.txt"), {"labeled": labeled}),
        (("--labels", "labels.csv", "--method", "ProbCover"), {"labeled": labeled, "labels": classes}),
        (("--exclude", "labeled.txt"), {"candidates": unlabeled}),
        (("--candidates", "allowed.txt"), {"candidates": range(0, 30, 2)}),
        (
            ("--candidates", "allowed.txt", "--labels", "labels.csv", "--exclude", "excluded.csv"),
            {"labeled": labeled, "candidates": [row for row in range(0, 30, 2) if row not in (4, 6)]},
        ),
    ):
        method = words[3] if "--method" in words else None
        expected = tn.select(log_probs, method, 5, features=features, **options)
        assert rows_of(typed("select", npy, "-k", 5, "--features", "features.npy", *words, cwd=tmp_path)) == (
            expected.rows.tolist()
        ), words
    words = ("--features", "features.npy", "--labels", "labeled.txt", "--method", "ProbCover")
    done = typed("select", npy, "-k", 5, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs the labels of the labeled rows" in done.stderr


def test_labels_by_id(typed, log_probs, npy, features, tmp_path):
    (tmp_path / "ids.txt").write_text("\n".join(f"{row}.png" for row in range(30)))
    (tmp_path / "labels.csv").write_text("id,label\n21.png,2\n4.png,0\n")
    words = ("--features", "features.npy", "--ids", "ids.txt", "--labels", "labels.csv", "--method", "CoreSet")
    expected = tn.select(method="CoreSet", k=3, features=features, labeled=[21, 4], labels=[2, 0])
    assert rows_of(typed("select", npy, "-k", 3, *words, cwd=tmp_path)) == expected.rows.tolist()
    for text, message in (
        ("id,label\n31.png,0\n", "labels.csv, line 2: '31.png' is not the id of an item"),
        ("id,label\n4.png,cat\n", "labels.csv, line 2: the label is 'cat', expected a class, from 0"),
        (
            "id,label\n4.png,0\n4.png,1\n",
            "labels.csv, line 3: row 4 has the label 1, but in labels.csv, line 2 it has 0",
        ),
        ("name,label\n4.png,0\n", "has the columns name, label"),
    ):
        (tmp_path / "labels.csv").write_text(text)
        done = typed("select", npy, "-k", 3, *words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
def test_the_last_layer_beside_features(typed, log_probs, npy, features, tmp_path):
    last = np.random.default_rng(3).normal(size=(30, 6))
    np.save(tmp_path / "last.npy", last)
    expected = tn.select(log_probs, k=5, features=features, last_layer=last).rows.tolist()
    words = ("--features", "features.npy", "--last-layer", "last.npy")
    assert rows_of(typed("select", npy, "-k", 5, *words, cwd=tmp_path)) == expected
    done = typed("select", npy, "-k", 5, *words[2:], cwd=tmp_path)
    assert done.returncode == 2
    assert "but there are no features beside it" in done.stderr
    done = typed("compare", npy, "-k", 5, *words, "--methods", "BADGE", "--out", "compared.csv", cwd=tmp_path)
    assert done.returncode == 0
    rows = [int(row["row"]) for row in csv.DictReader((tmp_path / "compared.csv").read_text().splitlines())]
    assert rows == tn.compare(log_probs, 5, ["BADGE"], features=last).batches["BADGE"].selection.rows.tolist()


def test_features_without_predictions(typed, features, tmp_path):
    expected = tn.select(features=features, k=4).rows.tolist()
    assert rows_of(typed("select", "-k", 4, "--features", "features.npy", cwd=tmp_path)) == expected
    assert rows_of(typed("select", "-k", 4, "--features", "features.npy", "--method", "coverage")) == expected
    done = typed("select", "-k", 4, cwd=tmp_path)
    assert done.returncode == 2
    assert "expected a file of predictions, or --features, or both" in done.stderr
    done = typed("select", "-k", 4, "--features", "features.npy", "--method", "BADGE")
    assert done.returncode == 2
    assert "BADGE() needs predictions" in done.stderr


def test_a_file_of_scores(typed, features, tmp_path):
    scores = np.random.default_rng(1).random(30).astype(np.float32)
    np.save(tmp_path / "scores.npy", scores)
    assert rows_of(typed("select", "scores.npy", "-k", 4, cwd=tmp_path)) == (-scores).argsort()[:4].tolist()
    expected = tn.select(scores, k=4, features=features).rows.tolist()
    assert rows_of(typed("select", "scores.npy", "-k", 4, "--features", "features.npy")) == expected
    done = typed("select", "scores.npy", "-k", 4, "--method", "LBB")
    assert done.returncode == 2
    assert "needs predictions, log-probabilities [N, K, C]" in done.stderr


def test_features_choose_by_facility_location(typed, log_probs, npy, features, tmp_path):
    expected = tn.select(log_probs, k=3, features=features)
    assert rows_of(typed("select", npy, "-k", 3, "--features", tmp_path / "features.npy")) == expected.rows.tolist()
    np.savez(tmp_path / "two.npz", a=features, b=features)
    done = typed("select", npy, "-k", 3, "--features", tmp_path / "two.npz")
    assert "two.npz holds 2 arrays (a (30, 3), b (30, 3)); expected only one" in done.stderr


def test_probabilities_that_storage_has_rounded(typed, log_probs, tmp_path):
    save_file({"probs": log_probs.exp().bfloat16()}, tmp_path / "probs.safetensors")
    assert typed("select", tmp_path / "probs.safetensors", "-k", 3, "--values", "probs").returncode == 0
    wrong = log_probs.exp()
    wrong[4, 2] *= 0.8
    np.save(tmp_path / "wrong.npy", wrong.numpy())
    done = typed("select", tmp_path / "wrong.npy", "-k", 3, "--values", "probs")
    assert done.returncode == 2
    assert "row 4, sample 2" in done.stderr
    assert "sum to 0.8, off by -0.2" in done.stderr


def test_ids_and_endings(typed, log_probs, npy, tmp_path):
    names = [f"picture, {row}.png" for row in range(30)]
    (tmp_path / "ids.txt").write_text("\n".join(names) + "\n")
    with (tmp_path / "ids.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["size", "path"], *([row, name] for row, name in enumerate(names))])
    expected = [names[row] for row in tn.select(log_probs, k=4).rows]
    assert typed("select", npy, "-k", 4, "--ids", tmp_path / "ids.txt", "--out", tmp_path / "a.csv").stdout == ""
    rows = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    assert [row["id"] for row in rows] == expected
    typed("select", npy, "-k", 4, "--ids", tmp_path / "ids.csv", "--ids-column", "path", "--out", tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == expected
    assert list(lines[0]) == ["rank", "row", "id", "gain"]


@pytest.mark.parametrize(
    ("words", "method", "optimizer"),
    [
        (["--method", "entropy"], tn.Pointwise(tn.entropy), None),
        (["--method", "Random", "--seed", "5"], tn.Random(), None),
        (["--method", "BatchBALD(labelings=64, seed=2)"], tn.BatchBALD(64, 2), None),
        (["--method", "LargeBatchBALD(weight=0.5)"], tn.LargeBatchBALD(0.5), None),
        (["--method", "bald", "--optimizer", "PowerSample(beta=2.0)"], tn.Pointwise(tn.bald), tn.PowerSample(2.0)),
        (["--method", "BALD@PowerSample(beta=2.0)"], tn.Pointwise(tn.bald), tn.PowerSample(2.0)),
        (["--method", "PLBB"], tn.LargeBatchBALD(), tn.PowerSample(5.0)),
        (["--method", "EPIG"], tn.Targeted(tn.SecondOrderEPIG), None),
    ],
)
def test_methods_and_optimizers_by_name(typed, log_probs, npy, words, method, optimizer):
    done = typed("select", npy, "-k", 3, *words)
    expected = tn.select(log_probs, method, 3, optimizer=optimizer, seed=5 if "--seed" in words else 0)
    assert [int(row["row"]) for row in csv.DictReader(done.stdout.splitlines())] == expected.rows.tolist()


def test_a_method_of_ones_own(npy, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch, tonsure as tn\n"
        "class Last(tn.Objective):\n"
        "    def gain(self, state, notes, items): return torch.ones(len(items)).double()\n"
        "def first(log_probs_n_K_C): return -log_probs_n_K_C[:, 0, 0]\n"
    )
    done = tonsure("select", npy, "-k", 2, "--method", "mine:Last", cwd=tmp_path)
    assert done.stdout == "rank,row,gain\n1,0,1.0\n2,1,1.0\n"
    assert tonsure("select", npy, "-k", 2, "--method", "mine:first", cwd=tmp_path).returncode == 0


def test_a_warning_is_one_line(npy):
    done = tonsure("select", npy, "-k", 20, "--method", "BatchBALD")
    assert done.returncode == 0
    assert done.stderr.startswith("warning: 20 posterior samples carry at most log 20 = 3.00 nats")
    assert done.stderr.count("\n") == 1


BAD = [
    (["-k", "0"], "k is 0, expected a whole number from 1 to 30"),
    (["-k", "31"], "k is 31, expected"),
    (["-k", "2", "--method", "largebatchbold"], "did you mean LargeBatchBALD?"),
    (["-k", "2", "--method", "BatchBALD(labels=3)"], "unexpected keyword argument 'labels'"),
    (["-k", "2", "--method", "BatchBALD(labelings=3)"], "labelings is 3, expected a whole number from 32"),
    (["-k", "2", "--method", "BatchBALD(64"], "cannot be read; expected Name or Name(setting=1.5)"),
    (["-k", "2", "--method", "no_module:Mine"], "no_module:Mine cannot be imported: No module named 'no_module'"),
    (["-k", "2", "--method", "math:pi"], "the method is 3.14159"),
    (
        ["-k", "2", "--method", "LBB", "--optimizer", "PowerSampel"],
        "there is no optimizer 'PowerSampel'; did you mean PowerSample?",
    ),
    (["-k", "2", "--values", "probs"], "are log-probabilities: expected --values log-probs"),
    (["-k", "2", "--ids", "29.txt"], "29.txt names 29 items, but the predictions have 30 rows"),
    (["-k", "2", "--ids", "twice.txt"], "twice.txt, line 30: the id 'x' is there already, in twice.txt, line 4"),
    (["-k", "2", "--ids", "none.txt"], "none.txt cannot be read"),
    (["-k", "2", "--ids", "two.csv"], "two.csv has the columns a, b; choose one with --ids-column"),
    (["-k", "2", "--ids", "two.csv", "--ids-column", "c"], "none is named 'c'"),
    (["-k", "2", "--out", "rows.xlsx"], "rows are written to files that end in .csv or .jsonl"),
    (["-k", "2", "--out", "nowhere/rows.csv"], "there is no folder nowhere"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_words_are_one_message_and_status_2(typed, npy, tmp_path, words, message):
    names = [f"{row}" for row in range(30)]
    (tmp_path / "29.txt").write_text("\n".join(names[:29]))
    (tmp_path / "twice.txt").write_text("\n".join([*names[:3], "x", *names[4:29], "x"]))
    (tmp_path / "two.csv").write_text("a,b\n" + "1,2\n" * 30)
    before = sorted(tmp_path.iterdir())
    done = typed("select", npy, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def damaged(folder, log_probs):
    """Files that cannot be used, each with what is said of it."""
    np.save(folder / "good.npy", log_probs.numpy())
    (folder / "short.npy").write_bytes((folder / "good.npy").read_bytes()[:-100])
    (folder / "empty.npy").write_bytes(b"")
    (folder / "text.npy").write_text("1, 2, 3")
    np.save(folder / "objects.npy", np.array([{}], dtype=object))
    torch.save(log_probs, folder / "good.pt")
    (folder / "short.pt").write_bytes((folder / "good.pt").read_bytes()[:200])
    torch.save({"a": log_probs, "b": log_probs}, folder / "two.pt")
    torch.save(print, folder / "code.pt")
    np.savez(folder / "none.npz")
    np.savez_compressed(folder / "zeros.npz", np.zeros((2**20, 10)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch: its quantized tensors will go
        quantized = torch.quantize_per_tensor(log_probs[0].float(), 0.1, 0, torch.qint8)
        torch.save(quantized, folder / "quantized.pt")
    (folder / "short.safetensors").write_bytes(b"\x10")
    np.save(folder / "flat.npy", log_probs[:, 0].numpy())
    np.save(folder / "one.npy", log_probs[:, :1].log_softmax(-1).numpy())
    np.save(folder / "probs.npy", log_probs.exp().numpy())
    np.save(folder / "int.npy", np.zeros((3, 4, 5), int))
    (folder / "table.parquet").write_bytes(b"x")
    return {
        "short.npy": "cannot be read; it may be truncated or damaged",
        "empty.npy": "cannot be read",
        "text.npy": "cannot be read",
        "objects.npy": "cannot be read; it holds objects, expected numbers alone",
        "short.pt": "cannot be read",
        "two.pt": "holds 2 arrays (a (30, 20, 4), b (30, 20, 4)); choose one with --key",
        "code.pt": "cannot be read; it holds an object, ",
        "none.npz": "none.npz holds no array",
        "zeros.npz": "zeros.npz unpacks to 83,886,208 bytes, expected at most",
        "quantized.pt": "on cpu; expected an ordinary dense tensor",
        "short.safetensors": "cannot be read",
        "flat.npy": "shape (30, 4), expected three axes [N, K, C]",
        "one.npy": "needs at least 2, but the predictions have shape (30, 1, 4)",
        "probs.npy": "look like probabilities: pass their logarithm (--values probs on the command line)",
        "int.npy": "the predictions are torch.int64, expected float16",
        "table.parquet": "predictions are read from files that end in .npy",
        "absent.npy": "there is no such file",
    }


def test_bad_files_are_one_message_and_status_2(typed, log_probs, tmp_path, monkeypatch):
    monkeypatch.setattr(read_arrays, "UNPACKED_BYTES", 2**20)
    for name, message in damaged(tmp_path, log_probs).items():
        done = typed("select", tmp_path / name, "-k", 2, "--method", "bald")
        assert done.returncode == 2, name
        assert message in done.stderr, name
        assert done.stderr.startswith("error: "), name
        assert done.stderr.count("\n") == 1, name


def test_logits_that_are_probabilities(typed, log_probs, tmp_path):
    np.save(tmp_path / "probs.npy", log_probs.exp().numpy())
    done = typed("select", tmp_path / "probs.npy", "-k", 2, "--values", "logits")
    assert done.returncode == 2
    assert "nearly all rows of the predictions" in done.stderr
    assert "they are probabilities, expected --values probs" in done.stderr


def test_help_teaches_with_an_example(typed):
    for command in ("select", "compare", "run"):
        done = typed(command, "--help")
        assert done.returncode == 0
        assert "Example" in done.stdout


def commands(app, path=()):
    """The words of every command."""
    if not hasattr(app, "commands"):
        return [path]
    return [path, *(words for name, one in app.commands.items() for words in commands(one, (*path, name)))]


@pytest.mark.parametrize("words", commands(typer.main.get_command(app)), ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(typed, monkeypatch, words):
    """Whole names: nothing is cut."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    done = typed(*words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"\S…\s*│", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 80
    found = typer.main.get_command(app)
    for word in words:
        found = found.commands[word]
    for parameter in found.params:
        for name in (*parameter.opts, *parameter.secondary_opts):
            if name.startswith("--"):
                assert re.search(rf"(?<![\w-]){name}(?![\w-])", done.stdout), name


def test_help_names_all_methods(typed, log_probs, tmp_path, monkeypatch):
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    told = typed("select", "--help").stdout
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", told).split())
    for name in tn.METHODS:
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), name
    optimizers = {value for value in vars(tonsure_optimizers).values() if isinstance(value, type)} - {tn.Optimizer}
    for optimizer in optimizers:
        assert optimizer.__name__ in text
    np.save(tmp_path / "p.npy", log_probs.numpy())
    for name in ("VOptimal", "Pointwise", "Targeted"):  # which need an argument that cannot be typed
        done = typed("select", tmp_path / "p.npy", "-k", 1, "--method", name)
        assert done.returncode == 2
        assert f"there is no method '{name}'" in done.stderr


def test_run_and_report(typed, tmp_path):
    file = Path(__file__).with_name("small_experiment.py")
    done = tonsure("run", file, "--seeds", 1, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The records are in runs/small;")
    done = typed("report", "runs/small", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "<html" in (tmp_path / done.stdout.strip()).read_text()


def test_a_damaged_record_is_one_message_and_status_2(typed, tmp_path):
    file = Path(__file__).with_name("small_experiment.py")
    records = tmp_path / "runs" / "small" / "random-seed0.jsonl"
    records.parent.mkdir(parents=True)
    records.write_text('{"kind": "experiment"}\n{"kind": "rou\n{"kind": "round"}\n')
    for words in (["run", file, "--seeds", 1, "--methods", "random"], ["report", "runs/small"]):
        done = typed(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert "random-seed0.jsonl, line 2 is damaged" in done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*") if not path.name.endswith(".lock")) == [
        "random-seed0.jsonl",
        "runs",
        "small",
    ]


def test_data_that_is_nowhere_is_a_message(typed, tmp_path, monkeypatch):
    (tmp_path / "nowhere.py").write_text(
        "import dataclasses, small_experiment\n"
        "from tonsure.datasets import DownloadError\n"
        "class Nowhere:\n"
        "    def load(self): raise DownloadError('found nowhere')\n"
        "experiment = dataclasses.replace(small_experiment.experiment, dataset=Nowhere())\n"
    )
    done = typed("run", "nowhere.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: found nowhere\n")


SCALED = """
import dataclasses, small_experiment, tonsure as tn
from small_experiment import network

def model(network=network):
    return tn.MCDropout(network(), samples=2, training=tn.Training(iterations=2))

def experiment(scale):
    labels = {"full": 30, "small": 20}[scale]
    return [
        dataclasses.replace(small_experiment.experiment, name=f"digits-{k}", model=model, k=k, max_labels=labels)
        for k in (5, 10)
    ]
"""
OTHER_NETWORKS = """
from torch import nn

def wide(hidden=48):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, 10))

def seven():
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 7))

size = 48
"""


@pytest.fixture
def scaled(tmp_path):
    (tmp_path / "scaled.py").write_text(SCALED)
    (tmp_path / "other_networks.py").write_text(OTHER_NETWORKS)
    return tmp_path


def headers(folder):
    found = sorted(folder.rglob("*.jsonl"))
    return {str(path.relative_to(folder)): json.loads(path.read_text().splitlines()[0]) for path in found}


def test_a_scale_some_experiments_and_their_folders(typed, scaled):
    done = typed("run", "scaled.py", "--scale", "small", "--seeds", 1, "--methods", "random", cwd=scaled)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "The records of 2 experiments are in runs, one subfolder per experiment; `tonsure report runs/digits-5` shows "
        "the first.\n"
    )
    found = headers(scaled / "runs")
    assert list(found) == ["digits-10/random-seed0.jsonl", "digits-5/random-seed0.jsonl"]
    assert "max_labels = 20" in found["digits-5/random-seed0.jsonl"]["text"]
    typed("run", "scaled.py", "--only", "*-10", "--seeds", 1, "--methods", "random", "--out", "mine", cwd=scaled)
    found = headers(scaled / "mine")
    assert list(found) == ["digits-10/random-seed0.jsonl"]
    assert "max_labels = 30" in found["digits-10/random-seed0.jsonl"]["text"]


def test_out_is_the_folder_of_an_experiment_that_is_alone(typed, tmp_path):
    file = Path(__file__).with_name("small_experiment.py")
    typed("run", file, "--seeds", 1, "--methods", "random", "--out", "mine", cwd=tmp_path)
    assert list(headers(tmp_path)) == ["mine/random-seed0.jsonl"]


def test_a_network_of_ones_own(typed, scaled):
    words = ["run", "scaled.py", "--only", "digits-10", "--seeds", 1, "--methods", "random"]
    done = typed(*words, "--network", "other_networks:wide(hidden=40)", cwd=scaled)
    assert (done.returncode, done.stderr) == (0, "")
    text = headers(scaled)["runs/digits-10/random-seed0.jsonl"]["text"]
    assert "network = def wide(hidden=48):" in text
    assert "\nhidden = 40\n" in text
    assert "0x" not in text
    assert typed(*words, "--network", "other_networks:wide(hidden=40)", cwd=scaled).returncode == 0
    done = typed(*words, cwd=scaled)
    assert done.returncode == 2
    assert "holds the records of another experiment: its text is" in done.stderr


@pytest.mark.product
def test_several_jobs_and_a_run_that_fails(typed, scaled):
    words = ["run", "scaled.py", "--only", "digits-10", "--scale", "small", "--seeds", 1, "--jobs", 2]
    done = typed(*words, "--network", "other_networks:seven", cwd=scaled)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: 2 of 2 runs failed:",
        "  digits-10, random, seed 0, round 0 (10 labels): labels must be 0 to 6, as the network has 7 classes; "
        "found 0 to 9",
        "  digits-10, PLBB, seed 0, round 0 (10 labels): labels must be 0 to 6, as the network has 7 classes; "
        "found 0 to 9",
    ]
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scaled.py", "--scale", "tiny"], "scaled.py has no experiment at the scale 'tiny': KeyError: 'tiny'"),
        (
            ["plain.py", "--scale", "small"],
            "plain.py has an `experiment` at one scale only, not at 'small'",
        ),
        (["scaled.py", "--only", "*-10,*-7"], "there is no experiment '*-7'; there are digits-5, digits-10"),
        (["scaled.py", "--methods", "LBB"], "no experiment has a method 'LBB'; there are random, PLBB"),
        (["scaled.py", "--seeds", "0"], "the number of seeds is 0, expected a whole number from 1"),
        (
            ["scaled.py", "--seeds", "1000000000000"],
            "seeds is range(0, 1000000000000), expected a list of 1 to 10,000 different",
        ),
        (["scaled.py", "--jobs", "0"], "jobs is 0, expected a whole number from 1"),
        (["scaled.py", "--network", "wide"], "the network 'wide' is None, expected my_module:make_network"),
        (["scaled.py", "--network", "other_networks:size"], "the network 'other_networks:size' is 48, expected"),
        (["scaled.py", "--network", "other_networks:none"], "other_networks:none cannot be imported"),
        (["plain.py", "--network", "other_networks:wide"], "the model of experiment small takes no `network`"),
        (["twice.py"], "twice.py has two experiments named 'small'"),
        (["number.py"], "number.py has no `experiment`: expected experiment = tonsure.Experiment(…), a sequence"),
    ],
)
def test_experiments_that_cannot_be_run(typed, scaled, words, message):
    (scaled / "plain.py").write_text("from small_experiment import experiment\n")
    (scaled / "twice.py").write_text("import small_experiment\nexperiment = [small_experiment.experiment] * 2\n")
    (scaled / "number.py").write_text("experiment = 7\n")
    done = typed("run", *words, cwd=scaled)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (scaled / "runs").exists()


def test_version(typed):
    assert typed("--version").stdout == f"tonsure {version('tonsure')}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_progress_is_shown_on_a_terminal(tmp_path):
    import fcntl
    import pty
    import struct
    import termios

    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))  # rows, columns
    file = Path(__file__).with_name("small_experiment.py")
    command = [sys.executable, "-m", "tonsure", "run", str(file), "--seeds", "1", "--methods", "random"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=end)
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):  # how a pseudo-terminal says that the other end was closed
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    assert process.wait() == 0
    assert "random, seed 0: 45 labels" in shown.decode()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "absent.py"], "absent.py is not a file"),
        (["run", "empty.py"], "empty.py has no `experiment`"),
        (["run", "empty.py", "--seeds", "many"], "Invalid value for '--seeds'"),
        (["report", "."], "error: "),
        (["report", "absent"], "error: "),
    ],
)
def test_nothing_to_run_or_report(typed, tmp_path, words, message):
    (tmp_path / "empty.py").write_text("")
    done = typed(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("select", "p.npy", "-k", 2, "--ids-column", "id"), "--ids-column id names a column of the file of --ids"),
        (("store", "make", "p.npy", "--out", "store", "--ids-column", "id"), "--ids-column id names a column"),
        (("select", "p.npy", "-k", 2, "--key", "zz"), "holds one array without a name, but --key zz names one"),
        (("select", "s.npy", "-k", 2, "--values", "probs"), "scores [N] of shape (30,) are of no kind"),
        (("select", "--features", "f.npy", "-k", 2, "--values", "probs"), "are about PREDICTIONS, which are not given"),
        (("select", "--features", "f.npy", "-k", 2, "--key", "a"), "are about PREDICTIONS, which are not given"),
    ],
)
def test_no_option_is_ignored(typed, tmp_path, log_probs, words, message):
    np.save(tmp_path / "p.npy", log_probs.log_softmax(-1).numpy())
    np.save(tmp_path / "s.npy", log_probs[:, 0, 0].numpy())
    np.save(tmp_path / "f.npy", log_probs[:, 0].numpy())
    done = typed(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.npy", "p.npy", "s.npy"]


def test_a_comparison_that_cannot_be_written_is_shown(typed, tmp_path, npy, monkeypatch):
    def full(*_):
        raise FileError("batches.csv cannot be written: No space left on device")

    monkeypatch.setattr("tonsure.cli.row_files.write_comparison", full)
    done = typed(
        "compare", npy, "--values", "logits", "-k", 2, "--methods", "random", "--out", "batches.csv", cwd=tmp_path
    )
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "all rows" in done.stdout


def test_run_into_a_file_is_refused_before_anything_runs(typed, tmp_path, monkeypatch):
    (tmp_path / "records").touch()
    one = SimpleNamespace(name="one", first_seeds=lambda _: range(1))
    monkeypatch.setattr("tonsure.experiments.load.experiments", lambda *_: [one])
    monkeypatch.setattr("tonsure.experiments.experiment.run_several", None)
    done = typed("run", "experiment.py", "--out", "records", cwd=tmp_path)
    assert done.returncode == 2
    assert "is a file, expected a folder or nothing" in done.stderr


def test_checking_is_on_by_default(typed):
    for command in ("select", "compare"):
        shown = " ".join(re.sub("[│╭╮╰╯─]", " ", typed(command, "--help").stdout).split())
        assert "[default: verify]" in shown
