"""The page of results, from small made-up records whose numbers can be computed by hand.

random is right in 0.6, 0.7, 0.8 and 0.9 of all cases after 20, 40, 60 and 80 labels, 0.02 more under seed 1 and less
under seed 2. From the second round on, BALD is as random, about as random, or 0.06 below it, and LBB above it.
Of a gain g from the second of four rounds on, the mean along the curve gains (g/2 + g + g) / 3.
"""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from test_report import write_run
from tonsure.errors import RecordError
from tonsure.experiments.archive import pack
from tonsure.report.results import read_results
from tonsure.report.tables import Cell

FILE = Path(__file__).parents[1] / "experiments" / "results.py"
OF_SEED = (0.0, 0.02, -0.02)
LBB = (0.06, 0.072, 0.048)
SAME, LEVEL, BELOW = (0.0, 0.0, 0.0), (0.024, -0.012, 0.0), (-0.06, -0.06, -0.06)


@pytest.fixture(scope="module")
def results():
    spec = importlib.util.spec_from_file_location("results", FILE)
    module = sys.modules["results"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["results"]


def write_experiment(folder, name, **gains):
    """Three seeds of each method, as far as ``gains`` names it, in a folder of the experiment's name."""
    for method, of_seeds in gains.items():
        for seed, gain in enumerate(of_seeds):
            accuracies = [0.6 + 0.1 * n + OF_SEED[seed] + gain * (n > 0) for n in range(4)]
            write_run(folder / name, method, seed, accuracies, experiment=name, methods=list(gains))
    return folder / name


@pytest.fixture
def runs(tmp_path):
    write_experiment(tmp_path / "runs", "toy-dropout-20-small", random=SAME, BALD=LEVEL, LBB=LBB)
    write_experiment(tmp_path / "runs", "toy-ensemble-100-small", BALD=BELOW, random=SAME)
    write_experiment(tmp_path / "runs", "other-pool-dropout-20", random=SAME, BALD=SAME, LBB=LBB)
    return tmp_path / "runs"


@pytest.fixture
def archives(results, runs, tmp_path):
    results.pack_finished(runs, ["*"], tmp_path / "archives")
    return tmp_path / "archives"


def texts(column):
    return {method: (cell.text, cell.note) for method, cell in column.items()}


def test_a_name_is_taken_apart(results, archives):
    trials = results.read_trials(archives)
    assert [(trial.pool, trial.posterior, trial.batch) for trial in trials] == [
        ("other-pool", "dropout", 20),
        ("toy-small", "dropout", 20),
        ("toy-small", "ensemble", 100),
    ]
    assert results.methods_of(trials) == ["random", "BALD", "LBB"]


def test_overview_by_hand(results, archives):
    """LBB minus random along the curve: 0.05, 0.06, 0.04; s = 0.01, and t(0.975; 2) · s/√3 = 4.30265 · 0.00577.

    BALD minus random: 0.02, -0.01, 0; s = 0.01528. LBB minus BALD: 0.03, 0.07, 0.04; 0.0467 ± 0.0517.
    """
    columns = results.overview(results.read_trials(archives)[1:])
    assert list(columns) == ["dropout, 20", "ensemble, 100"]
    assert texts(columns["dropout, 20"]) == {
        "random": ("0.750", ""),
        "BALD": ("0.753", "+0.003 ± 0.038"),
        "LBB": ("0.800", "+0.050 ± 0.025 ▲"),
    }
    assert texts(columns["ensemble, 100"]) == {"random": ("0.750", ""), "BALD": ("0.700", "−0.050 ± 0.000 ▼")}
    assert {method for method, cell in columns["dropout, 20"].items() if cell.best} == {"LBB"}
    assert {method for method, cell in columns["dropout, 20"].items() if cell.tied} == {"BALD"}


def test_standing_by_hand(results, archives):
    """Ranks of random: 2½ (with BALD), 3 and 1; of BALD: 2½, 2 and 2; of LBB, where it was run: 1 and 1."""
    columns = results.standing(results.read_trials(archives))
    assert list(columns) == [
        "all (3)",
        "batch 20 (2)",
        "batch 100 (1)",
        "posterior dropout (2)",
        "posterior ensemble (1)",
    ]
    assert texts(columns["all (3)"]) == {
        "random": ("2.2", ""),
        "BALD": ("2.2", "0 / 2 / 1"),
        "LBB": ("1.0", "2 / 0 / 0"),
    }
    assert texts(columns["posterior dropout (2)"])["random"] == ("2.8", "")
    assert texts(columns["posterior ensemble (1)"]) == {"random": ("1.0", ""), "BALD": ("2.0", "0 / 0 / 1")}


def test_details_by_hand(results, archives):
    """random needs 60, 56 and 64 labels for 80%; LBB 78 and 71.6 for 95%, which its third seed never reaches."""
    columns = results.details(read_results(archives / "toy-dropout-20-small.jsonl.xz"))
    assert {heading: texts(column)["random"] for heading, column in columns.items()} == {
        "mean accuracy": ("0.750 ± 0.012", ""),
        "minus random": ("", ""),
        "at 40 labels": ("0.700", ""),
        "at 60 labels": ("0.800", ""),
        "at 80 labels": ("0.900", ""),
        "labels for 80%": ("60.0 ± 2.3", ""),
        "labels for 90%": ("78.0 ± 2.0", "not reached in 1 of 3 seeds"),
        "labels for 95%": ("not reached", ""),
        "final NLL": ("0.100 ± 0.012", ""),
        "select (s)": ("0.50", ""),
    }
    assert texts(columns["mean accuracy"])["LBB"] == ("0.800 ± 0.017", "")
    assert texts(columns["minus random"])["LBB"] == ("+0.050 [+0.025, +0.075]", "")
    assert texts(columns["labels for 95%"])["LBB"] == ("74.8 ± 3.2", "not reached in 1 of 3 seeds")
    assert columns["final NLL"]["LBB"] == Cell("0.040 ± 0.018", best=True)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (20, 80, [40, 60, 80]),
        (20, 220, [50, 150, 200]),
        (20, 620, [200, 400, 600]),
        (100, 10_000, [2000, 6000, 10_000]),
        (20, 21, [21]),
        (20, 20, []),
    ],
)
def test_round_counts(results, start, end, expected):
    assert results.round_counts(start, end) == expected


