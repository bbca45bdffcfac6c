import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

import small_experiment
import tonsure as tn
from tonsure.datasets import Digits
from tonsure.experiment import describe, run_one
from tonsure.records import read_records

SMALL = small_experiment.experiment


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    tn.run(SMALL, folder, seeds=[0])
    return folder


def without_measurements(path):
    """The records, but for what a clock and the operating system say."""
    return [
        {key: value for key, value in record.items() if key not in ("seconds", "peak_memory")}
        for record in read_records(path)
    ]


def test_the_records_of_a_run(finished):
    header, *rounds = read_records(finished / "PLBB-seed0.jsonl")
    assert header["method"] == "PLBB"
    assert header["methods"] == ["random", "PLBB"]
    assert header["versions"]["torch"].startswith("2.")
    assert "def network():" in header["text"]
    assert "PowerSample(beta=5.0)" in header["text"]
    assert [record["labeled"] for record in rounds] == [10, 20, 30, 40, 45]
    assert [len(record["rows"]) for record in rounds] == [10, 10, 10, 5, 0]
    chosen = [row for record in rounds for row in record["rows"]]
    assert len(set(chosen)) == 35
    digits = Digits().load()
    labels = [label for record in rounds for label in record["labels"]]
    assert labels == digits.train_labels[chosen].tolist()
    assert rounds[-1]["metrics"]["accuracy"] > 0.5
    pictures = np.load(finished / "pictures" / "PLBB-seed0-round1.npy")
    assert (pictures == digits.train_images[rounds[1]["rows"]].numpy()).all()


def test_methods_begin_alike(finished):
    first = [read_records(finished / f"{name}-seed0.jsonl")[1] for name in ("random", "PLBB")]
    assert first[0]["metrics"] == first[1]["metrics"]
    assert first[0]["rows"] != first[1]["rows"]


def test_seeds_begin_differently(finished, tmp_path):
    """Other first labels, and other initial weights."""
    once = dataclasses.replace(SMALL, until=10)
    tn.run(once, tmp_path, seeds=[0, 1, 2], methods=["random"])
    accuracies = {read_records(path)[1]["metrics"]["negative_log_likelihood"] for path in tmp_path.glob("*.jsonl")}
    assert len(accuracies) == 3
    digits = Digits().load()
    rows = [tn.balanced_rows(digits.train_labels, 10, seed=seed).tolist() for seed in (0, 1)]
    assert not set(read_records(finished / "random-seed0.jsonl")[1]["rows"]) & set(rows[0])
    one_round = dataclasses.replace(SMALL, until=len(digits.train_labels), batch=len(digits.train_labels))
    first = next(iter(run_one(one_round, digits, tmp_path / "all", "random", 1)))
    chosen = read_records(tmp_path / "all" / "random-seed1.jsonl")[1]["rows"]
    assert first["labeled"] == 10
    assert set(range(len(digits.train_labels))) - set(chosen) == set(rows[1])


def test_what_is_finished_is_not_run_again(finished):
    before = {path: path.read_bytes() for path in finished.glob("*.jsonl")}
    tn.run(SMALL, finished, seeds=[0])
    assert {path: path.read_bytes() for path in finished.glob("*.jsonl")} == before


@pytest.mark.parametrize("lines", [0, 1, 2, 4])
def test_a_torn_file_is_completed_to_the_same_records(finished, tmp_path, lines):
    whole = (finished / "PLBB-seed0.jsonl").read_bytes().splitlines(keepends=True)
    torn = tmp_path / "PLBB-seed0.jsonl"
    torn.write_bytes(b"".join(whole[:lines]) + whole[lines][:40])
    tn.run(SMALL, tmp_path, seeds=[0], methods=["PLBB"])
    assert without_measurements(torn) == without_measurements(finished / "PLBB-seed0.jsonl")


