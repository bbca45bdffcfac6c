import json
import lzma
import re
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import small_experiment
import tonsure as tn
from tonsure.errors import InputError, RecordError
from tonsure.experiments.archive import pack, read_archive, unpack
from tonsure.experiments.records import append_record, read_records
from tonsure.report.results import read_results
from tonsure.report.tables import costs_table, metrics_table


def header(method="LBB", seed=0, **changes):
    kinds = {"kind": "experiment", "experiment": "toy", "method": method, "methods": ["random", "LBB"], "seed": seed}
    return kinds | {"text": "é\n" * 200, "data": "toy", "batch": 2} | changes


def write_run(folder, method="LBB", seed=0, rounds=3):
    path = folder / f"{method}-seed{seed}.jsonl"
    append_record(path, header(method, seed))
    for number in range(rounds):
        last = number == 2
        append_record(
            path,
            {
                "kind": "round",
                "round": number,
                "labeled": 10 + 2 * number,
                "metrics": {"accuracy": 0.1234567890123 + number / 10, "negative_log_likelihood": None},
                "rows": [] if last else [3 + number, 123456789],
                "labels": [] if last else [0, 1],
                "gains": [] if last else [1.23456789, -0.000123456789],
                "seconds": {"fit": 12.3456789, "select": None},
            },
        )
    return path


@pytest.fixture
def folder(tmp_path):
    """Two seeds of two methods, of which one run is unfinished and torn, and one has no whole line."""
    folder = tmp_path / "runs"
    for method, seed in (("random", 0), ("random", 1), ("LBB", 0)):
        write_run(folder, method, seed)
    torn = write_run(folder, "LBB", 1, rounds=2)
    torn.write_bytes(torn.read_bytes() + b'{"kind": "rou')
    (folder / "LBB-seed2.jsonl").write_bytes(b'{"kind"')
    (folder / "report.html").write_text("not a run")
    return folder