def test_a_table_marks_what_it_holds(results):
    cells = {"a|b": Cell("1", best=True), "c": Cell("2", "note", tied=True)}
    assert results.markdown({"x": cells, "y": {"c": Cell("3")}}, ["a|b", "c"]).splitlines() == [
        "| method | x | y |",
        "| --- | --: | --: |",
        "| a\\|b | **1** | – |",
        "| c | 2 ≈<br>note | 3 |",
    ]


def test_the_page_holds_every_experiment(results, archives, tmp_path):
    text = results.write_page(archives, tmp_path / "docs").read_text()
    assert text.startswith("<!-- Generated from docs/results/*.jsonl.xz by `python experiments/results.py`.")
    for heading in ("## other-pool", "## toy-small", "### toy-small, ensemble, batches of 100"):
        assert f"\n{heading}\n" in text
    assert "| LBB | **0.800**<br>+0.050 ± 0.025 ▲ | – |" in text
    assert "LBB: not run in all experiments." in text
    of_ensemble = text.split("### toy-small, ensemble, batches of 100")[1]
    assert "| BALD | 0.700 ± 0.012 | −0.050 [−0.050, −0.050] |" in of_ensemble
    assert "LBB has the highest mean accuracy along the curve from 20 to 80 labels: 0.800 ± 0.017" in text
    for fact in ("Toy: 100 gray pictures.", "- Machine: 2 cores", "tonsure 0.1.0", "--seeds 3 "):
        assert fact in text
    assert "Not complete" not in text
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 1 + 2 + 1 + 3
    assert all(len({row.count(" | ") for row in table.splitlines()}) == 1 for table in tables)
    pictures = re.findall(r"\]\((results/[^)]*)\)", text)
    assert pictures == ["results/other-pool.png", "results/toy-small.png"]
    for picture in pictures:
        with Image.open(tmp_path / "docs" / picture) as image:
            pixels = np.asarray(image.convert("RGB")).astype(int) @ [65536, 256, 1]
        assert len(np.unique(pixels)) > 50


