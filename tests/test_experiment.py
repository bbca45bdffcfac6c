import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

import small_experiment
import tonsure as tn
import tonsure.experiments.experiment as experiment_module
from tonsure.datasets import Digits
from tonsure.errors import ExperimentError
from tonsure.experiments.data import load_data
from tonsure.experiments.experiment import run_several
from tonsure.experiments.one_run import _initial_rows, run_one
from tonsure.experiments.records import read_records
from tonsure.report.html import _strips
from tonsure.report.results import read_results

SMALL = small_experiment.experiment


def two_steps():
    return tn.MCDropout(small_experiment.network(), samples=8, training=tn.Training(iterations=2))


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
    once = dataclasses.replace(SMALL, max_labels=10)
    tn.run(once, tmp_path, seeds=[0, 1, 2], methods=["random"])
    accuracies = {read_records(path)[1]["metrics"]["negative_log_likelihood"] for path in tmp_path.glob("*.jsonl")}
    assert len(accuracies) == 3
    digits = Digits().load()
    rows = [tn.balanced_rows(digits.train_labels, 10, seed=seed).tolist() for seed in (0, 1)]
    assert not set(read_records(finished / "random-seed0.jsonl")[1]["rows"]) & set(rows[0])
    one_round = dataclasses.replace(SMALL, max_labels=len(digits.train_labels), k=len(digits.train_labels))
    first = next(iter(run_one(one_round, load_data(Digits()), tmp_path / "all", "random", 1)))
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
@pytest.mark.product  # the ordinary tests kill some processes of ``stress``
def test_a_killed_process_is_completed_to_the_same_records(finished, tmp_path):
    """Killed twice, with no warning and at whatever it happens to be doing; ``stress`` does so hundreds of times."""
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1]); import small_experiment, tonsure, pathlib;"
        "tonsure.run(small_experiment.experiment, pathlib.Path(sys.argv[2]), seeds=[0])",
        str(Path(__file__).parent),
        str(tmp_path),
    ]
    lines_seen = set()
    for kill in range(2):
        process = subprocess.Popen(command)
        while process.poll() is None and sum(1 for _ in tmp_path.glob("*.jsonl")) == 0:
            time.sleep(0.01)
        time.sleep(0.3 * kill)
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
    with pytest.raises(ExperimentError, match=r"small, PLBB, seed 0: .*PLBB-seed0.jsonl, line 3 is damaged"):
        tn.run(SMALL, tmp_path, seeds=[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 11}, "its text is 'k = 10' where this one's is 'k = 11'"),
        ({"dataset": Digits(seed=1)}, r"its data is .*split of ours, seed 0.*split of ours, seed 1"),
        ({"name": "other"}, "its experiment is 'small' where this one's is 'other'"),
        ({"model": lambda: small_experiment.model()}, r"its text is 'model = def model\(\):'"),
    ],
)
def test_records_of_another_experiment_are_not_continued(finished, change, message):
    with pytest.raises(ExperimentError, match=message):
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
        pytest.raises(ExperimentError, match=r"small, PLBB, seed 0: .*written by another process"),
    ):
        tn.run(SMALL, finished, seeds=[0], methods=["PLBB"])
    tn.run(SMALL, finished, seeds=[0], methods=["PLBB"])