def write_archive(path, *lines):
    path.write_bytes(lzma.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def test_an_archive_holds_every_run_from_its_header_on(folder, tmp_path):
    path = tmp_path / "archives" / "toy.jsonl.xz"
    pack(folder, path)
    records = [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]
    assert [(r["method"], r["seed"]) if r["kind"] == "experiment" else r["round"] for r in records] == [
        *[("LBB", 0), 0, 1, 2],
        *[("LBB", 1), 0, 1],
        *[("random", 0), 0, 1, 2],
        *[("random", 1), 0, 1, 2],
    ]
    assert list(read_archive(path)) == [f"{m}-seed{s}.jsonl" for m in ("LBB", "random") for s in (0, 1)]
    assert not list(path.parent.glob(f".*{path.name}"))


def test_only_gains_and_seconds_are_rounded(folder, tmp_path):
    path = tmp_path / "toy.jsonl.xz"
    pack(folder, path)
    for name, found in read_archive(path).items():
        expected = read_records(folder / name)
        for record in expected:
            if record["kind"] == "round":
                record["gains"] = [1.2346, -0.00012346] if record["gains"] else []
                record["seconds"] = {"fit": 12.35, "select": None}
        assert found == expected


def test_the_same_runs_give_the_same_bytes(folder, tmp_path):
    paths = [tmp_path / f"{number}.jsonl.xz" for number in range(3)]
    pack(folder, paths[0])
    pack(folder, paths[1])
    unpack(paths[0], tmp_path / "again")
    pack(tmp_path / "again", paths[2])
    assert len({path.read_bytes() for path in paths}) == 1


def test_what_is_unpacked_is_as_a_run_writes_it(folder, tmp_path):
    pack(folder, tmp_path / "toy.jsonl.xz")
    unpack(tmp_path / "toy.jsonl.xz", tmp_path / "again")
    for path in (tmp_path / "again").iterdir():
        for record in read_records(path):
            append_record(tmp_path / "written" / path.name, record)
        assert path.read_bytes() == (tmp_path / "written" / path.name).read_bytes()
    assert len(list((tmp_path / "written").iterdir())) == 4


def test_a_study_is_read_from_a_folder_and_from_its_archive(folder, tmp_path):
    path = tmp_path / "toy.jsonl.xz"
    pack(folder, path)
    both = [read_results(folder), read_results(path)]
    assert metrics_table(both[0]) == metrics_table(both[1])
    assert costs_table(both[1])["fit (s)"]["LBB"].text == "12.35"
    assert both[1].unfinished == ["LBB, seed 1 (measured up to 12 labels)"]


def quick_model():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
    return tn.MCDropout(network, samples=4, training=tn.Training(iterations=3))


def test_a_thin_archive_keeps_what_tables_are_made_of(folder, tmp_path):
    pack(folder, tmp_path / "toy.jsonl.xz")
    pack(folder, tmp_path / "thin.jsonl.xz", thin=True)
    whole, thin = (read_results(tmp_path / f"{name}.jsonl.xz") for name in ("toy", "thin"))
    assert metrics_table(thin) == metrics_table(whole)
    assert costs_table(thin) == costs_table(whole)
    assert [run.finished for run in thin.runs] == [run.finished for run in whole.runs]
    for one, other in zip(thin.runs, whole.runs, strict=True):
        for record, kept in zip(one.rounds, other.rounds, strict=True):
            if one.finished:
                assert record["rows"] == len(kept["rows"])
                assert kept.keys() - record.keys() == {"labels", "gains"}
            else:  # it is to go on
                assert record == kept


def test_a_finished_run_out_of_a_thin_archive_is_not_run_again(tmp_path):
    runs, back = tmp_path / "runs", tmp_path / "back"
    experiment = replace(small_experiment.experiment, max_labels=small_experiment.experiment.initial_labels + 5)
    tn.run(experiment, runs, seeds=[0], methods=["random"])
    pack(runs, tmp_path / "thin.jsonl.xz", thin=True)
    unpack(tmp_path / "thin.jsonl.xz", back)
    before = (back / "random-seed0.jsonl").read_bytes()
    tn.run(experiment, back, seeds=[0], methods=["random"])
    assert (back / "random-seed0.jsonl").read_bytes() == before


def test_a_run_out_of_an_archive_goes_on_to_the_same_records(tmp_path):
    experiment = replace(small_experiment.experiment, model=quick_model, max_labels=30)
    whole, cut, again = (tmp_path / name for name in ("whole", "cut", "again"))
    tn.run(experiment, whole, seeds=[0], methods=["PLBB"])
    lines = (whole / "PLBB-seed0.jsonl").read_bytes().splitlines(keepends=True)
    cut.mkdir()
    (cut / "PLBB-seed0.jsonl").write_bytes(b"".join(lines[:2]))
    pack(cut, tmp_path / "cut.jsonl.xz")
    unpack(tmp_path / "cut.jsonl.xz", again)
    tn.run(experiment, again, seeds=[0], methods=["PLBB"])
    found, expected = (read_records(folder / "PLBB-seed0.jsonl")[1:] for folder in (again, whole))
    for key in ("labeled", "rows", "labels", "metrics"):
        assert [record[key] for record in found] == [record[key] for record in expected]
    assert found[0]["gains"] != expected[0]["gains"]
    assert found[1]["gains"] == expected[1]["gains"]


def test_files_that_differ_are_not_overwritten(folder, tmp_path):
    path = tmp_path / "toy.jsonl.xz"
    pack(folder, path)
    there = tmp_path / "there"
    unpack(path, there)
    unpack(path, there)
    (there / "LBB-seed0.jsonl").unlink()
    append_record(there / "random-seed1.jsonl", {"kind": "round"})
    before = (there / "random-seed1.jsonl").read_bytes()
    with pytest.raises(InputError, match=rf"{re.escape(str(there))}/random-seed1\.jsonl exists and differs"):
        unpack(path, there)
    assert (there / "random-seed1.jsonl").read_bytes() == before
    assert not (there / "LBB-seed0.jsonl").exists()


HEADER = json.dumps(header())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"kind": "round"}', HEADER], "line 1: expected the header, of kind 'experiment', found kind 'round'"),
        ([HEADER, "[1]"], "line 2 is damaged: expected a JSON object, found b'[1]'"),
        ([HEADER, '{"kind"'], "line 2 is damaged: "),
        ([HEADER, HEADER], "line 2: a second run LBB-seed0.jsonl"),
        *[([json.dumps(header(name))], "line 1: expected a name for files") for name in ("../LBB", "..\\LBB", "L\nB")],
        ([json.dumps(header("L" * 300))], "and neither '.' nor '..' as method, found a str ('LLL"),
        ([json.dumps(header(seed="first"))], "expected a whole number of at least 0 as seed, found 'first'"),
        ([], " holds no run"),
    ],
)
def test_other_contents_are_refused(tmp_path, lines, message):
    path = write_archive(tmp_path / "toy.jsonl.xz", *lines)
    with pytest.raises(RecordError, match=rf"{re.escape(str(path))}.*{re.escape(message)}"):
        unpack(path, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_other_files_are_refused(folder, tmp_path):
    path = tmp_path / "toy.jsonl.xz"
    pack(folder, path)
    whole = path.read_bytes()
    damages = {
        "is cut short": whole[:-20],
        "is no archive of runs, or is damaged": whole[:200] + b"\0\0" + whole[202:],
        "goes on after its end, with 3 more bytes": whole + b"abc",
        "or is damaged: Input format not supported": b"{}\n" * 10,
    }
    for message, content in damages.items():
        path.write_bytes(content)
        with pytest.raises(RecordError, match=rf"{re.escape(str(path))} .*{message}"):
            read_results(path)
    path.unlink()
    with pytest.raises(RecordError, match=rf"{re.escape(str(path))} is no file"):
        read_results(path)


@pytest.mark.parametrize(
    ("name", "records", "message"),
    [
        (
            "LBB-seed0.jsonl",
            [{"kind": "round"}, header()],
            "line 1: expected the header, of kind 'experiment', found kind 'round'",
        ),
        ("LBB-seed0.jsonl", [header(), header()], "line 2: expected a round, of kind 'round', found kind 'experiment'"),
        ("LBB-seed0.jsonl", [{"kind": "round"}], "line 1: expected the header"),
        ("copy-seed0.jsonl", [header()], r"holds the run LBB-seed0\.jsonl: expected a file of that name"),
    ],
)
def test_files_that_are_no_runs_are_not_packed(tmp_path, name, records, message):
    for record in records:
        append_record(tmp_path / name, record)
    with pytest.raises(RecordError, match=rf"{re.escape(str(tmp_path / name))}.*{message}"):
        pack(tmp_path, tmp_path / "toy.jsonl.xz")
    assert not (tmp_path / "toy.jsonl.xz").exists()


def test_what_comes_out_of_a_thin_archive_goes_into_another(folder, tmp_path):
    """Beside runs that are whole, and to the same bytes where they are all that there is."""
    pack(folder, tmp_path / "thin.jsonl.xz", thin=True)
    unpack(tmp_path / "thin.jsonl.xz", back := tmp_path / "back")
    pack(back, tmp_path / "again.jsonl.xz", thin=True)
    assert (tmp_path / "again.jsonl.xz").read_bytes() == (tmp_path / "thin.jsonl.xz").read_bytes()
    path = sorted(folder.glob("*.jsonl"))[0]
    (back / path.name).write_bytes(path.read_bytes())
    assert read_records(path) != read_archive(tmp_path / "thin.jsonl.xz")[path.name]
    pack(back, tmp_path / "mixed.jsonl.xz", thin=True)
    assert (tmp_path / "mixed.jsonl.xz").read_bytes() == (tmp_path / "thin.jsonl.xz").read_bytes()


def test_nothing_to_pack_and_nowhere_to(folder, tmp_path):
    with pytest.raises(InputError, match=r"absent holds no run to pack"):
        pack(tmp_path / "absent", tmp_path / "toy.jsonl.xz")
    with pytest.raises(
        InputError, match=r"toy\.xz is not the name of an archive: expected a name that ends in \.jsonl\.xz"
    ):
        pack(folder, Path("toy.xz"))