def test_the_page_is_made_of_the_records_alone(results, runs, archives, tmp_path):
    """The same bytes again, from folders too; another accuracy in one round of one run, another page and picture."""

    def made(records, name):
        page = results.write_page(records, tmp_path / name)
        return {path.name: path.read_bytes() for path in [page, *sorted((tmp_path / name / "results").iterdir())]}

    first = made(archives, "first")
    assert made(archives, "second") == made(runs, "third") == first
    run = runs / "toy-dropout-20-small" / "LBB-seed0.jsonl"
    run.write_text(run.read_text().replace('"accuracy":0.96,', '"accuracy":0.95,'))
    pack(run.parent, archives / "toy-dropout-20-small.jsonl.xz")
    changed = made(archives, "fourth")
    assert [name for name in first if first[name] != changed[name]] == ["results.md", "toy-small.png"]
    assert b"| LBB | **0.799**" in changed["results.md"]  # 0.01 · ½ / 3 less under one seed of three: 0.79944


def test_only_what_is_finished_and_asked_for_is_packed(results, runs, tmp_path, capsys):
    write_run(runs / "toy-dropout-50-small", "LBB", 0, [0.5, 0.6], experiment="toy-dropout-50-small", finished=False)
    write_run(runs / "digits", "LBB", 0, [0.5, 0.6], experiment="digits", methods=["LBB"])
    into = tmp_path / "archives"
    packed = results.pack_finished(runs, ["toy-dropout-*", "dig*"], into)
    assert packed == [into / "toy-dropout-20-small.jsonl.xz"] == list(into.iterdir())
    assert (
        "toy-dropout-50-small is not packed, as runs are unfinished or missing: LBB, seed 0" in capsys.readouterr().err
    )
    assert len(results.pack_finished(runs, ["toy-dropout-50-small"], into, unfinished=True)) == 1
    text = results.write_page(into, tmp_path / "docs").read_text()
    assert "**Not complete:** LBB, seed 0 (measured up to 40 labels); random, seed 0; BALD, seed 0." in text


def test_other_experiments_are_refused(results, archives, tmp_path):
    (archives / "toy-dropout-20-small.jsonl.xz").rename(archives / "toy-dropout-30-small.jsonl.xz")
    with pytest.raises(RecordError, match="toy-dropout-20-small, expected toy-dropout-30-small"):
        results.read_trials(archives)
    (archives / "toy-dropout-30-small.jsonl.xz").unlink()
    write_run(tmp_path / "toy", "LBB", 0, [0.5, 0.6])
    pack(tmp_path / "toy", archives / "toy.jsonl.xz")
    with pytest.raises(RecordError, match=r"toy\.jsonl\.xz holds the experiment toy, expected a name POOL-POSTERIOR-B"):
        results.read_trials(archives)
    with pytest.raises(RecordError, match=r"absent holds no experiment: expected archives"):
        results.read_trials(tmp_path / "absent")


def test_the_command(results, runs, tmp_path, monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["results.py", *map(str, words)])
        results.main()
        return capsys.readouterr().out

    assert re.fullmatch(
        r".*toy-ensemble-100-small\.jsonl\.xz  [\d,]+ bytes\n",
        call("--records", tmp_path / "archives", "--pack", runs, "toy-e*"),
    )
    assert call("--records", tmp_path / "archives", "--out", tmp_path / "docs") == f"{tmp_path / 'docs'}/results.md\n"
    with pytest.raises(SystemExit, match="2"):
        call("--records", tmp_path / "absent")


@pytest.mark.product  # these records are not added to any more
@pytest.mark.usefixtures("annotations_unchecked")
def test_the_page_in_the_documentation_is_made_of_the_records_beside_it(results, tmp_path, monkeypatch):
    # The text is compared, and the pictures are not: other tests draw them, from fewer records.
    monkeypatch.setattr(results, "curves", lambda trials, methods: b"")
    docs = FILE.parents[1] / "docs"
    page = results.write_page(docs / "results", tmp_path).read_text()
    assert page == (docs / "results.md").read_text()
    for picture in re.findall(r"\]\((results/[^)]+\.png)\)", page):
        assert (docs / picture).is_file(), picture


def test_what_the_page_of_the_paper_quotes_is_recorded():
    docs = FILE.parents[1] / "docs"
    recorded = [
        line
        for name in ("full_supervision.txt", "cifar100_features.txt")
        for line in (docs / "results" / name).read_text().splitlines()
    ]
    text = (docs / "paper.md").read_text().split("of their pool\n")[1].split("## What")[0]
    quoted = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    assert len(quoted) >= 20
    for line in quoted:
        assert line in recorded, line
