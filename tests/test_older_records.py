"""Recorded runs of this repository resume: their headers, brought up to date, are those of the experiments of today."""

import json
import lzma
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import small_experiment
import tonsure as tn
from tonsure import datasets, models, networks, objectives, optimizers, strategies, training
from tonsure.experiments import load
from tonsure.experiments.archive import ENDING, RUNS
from tonsure.experiments.older_records import up_to_date
from tonsure.experiments.records import read_records

REPOSITORY = Path(__file__).parents[1]
EXPERIMENTS, DOCS = REPOSITORY / "experiments", REPOSITORY / "docs"
PAPER = ("ag_news", "cifar100", "clinc150", "emnist", "fashion_mnist", "mnist", "rmnist")
RECORDS = {
    "digits": (("digits.py", load.FULL),),
    "default": (("default.py", "choose"), ("default.py", "confirm")),
    "default/saved": (("default.py", "saved"),),
    "default/pixels": (("default.py", "pixels"),),
    "default/mends": (("default.py", "mends"),),
    "results": tuple((f"paper/{name}.py", "small") for name in PAPER),
    "results/begun": tuple((f"paper/{name}.py", "small") for name in PAPER),
}
"""The folders of records, and the files and scales of their experiments."""


@pytest.fixture
def made(monkeypatch):
    """Makes the experiments of files; the modules that they import are forgotten after the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield lambda files: {one.name: one for file, scale in files for one in load.experiments(EXPERIMENTS / file, scale)}
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(EXPERIMENTS)):
            del sys.modules[name]


def headers(folder):
    """All headers of a folder; rounds are not parsed, which would take most of the time."""
    for path in sorted(folder.iterdir()):
        if path.name.endswith(ENDING) or path.match(RUNS):
            content = path.read_bytes()
            lines = (lzma.decompress(content) if path.name.endswith(ENDING) else content).splitlines()
            yield from (json.loads(line) for line in lines if line.startswith(b'{"kind":"experiment"'))


@pytest.mark.slow
@pytest.mark.parametrize("folder", RECORDS)
def test_recorded_headers_are_those_of_today(folder, made):
    experiments = made(RECORDS[folder])
    keys = ("experiment", "method", "batch", "k", "text")  # that of other seeds is the same
    found = {tuple((key, header[key]) for key in keys if key in header) for header in headers(DOCS / folder)}
    for values in found:
        header = up_to_date(dict(values))
        experiment = experiments[header["experiment"]]
        assert header["text"] == experiment.text_of(header["method"])
        assert header["k"] == experiment.k
    assert found


def test_no_folder_of_records_is_left_out():
    holding = {path.parent for pattern in (RUNS, f"*{ENDING}") for path in DOCS.rglob(pattern)}
    assert {str(path.relative_to(DOCS)) for path in holding} == set(RECORDS)


def with_method(method, name="m", sizes="first = 10\nbatch = 20\nuntil = 50"):
    return {
        "kind": "experiment",
        "batch": 20,
        "text": f"name = 'x'\nmethods = {name} = {method}\n{sizes}\ndevice = 'cpu'",
    }


@pytest.mark.parametrize(
    ("earlier", "today"),
    [
        ("Method(objective=CorrectedLBB(), by=None)", tn.Method(tn.LargeBatchBALD(corrected=True))),
        (
            "Method(objective=BoundedLBB(corrected=True), by=None)",
            tn.Method(tn.LargeBatchBALD(bounded=True, corrected=True)),
        ),
        ("Method(objective=BoundedLBB(corrected=False), by=None)", tn.Method(tn.LargeBatchBALD(bounded=True))),
        (
            "Method(objective=SecondOrderBoundedLBB(corrected=True), by=PowerSample(beta=1.0))",
            tn.Method(tn.SecondOrderLBB(bounded=True, corrected=True), tn.PowerSample()),
        ),
        ("Method(objective=LargeBatchBALD(weight=0.5), by=Greedy())", tn.Method(tn.LargeBatchBALD(0.5), tn.Greedy())),
        ("Method(objective=SecondOrderLBB(weight=1.0), by=None)", tn.Method(tn.SecondOrderLBB())),
        (
            "Method(objective=Pointwise(bald), by=Prefilter(first=10, by=LazyGreedy()))",
            tn.Method(tn.Pointwise(tn.bald), tn.Prefilter(10)),
        ),
        ("Method(objective=BADGE(), by=None)", tn.Method(tn.BADGE())),
        (
            "Method(objective=ReleasedLBB(), by=PowerSample(beta=5.0))",
            "Method(method=ReleasedLBB(optimizer=PowerSample(beta=5.0)), optimizer=None)",
        ),
    ],
)
def test_methods_by_their_names_of_today(earlier, today):
    text = up_to_date(with_method(earlier))["text"]
    assert text == f"name = 'x'\nmethods = m = {today}\ninitial_labels = 10\nk = 20\nmax_labels = 50\ndevice = 'cpu'"


def test_functions_of_this_library_without_their_modules():
    earlier = (
        "model = def model():\n    first = 3\n    return tonsure.networks.dense.dense_network(first)\n\n"
        "network = tonsure.networks.dense.dense_network\n"
        "training = Training(optimizer=torch.optim.adam.Adam, schedule=tonsure.training.constant, device='cpu')"
    )
    today = (
        "model = def model():\n    first = 3\n    return tonsure.networks.dense.dense_network(first)\n\n"
        "network = tonsure.dense_network\n"
        "training = Training(optimizer=torch.optim.adam.Adam, schedule=tonsure.constant, device='cpu')"
    )
    assert up_to_date({"batch": 1, "text": earlier})["text"] == today


def test_names_without_modules_are_unambiguous():
    found = {}
    for package in (tn, datasets, models, networks, objectives, optimizers, strategies, training):
        for value in vars(package).values():
            closure = "<locals>" in getattr(value, "__qualname__", "")
            if callable(value) and not closure and getattr(value, "__module__", "").startswith("tonsure"):
                name = training.stable_name(value)
                assert found.setdefault(name, value) is value, name


def test_headers_of_today_are_left_alone():
    header = {"kind": "experiment", "k": 20, "text": "first = 1\nbatch = 2\nuntil = 3"}
    assert up_to_date(header) is header


def test_a_run_that_was_begun_under_earlier_names_is_completed(tmp_path):
    """Its header stays as it was written."""
    experiment = replace(small_experiment.experiment, max_labels=30)
    tn.run(experiment, tmp_path, seeds=[0], methods=["PLBB"])
    path = tmp_path / "PLBB-seed0.jsonl"
    header, *rounds = path.read_text().splitlines()
    earlier = json.loads(header)
    earlier["batch"] = earlier.pop("k")
    for today, before in (
        ("initial_labels = 10\nk = 10\nmax_labels = 30", "first = 10\nbatch = 10\nuntil = 30"),
        (
            "Method(method=LargeBatchBALD(weight=1.0, corrected=False, bounded=False)",
            "Method(objective=LargeBatchBALD(weight=1.0)",
        ),
        ("optimizer=PowerSample", "by=PowerSample"),
    ):
        assert today in earlier["text"]
        earlier["text"] = earlier["text"].replace(today, before)
    path.write_text("\n".join([json.dumps(earlier), *rounds[:2], ""]))
    tn.run(experiment, tmp_path, seeds=[0], methods=["PLBB"])
    first, *completed = read_records(path)
    assert first == earlier
    assert [record["rows"] for record in completed] == [json.loads(line)["rows"] for line in rounds]