@pytest.mark.slow
def test_a_killed_process_is_completed_to_the_same_records(finished, tmp_path):
    """Killed again and again, with no warning and at whatever it happens to be doing."""
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1]); import small_experiment, tonsure, pathlib;"
        "tonsure.run(small_experiment.experiment, pathlib.Path(sys.argv[2]), seeds=[0])",
        str(Path(__file__).parent),
        str(tmp_path),
    ]
    lines_seen = set()
    for kill in range(4):
        process = subprocess.Popen(command)
        while process.poll() is None and sum(1 for _ in tmp_path.glob("*.jsonl")) == 0:
            time.sleep(0.01)
        time.sleep(0.13 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
        lines_seen.add(sum(len(path.read_bytes().splitlines()) for path in tmp_path.glob("*.jsonl")))
    assert max(lines_seen) > 0
    subprocess.run(command, check=True)
    for name in ("random", "PLBB"):
        expected = without_measurements(finished / f"{name}-seed0.jsonl")
        assert without_measurements(tmp_path / f"{name}-seed0.jsonl") == expected
        for path in (finished / "pictures").glob(f"{name}-*"):
            assert (tmp_path / "pictures" / path.name).read_bytes() == path.read_bytes()


def test_damage_in_the_middle_is_an_error(finished, tmp_path):
    whole = (finished / "PLBB-seed0.jsonl").read_bytes().splitlines(keepends=True)
    whole[2] = whole[2][:30] + b"\n"
    (tmp_path / "PLBB-seed0.jsonl").write_bytes(b"".join(whole))
    with pytest.raises(tn.InputError, match=r"PLBB-seed0.jsonl, line 3 is damaged"):
        tn.run(SMALL, tmp_path, seeds=[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 11}, "its text is 'batch = 10' where this one's is 'batch = 11'"),
        ({"dataset": Digits(seed=1)}, r"its data is .*split of ours, seed 0.*split of ours, seed 1"),
        ({"name": "other"}, "its experiment is 'small' where this one's is 'other'"),
        ({"model": lambda: small_experiment.model()}, r"its text is 'model = def model\(\):'"),
    ],
)
def test_records_of_another_experiment_are_not_continued(finished, change, message):
    with pytest.raises(tn.InputError, match=message):
        tn.run(dataclasses.replace(SMALL, **change), finished, seeds=[0])


def test_another_method_may_join(finished, tmp_path):
    for path in finished.glob("*.jsonl"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    more = dataclasses.replace(SMALL, methods={**SMALL.methods, "margin": tn.Method(tn.Pointwise(tn.margin))})
    tn.run(more, tmp_path, seeds=[0])
    assert read_records(tmp_path / "margin-seed0.jsonl")[-1]["labeled"] == 45


def test_two_processes_do_not_write_one_file(finished):
    with (
        FileLock(finished / ".PLBB-seed0.jsonl.lock"),
        pytest.raises(tn.InputError, match="written by another process"),
    ):
        tn.run(SMALL, finished, seeds=[0], methods=["PLBB"])
    tn.run(SMALL, finished, seeds=[0], methods=["PLBB"])


def test_a_method_that_is_not_there(tmp_path):
    with pytest.raises(tn.InputError, match="experiment small has no method 'LBB'; it has random, PLBB"):
        tn.run(SMALL, tmp_path, seeds=[0], methods=["LBB"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"first": 0}, {"first": 46}, {"batch": 0}])
def test_counts_that_make_no_experiment(change):
    with pytest.raises(tn.InputError, match=r"experiment small: first = \d+, batch = \d+, until = 45"):
        dataclasses.replace(SMALL, **change)


def test_the_filters_of_warnings_are_left_alone(tmp_path):
    before = list(warnings.filters)
    for _ in run_one(SMALL, Digits().load(), tmp_path, "PLBB", 0):
        assert list(warnings.filters) == before


def test_a_description_is_the_same_in_every_process():
    text = describe({"model": small_experiment.model, "n": 3, "loader": Digits()})
    assert "n = 3" in text
    assert "return tn.MCDropout(network(), samples=8" in text
    assert "nn.Linear(64, 32)" in text
    assert "0x" not in text


def test_nothing_but_json_in_records(finished):
    for path in finished.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            json.loads(line, parse_constant=pytest.fail)
    assert os.sep not in json.dumps(read_records(finished / "PLBB-seed0.jsonl")[0]["machine"])
