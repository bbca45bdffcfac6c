"""experiments/replay.py, and the recorded digits."""

import dataclasses
import sys
from pathlib import Path

import pytest

import small_experiment
import tonsure as tn
from tonsure.datasets import Digits
from tonsure.experiments import load
from tonsure.experiments.archive import pack, read_archive
from tonsure.experiments.data import load_data
from tonsure.experiments.records import read_records

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def replaying():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "experiments")
        import replay

        yield replay
    for name in ("replay", "released_lbb"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def small():
    return load_data(Digits())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    tn.run(small_experiment.experiment, folder, seeds=[0], methods=["PLBB"])
    return folder


def test_a_run_of_the_same_code_is_equal(replaying, small, run):
    records = read_records(run / "PLBB-seed0.jsonl")
    found = list(replaying.replay(small_experiment.experiment, small, records))
    assert [one.round for one in found] == [0, 1, 2, 3, 4]
    assert all(one.same for one in found)
    assert all(one.equal_rows == one.rows and one.metrics_apart == 0 for one in found)
    assert [one.gains_apart for one in found[:4]] == [0, 0, 0, 0]


def test_a_run_that_begins_without_labels_is_equal(replaying, small, tmp_path):
    """Its first round has no metrics."""
    none = dataclasses.replace(small_experiment.experiment, initial_labels=0, max_labels=20)
    tn.run(none, tmp_path, seeds=[0], methods=["PLBB"])
    found = list(replaying.replay(none, small, read_records(tmp_path / "PLBB-seed0.jsonl")))
    assert [one.round for one in found] == [0, 1, 2]
    assert all(one.same and one.metrics_apart == 0 for one in found)


def test_a_difference_is_found_in_its_round_alone(replaying, small, run):
    records = read_records(run / "PLBB-seed0.jsonl")
    rows, labels = records[2]["rows"], records[2]["labels"]
    rows[3], rows[4], labels[3], labels[4] = rows[4], rows[3], labels[4], labels[3]
    found = list(replaying.replay(small_experiment.experiment, small, records[:3]))
    assert [one.same for one in found] == [True, False]
    assert found[1].equal_rows == 3
    assert str(found[1]).startswith("round 1: the first 3 of 10 rows are equal, their gains differ by at most 0.0e+00")


def test_records_without_rows_are_compared_by_their_metrics(replaying, small, run, tmp_path):
    pack(run, tmp_path / "thin.jsonl.xz", thin=True)
    [records] = read_archive(tmp_path / "thin.jsonl.xz").values()
    found = list(replaying.replay(small_experiment.experiment, small, records))
    assert [(one.equal_rows, one.same) for one in found] == [(None, True)] * 5
    records[3]["metrics"]["accuracy"] += 0.01
    found = list(replaying.replay(small_experiment.experiment, small, records))
    assert [one.same for one in found] == [True, True, False, True, True]


def test_the_recorded_digits_are_selected_again(replaying):
    """First rounds, on any machine: training gives slightly different predictions, so a late row may differ."""
    [experiment] = load.experiments(REPOSITORY / "experiments" / "digits.py")
    data = load_data(experiment.dataset)
    for method in ("random", "PLBB", "released-LBB"):
        records = read_records(REPOSITORY / "docs" / "digits" / f"{method}-seed0.jsonl")
        [first] = replaying.replay(experiment, data, records[:2])
        assert first.rows == 40
        assert first.equal_rows >= 20, method
        assert not first.gains_apart > 1e-3, method