def test_a_method_that_is_not_there(tmp_path):
    with pytest.raises(tn.InputError, match="no experiment has a method 'LBB'; there are random, PLBB"):
        tn.run(SMALL, tmp_path, seeds=[0], methods=["LBB"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *[("name", given) for given in (1, None, "x" * 201, "\ud800")],
        *[("dataset", given) for given in ("mnist", 3, Digits)],
        *[("model", given) for given in (3, "x", torch.nn.Linear(2, 2), lambda width: None)],
        *[("methods", given) for given in (3, {}, [], "random", {3: tn.Method("random")}, {"random"})],
        *[(name, given) for name in ("k", "max_labels") for given in (0, "3", None, 1.5, True)],
        *[("initial_labels", given) for given in (-1, "3", None, 1.5, True)],
        *[("features", given) for given in ("mnist", 3, Digits, torch.zeros(3, 2))],
        *[("balanced", given) for given in (1, None, "x")],
        ("device", 3),
        *[("seeds", given) for given in (3, "ab", (0.5,), [-1], [], {0}, [1, 1], range(10**12), [10**5000])],
        *[("validation", given) for given in (-1, "x", None)],
    ],
)
def test_settings_that_make_no_experiment(name, given):
    with pytest.raises(tn.InputError, match=rf"^Experiment: {name} (is|has)") as caught:
        dataclasses.replace(SMALL, **{name: given})
    assert len(str(caught.value)) < 300


def test_more_labels_at_first_than_at_last():
    with pytest.raises(tn.InputError, match="small: initial_labels is 46, expected at most max_labels, 45"):
        dataclasses.replace(SMALL, initial_labels=46)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *[("experiment", given) for given in (3, [SMALL], tn.Experiment)],
        *[("folder", given) for given in (3, None, "")],
        *[("seeds", given) for given in (3, None, {0}, [], "ab", [0.5], [0, 0], range(10**12))],
        *[("jobs", given) for given in ("x", None, 1.5, True, 0)],
        *[("methods", given) for given in (3, "random", [3], [], {}, ["random", "random"])],
    ],
)
def test_arguments_that_make_no_run(tmp_path, name, given):
    arguments = {"experiment": SMALL, "folder": tmp_path / "runs", "seeds": [0], name: given}
    with pytest.raises(tn.InputError, match=rf"^{name} is") as caught:
        tn.run(**arguments)
    assert len(str(caught.value)) < 300
    assert not list(tmp_path.iterdir())


def test_a_run_into_a_folder_given_as_text_with_methods_by_name(tmp_path):
    """Methods by name are those that they name, and seeds may be any list of whole numbers."""
    named = dataclasses.replace(SMALL, methods=["random", "BALD"], max_labels=10, seeds=np.arange(2))
    assert named.methods == {name: tn.METHODS[name] for name in ("random", "BALD")}
    assert named.seeds == (0, 1)
    tn.run(named, str(tmp_path / "runs"), seeds=torch.tensor([0]))
    assert sorted(path.name for path in (tmp_path / "runs").glob("*.jsonl")) == [
        "BALD-seed0.jsonl",
        "random-seed0.jsonl",
    ]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(tn.errors.FileError, match="file cannot be written"):
        tn.run(SMALL, tmp_path / "file", seeds=[0])


def test_a_device_that_is_not_there_is_said_before_any_run(tmp_path):
    with pytest.raises(tn.InputError, match="the device 'nope' cannot be used"):
        tn.run(dataclasses.replace(SMALL, device="nope"), tmp_path, seeds=[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["radius 1/4", "..", "", "a\\b"])
def test_names_of_which_no_file_can_be_made(name):
    with pytest.raises(
        tn.InputError, match=rf"methods has a name that is {re.escape(repr(name))}, expected a name for"
    ):
        dataclasses.replace(SMALL, methods={name: tn.Method(tn.Random())})
    with pytest.raises(tn.InputError, match=rf"name is {re.escape(repr(name))}, expected a name for files"):
        dataclasses.replace(SMALL, name=name)


def test_the_filters_of_warnings_are_left_alone(tmp_path):
    before = list(warnings.filters)
    for _ in run_one(SMALL, load_data(Digits()), tmp_path, "PLBB", 0):
        assert list(warnings.filters) == before


def test_nothing_but_json_in_records(finished):
    for path in finished.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            json.loads(line, parse_constant=pytest.fail)
    assert os.sep not in json.dumps(read_records(finished / "PLBB-seed0.jsonl")[0]["machine"])


def test_the_text_tells_of_validation_and_not_of_seeds():
    assert "validation = 5" in dataclasses.replace(SMALL, validation=5).text_of("PLBB")
    assert dataclasses.replace(SMALL, seeds=(4, 2)).text_of("PLBB") == SMALL.text_of("PLBB")


def test_seeds_in_their_order():
    named = dataclasses.replace(SMALL, seeds=(7, 3, 5))
    assert list(named.first_seeds(2)) == [7, 3]
    assert list(named.first_seeds()) == [7, 3, 5]
    assert list(SMALL.first_seeds(5)) == [0, 1, 2, 3, 4]
    assert list(SMALL.first_seeds()) == [0, 1, 2]
    with pytest.raises(tn.InputError, match="the number of seeds is 4, but experiment small has 3"):
        named.first_seeds(4)
    with pytest.raises(tn.InputError, match="the number of seeds is 0"):
        SMALL.first_seeds(0)


class Noting(tn.BayesianModel):
    """Notes what it is fitted with, and has so many classes."""

    def __init__(self, notes, classes=10):
        self.notes, self.classes = notes, classes

    samples = 2

    def fit(self, inputs, labels_n, *, seed=0, validation=None):
        self.notes.append((inputs, labels_n, validation))

    def members(self):
        yield lambda inputs: torch.full((len(inputs), 2, self.classes), 1 / self.classes).log()


def test_validation_items_are_given_to_fit_and_not_to_the_pool(tmp_path):
    notes = []
    aside = dataclasses.replace(SMALL, model=lambda: Noting(notes), validation=30)
    tn.run(aside, tmp_path, seeds=[0, 1], methods=["random"])
    digits = Digits().load()
    rows = tn.balanced_rows(digits.train_labels, 30, seed=0)
    for _, _, (inputs, labels) in notes:
        assert torch.equal(inputs, digits.train_inputs[rows])
        assert torch.equal(labels, digits.train_labels[rows])
    assert notes[-1][1].bincount().sum() == 45
    header = read_records(tmp_path / "random-seed0.jsonl")[0]
    assert header["data"].endswith("; 30 of the training items set aside for validation (seed 0)")


def test_first_labels_that_are_drawn_or_chosen(tmp_path):
    """Not balanced, the first rows are a uniform draw; without any, the first round is the method's own."""
    labels = Digits().load().train_labels
    drawn = dataclasses.replace(SMALL, balanced=False, max_labels=10)
    tn.run(drawn, tmp_path / "drawn", seeds=[0, 1], methods=["random"])
    found = [read_records(tmp_path / "drawn" / f"random-seed{seed}.jsonl")[1] for seed in (0, 1)]
    assert [record["labeled"] for record in found] == [10, 10]
    assert found[0]["metrics"] != found[1]["metrics"]
    rows = [_initial_rows(drawn, labels, seed) for seed in (0, 1, 0)]
    assert rows[0].tolist() == rows[2].tolist() != rows[1].tolist()
    assert labels[_initial_rows(SMALL, labels, 0)].unique().tolist() == list(range(10))
    assert len(labels[rows[0]].unique()) < 10
    assert "balanced = False" in drawn.text_of("random")

    none = dataclasses.replace(SMALL, initial_labels=0, features=Encoded(), methods=["LCMD", "LBB"], max_labels=25)
    tn.run(none, tmp_path / "none", seeds=[0])
    for method in ("LCMD", "LBB"):
        records = read_records(tmp_path / "none" / f"{method}-seed0.jsonl")
        assert [record["labeled"] for record in records[1:]] == [0, 10, 20, 25]
        assert records[1]["metrics"] == {}
    expected = tn.select(None, "LCMD", 10, features=Encoded().load().train_inputs).rows.tolist()
    assert read_records(tmp_path / "none" / "LCMD-seed0.jsonl")[1]["rows"] == expected
    results = read_results(tmp_path / "none")
    for number in (0, 1):  # the pictures of a batch are counted by the labels of its round
        for strip in _strips(results, tmp_path / "none", number):
            chosen = read_records(tmp_path / "none" / f"{strip.name}-seed0.jsonl")[1 + number]["labels"]
            assert strip.counts.tolist() == np.bincount(chosen, minlength=10).tolist()
    assert results.labels.tolist() == [10, 20, 25]
    assert not results.unfinished
    again = tmp_path / "again"
    shutil.copytree(tmp_path / "none", again)
    path = again / "LBB-seed0.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    tn.run(none, again, seeds=[0])
    assert without_measurements(path) == without_measurements(tmp_path / "none" / path.name)


class Encoded:
    """Two features of each digit."""

    def __repr__(self):
        return "Encoded()"

    def load(self):
        digits = Digits().load()
        return dataclasses.replace(digits, train_inputs=digits.train_inputs.flatten(1)[:, 20:22])


class Seen(tn.Strategy):
    """Notes the features that it sees."""

    needs_features = True

    def __init__(self, notes):
        self.notes = notes

    def choose(self, state, k, generator):
        self.notes.append(state.features())
        return tn.Selection(state.unlabeled_rows[:k], torch.ones(k).double())


def test_features_are_given_to_the_pool(tmp_path):
    seen = []
    own = dataclasses.replace(SMALL, features=Encoded(), methods={"seen": tn.Method(Seen(seen))})
    tn.run(own, tmp_path, seeds=[0])
    assert all(torch.equal(features, Encoded().load().train_inputs) for features in seen)
    assert "features = Encoded(" in read_records(tmp_path / "seen-seed0.jsonl")[0]["text"]
    assert "features" not in SMALL.text_of("random")


def test_a_network_with_other_classes_is_refused_after_its_first_fit(tmp_path):
    wrong = dataclasses.replace(SMALL, model=lambda: Noting([], classes=12))
    message = r"small, random, seed 0, round 0 \(10 labels\): the network has 12 classes, digits has 10"
    with pytest.raises(ExperimentError, match=message):
        tn.run(wrong, tmp_path, seeds=[0], methods=["random"])


def test_a_run_that_fails_does_not_stop_the_others(tmp_path):
    class Failing(tn.Objective):
        def gain(self, state, notes, items):
            raise tn.InputError("not today")

    methods = {"failing": tn.Method(Failing()), "random": tn.Method(tn.Random())}
    with pytest.raises(ExperimentError) as caught:
        tn.run(dataclasses.replace(SMALL, methods=methods), tmp_path, seeds=[0, 1])
    assert str(caught.value).splitlines() == [
        "2 of 4 runs failed:",
        "  small, failing, seed 0, round 0 (10 labels): not today",
        "  small, failing, seed 1, round 0 (10 labels): not today",
    ]
    for seed in (0, 1):
        assert read_records(tmp_path / f"random-seed{seed}.jsonl")[-1]["labeled"] == 45


def test_a_bug_is_no_failure_and_names_its_run(tmp_path):
    class Buggy(tn.Objective):
        def gain(self, state, notes, items):
            return items.no_such_thing

    with pytest.raises(AttributeError, match="no_such_thing") as caught:
        tn.run(dataclasses.replace(SMALL, methods={"buggy": tn.Method(Buggy())}), tmp_path, seeds=[3])
    assert caught.value.__notes__ == ["round 0 (10 labels)", "in small, buggy, seed 3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validation": 1297}, r"validation set of 1,297 was asked for, but there are 1,297 training items"),
        ({"validation": 1290}, "experiment small starts with 10 labels, but its pool has 7 items"),
    ],
)
def test_what_stops_every_run_is_said_before_any(tmp_path, change, message):
    with pytest.raises(tn.InputError, match=message):
        tn.run(dataclasses.replace(SMALL, **change), tmp_path, seeds=[0])
    assert list(tmp_path.iterdir()) == []


def test_jobs_that_make_no_sense(tmp_path):
    with pytest.raises(tn.InputError, match="jobs is 0"):
        tn.run(SMALL, tmp_path, seeds=[0], jobs=0)
    with pytest.raises(tn.InputError, match="the experiment cannot be sent to other processes"):
        tn.run(dataclasses.replace(SMALL, model=lambda: small_experiment.model()), tmp_path, seeds=[0], jobs=2)


def test_several_experiments_go_seed_by_seed(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(experiment_module, "run_all", lambda runs, make, *, jobs: begun.extend(map(str, runs)))
    other = dataclasses.replace(SMALL, name="other", methods={"PLBB": SMALL.methods["PLBB"]}, seeds=(9, 8))
    planned = [(SMALL, tmp_path / "a", [0, 1]), (other, tmp_path / "b", other.seeds)]
    run_several(planned, lambda: [SMALL, other])
    assert begun == [
        "small, random, seed 0",
        "small, PLBB, seed 0",
        "other, PLBB, seed 9",
        "small, random, seed 1",
        "small, PLBB, seed 1",
        "other, PLBB, seed 8",
    ]
    begun.clear()
    run_several(planned, lambda: [SMALL, other], methods=["random"])
    assert begun == ["small, random, seed 0", "small, random, seed 1"]


def test_two_processes_give_the_records_of_one(tmp_path):
    """To the last bit, as each computes with as many threads; what fails there is said here."""
    few = dataclasses.replace(SMALL, model=two_steps, max_labels=30)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tn.run(few, tmp_path / "one", seeds=[0, 1])
        with (
            FileLock(tmp_path / "two" / ".random-seed0.jsonl.lock"),
            pytest.raises(ExperimentError, match=r"1 of 4 runs failed: small, random, seed 0: .*by another process"),
        ):
            tn.run(few, tmp_path / "two", seeds=[0, 1], jobs=2)
    finally:
        torch.set_num_threads(threads)
    assert [path.name for path in sorted((tmp_path / "two").glob("*.jsonl"))] == [
        "PLBB-seed0.jsonl",
        "PLBB-seed1.jsonl",
        "random-seed1.jsonl",
    ]
    for path in (tmp_path / "two").glob("*.jsonl"):
        assert ", 1 threads, " in read_records(path)[0]["machine"]
        assert without_measurements(path)[1:] == without_measurements(tmp_path / "one" / path.name)[1:]


STRATEGIES = {
    "CoreSet": tn.Method(tn.CoreSet()),
    "BADGE": tn.Method(tn.BADGE()),
    "TypiClust": tn.Method(tn.TypiClust()),
    "ProbCover": tn.Method(tn.ProbCover()),
    "BAIT": tn.Method(tn.BAIT()),
    "EPIG": tn.Method(tn.Targeted(tn.EPIG, count=50)),
}


def test_strategies_run_and_are_completed_to_the_same_records(tmp_path):
    few = dataclasses.replace(SMALL, model=two_steps, methods={**SMALL.methods, **STRATEGIES}, max_labels=30)
    tn.run(few, tmp_path, seeds=[1], methods=list(STRATEGIES))
    digits = Digits().load()
    for name in STRATEGIES:
        path = tmp_path / f"{name}-seed1.jsonl"
        header, *rounds = read_records(path)
        assert f"Method(method={STRATEGIES[name].method!r}, optimizer=None)" in header["text"]
        rows = [row for record in rounds for row in record["rows"]]
        assert len(set(rows)) == 20
        assert [label for record in rounds for label in record["labels"]] == digits.train_labels[rows].tolist()
        whole = without_measurements(path)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:2]) + lines[2][:40])
        tn.run(few, tmp_path, seeds=[1], methods=[name])
        assert without_measurements(path) == whole


def test_a_method_of_a_strategy_has_no_optimizer():
    with pytest.raises(tn.InputError, match=r"BADGE\(\) takes no optimizer"):
        tn.Method(tn.BADGE(), tn.TopK())
