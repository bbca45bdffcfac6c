"""The page of evidence, from small made-up records whose numbers can be computed by hand.

random is right in 0.4, 0.5, 0.6 and 0.7 of all cases after 20, 40, 60 and 80 labels, 0.02 more under seed 1 and less
under seed 2. Of a gain g from the second of four rounds on, the mean along the curve gains (g/2 + g + g) / 3.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from test_report import write_run
from tonsure.errors import InputError, RecordError
from tonsure.experiments.archive import read_archive

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
DOCS = EXPERIMENTS.parent / "docs"
OF_SEED = (0.0, 0.02, -0.02, 0.04)
SAME, ABOVE, BELOW, LEVEL = (0.0, 0.0, 0.0), (0.06, 0.06, 0.06), (-0.06, -0.06, -0.06), (0.024, -0.012, 0.0)
HALVES = {"toy": "choose", "far-away": "confirm"}
SUPERVISION = """\
2 cores, no GPU; accuracy ± standard error over 5 seeds
all of the pool labeled           labels  accuracy
toy-dropout                          100  0.790 ± 0.004
"""


@pytest.fixture(scope="module")
def page():
    """The module of the page; the files beside it can be imported while it is there."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXPERIMENTS)
        import default_results

        yield default_results
    for name in {
        name for name in sys.modules if name in {"results", "default"} or name.startswith("default_")
    } - before:
        del sys.modules[name]


@pytest.fixture(scope="module")
def reading(page):
    import default_results_runs

    return default_results_runs


@pytest.fixture(scope="module")
def tables(page):
    import default_results_tables

    return default_results_tables


@pytest.fixture(scope="module")
def pictures(page):
    import default_results_pictures

    return default_results_pictures


def write_experiment(folder, name, methods=None, **gains):
    for method, of_seeds in gains.items():
        for seed, gain in enumerate(of_seeds):
            accuracies = [0.4 + 0.1 * n + OF_SEED[seed] + gain * (n > 0) for n in range(4)]
            write_run(folder / name, method, seed, accuracies, experiment=name, methods=methods or list(gains))


@pytest.fixture
def runs(tmp_path):
    """Two finished experiments of three methods."""
    folder = tmp_path / "runs"
    write_experiment(folder, "toy-dropout-20", random=SAME, margin=ABOVE, BALD=LEVEL)
    write_experiment(folder, "far-away-ensemble-100", random=SAME, margin=BELOW, BALD=SAME)
    (folder / "full_supervision.txt").write_text(SUPERVISION)
    return folder


@pytest.fixture
def trials(reading, runs):
    return reading.read_evidence(runs, HALVES).trials


def texts(column):
    return {method: (cell.text, cell.note) for method, cell in column.items()}


def test_names_and_halves(reading, trials):
    assert [(trial.half, trial.pool, trial.posterior, trial.batch, trial.seeds) for trial in trials] == [
        ("choose", "toy", "dropout", 20, [0, 1, 2]),
        ("confirm", "far-away", "ensemble", 100, [0, 1, 2]),
    ]
    halves = reading.halves()
    assert (halves["mnist"], halves["cifar10-tailed"], halves["cifar100"]) == ("choose", "choose", "confirm")


def test_what_is_planned(page):
    """The rivals and what was chosen run everywhere, the other candidates on the choosing half alone."""
    from tonsure.experiments import load

    planned = {scale: load.experiments(EXPERIMENTS / "default.py", scale) for scale in HALVES.values()}
    methods = {scale: {method for one in some for method in one.methods} for scale, some in planned.items()}
    assert methods["choose"] - methods["confirm"] == {"bounded-power", "log-det", "EPIG", "novelty"}
    assert methods["confirm"] - methods["choose"] == set()
    assert {"facility-location", "discounted-margin", "BAIT", "BatchBALD", "released-PLBB"} < methods["confirm"]
    assert {page.CANDIDATE, page.CANDIDATE_ALONE, "UHerding", "MaxHerding"} < methods["confirm"]
    everywhere = [set(one.methods) for one in planned["confirm"]]
    assert set.intersection(*everywhere) == methods["confirm"] - {"BatchBALD"}
    for some in planned.values():
        assert len(some) == 30
        assert {len(one.seeds) for one in some} == {10}


def test_what_is_planned_with_pretrained_encoders(page):
    """On other pools in each half; methods see the features that are the inputs."""
    from tonsure.experiments import load

    planned = {half: load.experiments(EXPERIMENTS / "default.py", f"pretrained-{half}") for half in HALVES.values()}
    data = {half: {repr(one.dataset) for one in some} for half, some in planned.items()}
    assert not data["choose"] & data["confirm"]
    for one in [*planned["choose"], *planned["confirm"]]:
        assert one.features == one.dataset
        assert {page.CANDIDATE, page.CANDIDATE_ALONE, "random", "UHerding", "MaxHerding", "Refine"} < set(one.methods)
        inputs = one.model.args[0]
        assert inputs == (384 if "minilm" in one.name else 1280)


def test_values_of_p_are_corrected_as_holm_says(tables):
    """By hand: 4 · 0.01, 3 · 0.02, then never less than before, and at most 1."""
    assert tables.holm([0.02, 0.01, 0.4, 0.021]) == pytest.approx([0.06, 0.04, 0.4, 0.06])
    assert tables.holm([0.9, 0.6]) == [1.0, 1.0]
    assert tables.holm([]) == []


def test_methods_are_told_apart_with_pools_as_units(reading, tables, runs):
    """margin is 0.05 above random on one pool and as far below on the other; BALD 0.0033 above, and level."""
    trials = reading.read_evidence(runs, HALVES).trials
    found = tables.told_apart(trials, "random", ["random", "margin", "BALD"])
    assert {method: cell.text for method, cell in found["minus random"].items()} == {"margin": "+0.00", "BALD": "+0.17"}
    assert {m: cell.text for m, cell in found["above / below"].items()} == {"margin": "1 / 1", "BALD": "1 / 0"}
    for method, gains in (("margin", [0.05, -0.05]), ("BALD", [0.0033, 0.0])):
        assert float(found["p"][method].text) == pytest.approx(stats.wilcoxon(gains).pvalue, abs=1e-4)
    assert not any(cell.best for cell in found["p, corrected"].values())


def test_first_accuracies_that_are_not_equal_are_told(page, reading, runs, tmp_path):
    assert max(trial.apart for trial in reading.read_evidence(runs, HALVES).trials) == 0
    run = runs / "toy-dropout-20" / "BALD-seed0.jsonl"
    run.write_text(run.read_text().replace('"accuracy":0.4,', '"accuracy":0.43,'))
    text = page.write_page(runs, tmp_path / "docs", half_of=HALVES).read_text()
    assert "should be equal; they differ by up to 0.0300" in text


def test_areas_and_likelihoods_by_hand(tables, trials):
    """random: (0.4/2 + 0.5 + 0.6 + 0.7/2) / 3 = 0.55; the likelihood of these records is 1 minus the accuracy."""
    random = trials[0].scores(tables.mean_accuracy, "random")
    assert list(random.values()) == pytest.approx([0.55, 0.57, 0.53])
    assert list(trials[0].scores(tables.mean_accuracy, "margin").values()) == pytest.approx([0.60, 0.62, 0.58])
    assert list(trials[0].scores(tables.mean_likelihood, "random").values()) == pytest.approx([0.45, 0.43, 0.47])
    assert list(trials[0].scores(tables.final_likelihood, "random").values()) == pytest.approx([0.3, 0.28, 0.32])


def test_added_labels_by_hand(tables, trials):
    """The start is 0.4, so that 50%, 75% and 90% of the gap are at 0.595, 0.6925 and 0.751.

    random has 0.595 at 59, 55 and 63 labels and 0.6925 at 78.5 and 74.5; its third seed ends at 0.68.
    """
    half, three_quarters = (tables.numbers(trials[:1], _added(tables, share), "random")[0] for share in (0.5, 0.75))
    assert half == pytest.approx([39, 35, 43])
    assert three_quarters == pytest.approx([58.5, 54.5, np.nan], nan_ok=True)
    assert tables.numbers(trials[:1], _added(tables, 0.5), "margin")[0] == pytest.approx([27, 23, 31])
    saved = tables.savings(trials[:1], 0.75, "margin", "random")
    assert saved[0] == pytest.approx([1 - 46.5 / 58.5, 1 - 42.5 / 54.5, np.nan], nan_ok=True)
    assert np.isnan(tables.numbers(trials[1:], _added(tables, 0.5), "random")).all()


def _added(tables, share):
    return lambda trial, one: tables.added_labels(share, trial, one)


def test_labels_saved_by_hand(tables, trials):
    """1 - 27/39, 1 - 23/35, 1 - 31/43: 31%; of three seeds, resamples of one alone are more than 2.5%."""
    columns = tables.labels_saved(trials)
    assert list(columns) == ["batch 20, 50%", "batch 20, 75%", "batch 20, 90%"]
    assert texts(columns["batch 20, 50%"])["margin"] == ("+31% [+28, +34] ▲", "reached 100%, 3 pairs")
    assert texts(columns["batch 20, 75%"])["margin"] == ("+21% [+21, +22] ▲", "reached 100%, 2 pairs")
    assert texts(columns["batch 20, 75%"])["random"] == ("", "reached 67%")
    assert texts(columns["batch 20, 90%"])["margin"] == ("no pair", "reached 67%")


def test_who_needs_no_label_more_cannot_be_saved_any(tables, reading, runs):
    (runs / "full_supervision.txt").write_text(SUPERVISION.replace("0.790", "0.420"))
    trial = reading.read_evidence(runs, HALVES).trials[0]  # its level is 0.41, and seed 1 begins with 0.42
    assert np.isnan(tables.savings([trial], 0.5, "margin", "random")).tolist() == [[False, True, False]]


def test_overview_by_hand(tables, trials):
    """BALD minus random: 0.02, -0.01 and 0, of which a resample may be -0.01 alone."""
    columns = tables.overview(trials[:1], ["margin", "BALD", "random"])
    assert texts(columns["toy, dropout"]) == {
        "margin": ("+5.00 ▲", ""),
        "BALD": ("+0.33", ""),
        "random": ("(55.0)", ""),
    }
    assert texts(columns["mean"])["BALD"] == ("+0.33", "[−1.00, +2.00]")
    assert columns["toy, dropout"]["margin"].best
    assert not any(cell.tied for cell in columns["toy, dropout"].values())
    other = tables.overview(trials[1:], ["margin", "BALD", "random"])["far-away, ensemble"]
    assert texts(other)["margin"] == ("−5.00 ▼", "")
    assert {method for method, cell in other.items() if cell.best or cell.tied} == {"BALD", "random"}


def test_ranks_by_hand(tables, trials):
    """margin is 1 and 3, BALD 2 and 1½, random 3 and 1½."""
    assert tables.mean_ranks(trials, ["margin", "BALD", "random"]) == {"margin": 2.0, "BALD": 1.75, "random": 2.25}
    assert tables.ranked_of(trials) == ["BALD", "margin", "random"]
    columns = tables.rank_table(trials, tables.ranked_of(trials))
    assert list(columns) == [
        "all (2)",
        "choose (1)",
        "confirm (1)",
        "batch 20 (1)",
        "batch 100 (1)",
        "dropout (1)",
        "ensemble (1)",
    ]
    assert {m: c.text for m, c in columns["choose (1)"].items()} == {
        "margin": "1.00",
        "BALD": "2.00",
        "random": "3.00",
        "*critical difference*": "3.31",  # 2.343 · √(3 · 4 / 6)
        "*with pools as units*": "3.31",
    }
    assert columns["all (2)"]["*critical difference*"].text == "2.34"
    assert (columns["all (2)"]["BALD"].best, columns["all (2)"]["random"].tied) == (True, True)


def test_ranks_agree_with_scipy(tables, reading, runs):
    gains = np.random.default_rng(0).integers(4, size=8) / 100
    methods = {f"m{number}": (float(gain),) * 3 for number, gain in enumerate(gains)}
    write_experiment(runs, "toy-dropout-500", random=SAME, **methods)
    trial = next(t for t in reading.read_evidence(runs, HALVES).trials if t.batch == 500)
    found = tables.mean_ranks([trial], list(methods))
    assert list(found.values()) == stats.rankdata(-gains).tolist()


def test_wins_ties_and_losses(tables, trials):
    assert tables.wins_ties_losses(trials, "margin", "random") == (1, 0, 1)
    assert tables.wins_ties_losses(trials, "BALD", "random") == (0, 2, 0)
    assert tables.wins_ties_losses(trials, "random", "margin") == (1, 0, 1)
    columns = tables.against(trials, "margin")
    assert columns["all (2)"]["BALD"].text == "1 / 0 / 1"
    assert columns["confirm (1)"]["BALD"].text == "1 / 0 / 0"


def test_standing_by_hand(tables, trials):
    columns = tables.standing(trials, ["BALD", "margin", "random"])
    assert texts(columns["minus random"])["margin"][0] == "+0.00"
    assert texts(columns["lowest"]) == {
        "BALD": ("+0.00", "far-away-ensemble-100"),
        "margin": ("−5.00 ▼", "far-away-ensemble-100"),
    }
    assert {m: cell.text for m, cell in columns["best or tied in"].items()} == {
        "BALD": "1",
        "margin": "1",
        "random": "1",
    }


def test_seconds_by_hand(tables, trials):
    """Each batch takes 0.5 s; the training before it 1.25, 2.25 and 3.25 s. The last round selects nothing."""
    assert texts(tables.selection_seconds(trials)["dropout, 20"])["margin"] == ("0.5", "22.2%")


def test_likelihoods_by_hand(tables, trials):
    columns = tables.likelihoods(trials)
    assert {m: cell.text for m, cell in columns["batch 20, mean"].items()} == {
        "BALD": "−0.003",
        "margin": "−0.050 ▼",
        "random": "(0.450)",
    }
    assert columns["batch 20, final"]["margin"].text == "−0.060 ▼"


def test_what_is_not_finished_is_left_out_and_named(page, tables, reading, runs, tmp_path):
    """slow has one seed where random has three: too few."""
    write_run(runs / "toy-dropout-20", "slow", 0, [0.4, 0.9, 0.9, 0.9], experiment="toy-dropout-20", methods=["slow"])
    write_run(runs / "toy-dropout-20", "BALD", 3, [0.4], experiment="toy-dropout-20", methods=["BALD"], finished=False)
    methods = ["random", "margin", "late"]
    write_experiment(runs, "toy-ensemble-20", methods=methods, random=SAME, margin=SAME)
    write_run(runs / "toy-ensemble-20", "late", 0, [0.4], experiment="toy-ensemble-20", methods=methods, finished=False)
    write_experiment(runs, "toy-ensemble-500", margin=SAME)
    (runs / "toy-dropout-7").mkdir()
    evidence = reading.read_evidence(runs, HALVES)
    assert [(trial.name, trial.seeds) for trial in evidence.trials] == [
        ("toy-dropout-20", [0, 1, 2]),
        ("far-away-ensemble-100", [0, 1, 2]),
    ]
    assert list(evidence.trials[0].curves) == ["random", "margin", "BALD"]
    assert evidence.left_out == [
        "of toy-dropout-20: unfinished: BALD (seed 3)",
        "of toy-dropout-20: finished, but of too few seeds, or without a pair: slow (seed 0)",
        "toy-dropout-7, as not one round is measured",
        "toy-ensemble-20, as not yet finished by late",
        "toy-ensemble-500, as there is no finished run of random to compare with",
    ]
    kept = reading.read_evidence(runs, HALVES, incomplete=True).trials
    assert [trial.name for trial in kept][1] == "toy-ensemble-20"
    assert set(tables.ranked_of(kept)) == {"random", "margin"}
    assert tables.in_order(kept)[2:] == ["BALD"]
    # BALD minus random: 0.02, -0.01 and 0 under the seeds of the one, zero in the other, nothing in the third.
    assert tables.difference(kept, tables.mean_accuracy, "BALD", "random").mean == pytest.approx(0.01 / 6)
    text = page.write_page(runs, tmp_path / "docs", half_of=HALVES, incomplete=True).read_text()
    assert "Not ranked, because not run in every experiment: BALD (in 2 of 3)." in text
    assert "**Left out**, because not finished:" in text
    assert "- of toy-dropout-20: unfinished: BALD (seed 3)" in text


def test_methods_of_fewer_seeds_are_compared_by_the_seeds_they_have(page, tables, reading, runs, tmp_path):
    """Seed 3 is 0.04 better for all: BALD, which has it, is +0.045, but higher by itself than margin with +0.05."""
    four = {"random": (0.0,) * 4, "BALD": (0.054,) * 4}
    for path in [*runs.glob("toy-dropout-20/random-*"), *runs.glob("toy-dropout-20/BALD-*")]:
        path.unlink()
    write_experiment(runs, "toy-dropout-20", methods=["random", "margin", "BALD"], **four)
    (trial, other) = reading.read_evidence(runs, HALVES).trials
    assert (trial.seeds, list(trial.curves["margin"])) == ([0, 1, 2, 3], [0, 1, 2])
    own = {method: np.mean(list(trial.scores(tables.mean_accuracy, method).values())) for method in trial.curves}
    assert own == pytest.approx({"random": 0.56, "margin": 0.60, "BALD": 0.605})
    assert tables.gap(trial, "margin", "random").mean == pytest.approx(0.05)
    assert tables.best(trial) == ("margin", set())
    assert tables.mean_ranks([trial], [*four, "margin"]) == {"random": 3.0, "BALD": 2.0, "margin": 1.0}
    assert trial.start == pytest.approx(0.41)
    assert page.counted([trial, other]) == "3 to 4"
    assert page.fewer_seeds([trial, other], ["margin", "BALD", "random"]) == {"3": ["margin"]}
    assert page.counted([trial, other], "BALD") == "3 to 4"
    text = page.write_page(runs, tmp_path / "docs", half_of=HALVES).read_text()
    assert "- Seeds: 3 to 4; 3 of margin." in text


def test_other_records_are_refused(reading, runs, tmp_path):
    for seed in range(3):
        write_run(runs / "toy-dropout-20", "short", seed, [0.4, 0.5], experiment="toy-dropout-20", methods=["short"])
    with pytest.raises(RecordError, match=r"short-seed0\.jsonl were not measured at the same numbers of labels"):
        reading.read_evidence(runs, HALVES)
    for seed in range(3):
        (runs / "toy-dropout-20" / f"short-seed{seed}.jsonl").unlink()
    other = write_run(runs / "toy-dropout-20", "BALD", 3, [0.4], experiment="toy-dropout-20", text="other")
    with pytest.raises(InputError, match="are of two experiments: their 'text' differs"):
        reading.read_evidence(runs, HALVES)
    other.unlink()
    (runs / "toy-dropout-20").rename(runs / "toy-dropout-30")
    with pytest.raises(RecordError, match="holds the experiment toy-dropout-20, expected toy-dropout-30"):
        reading.read_evidence(runs, HALVES)
    with pytest.raises(RecordError, match=r"holds nothing to compare.*found none"):
        reading.read_evidence(tmp_path / "absent", HALVES)


def test_full_supervision_is_read_and_checked(reading, tmp_path):
    path = tmp_path / "full_supervision.txt"
    assert reading.read_supervision(path) == ({}, [])
    path.write_text(SUPERVISION + SUPERVISION.replace("toy-", "far-away-").replace("0.790 ± 0.004", "0.650 ± nan"))
    found, said = reading.read_supervision(path)
    assert found == {"toy-dropout": 0.79, "far-away-dropout": 0.65}
    assert said == ["2 cores, no GPU; accuracy ± standard error over 5 seeds"] * 2
    assert len(reading.read_supervision(DOCS / "results" / "full_supervision.txt")[0]) == 14
    for number, line in ((4, SUPERVISION.splitlines()[2]), (4, "toy-ensemble   0.79"), (4, "a  9  1.2 ± 0.1")):
        path.write_text(f"{SUPERVISION}{line}\n")
        with pytest.raises(RecordError, match=f"line {number}: expected POOL-POSTERIOR"):
            reading.read_supervision(path)


def test_cliques_by_hand(pictures):
    assert pictures.cliques([1.0, 1.5, 2.4, 2.6, 9.0], 1.5) == [(0, 2), (1, 3)]
    assert pictures.cliques([1.0, 3.0], 2.0) == []
    assert pictures.cliques([1.0, 1.0, 1.1], 0.5) == [(0, 2)]


def test_the_page_holds_every_experiment(page, runs, tmp_path):
    text = page.write_page(runs, tmp_path / "docs", half_of=HALVES, default="margin").read_text()
    assert text.startswith("<!-- Generated from docs/default/ by `python experiments/default_results.py`.")
    for told in (
        "2 experiments on 2 pools, with 3 methods: BALD, margin, random.",
        "BALD has the best mean rank over 2 experiments, 1.75.",
        "margin, the candidate for the default, has the mean rank 2.00, and differs from random by +0.00 percentage",
        "| [far-away](#far-away) | confirm | ensemble | 100 | 20 | 3 | Toy: 100 gray pictures. |",
        "- Machine: 2 cores",
        "- Commit: abc123",
        "- Full supervision: 2 cores, no GPU;",
        "### Batches of 100\n\n**Confirm**",
        "| margin | **+5.00 ▲** | +5.00 ▲<br>[+5.00, +5.00] |",
        "### Against random",
        "### Against margin",
        "not better than the initial accuracy: far-away-ensemble-100.",
    ):
        assert told in text
    assert "Left out" not in text
    assert "should be equal" not in text
    rows = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(rows) == 1 + 2 + 2 + 4 + 3
    assert all(len({row.count(" | ") for row in table.splitlines()}) == 1 for table in rows)
    found = re.findall(r"\]\((default/[^)]*)\)", text)
    assert found == ["default/critical_difference.png", "default/toy.png", "default/far-away.png"]
    for picture in found:
        with Image.open(tmp_path / "docs" / picture) as image:
            pixels = np.asarray(image.convert("RGB")).astype(int) @ [65536, 256, 1]
        assert len(np.unique(pixels)) > 5
    with pytest.raises(InputError, match="no run of the candidate LBB is finished: there are BALD, margin, random"):
        page.write_page(runs, tmp_path / "docs", half_of=HALVES, default="LBB")


def test_the_page_is_made_of_the_records_alone(page, reading, runs, tmp_path):
    """The same bytes from archives as from folders; one accuracy of a later round changed, another page and picture."""

    def made(records, name):
        path = page.write_page(records, tmp_path / name, half_of=HALVES)
        files = [path, path.with_name("choose.md"), *sorted((tmp_path / name / "default").iterdir())]
        return {file.name: file.read_bytes() for file in files}

    archives = tmp_path / "archives"
    assert len(reading.pack_finished(runs, archives)) == 2
    (archives / "full_supervision.txt").write_text(SUPERVISION)
    first = made(runs, "first")
    assert made(archives, "second") == first
    run = runs / "toy-dropout-20" / "margin-seed0.jsonl"
    run.write_text(run.read_text().replace('"accuracy":0.56,', '"accuracy":0.41,'))
    changed = made(runs, "third")
    differ = [name for name in first if first[name] != changed[name]]
    assert differ == ["evidence.md", "choose.md", "choose.png", "toy.png"]


def test_the_best_of_each_kind_in_each_situation(page, reading, runs):
    """margin is above by 0.05 in the one experiment, and below by as much in the other; BALD by 0.02, 0 and −0.01."""
    import default_choose

    trials = reading.read_evidence(runs, HALVES).trials
    kinds = {"random": "predictions", "margin": "features", "BALD": "predictions"}
    found = {row["situation"]: row for row in default_choose.situations(trials, kinds)}
    assert list(found) == [
        "all",
        "batches of 100",
        "dropout, K = 50",
        "an ensemble, K = 5",
        "images",
        "ten classes at most",
    ]
    assert found["all"]["experiments"] == "2"
    assert found["dropout, K = 50"]["features"] == "**margin** +5.00 [+5.00, +5.00]"
    assert found["an ensemble, K = 5"]["features"] == "**margin** −5.00 [−5.00, −5.00]"
    assert found["an ensemble, K = 5"]["predictions"] == "**BALD** +0.00 [+0.00, +0.00]"
    assert found["dropout, K = 50"]["predictions"].startswith("**BALD** +0.33 [")
    both = default_choose.situations(trials, dict.fromkeys(kinds, "features"))
    assert both[0]["features"] == "**BALD** +0.17 [−0.50, +1.00]<br>≈ margin"
    assert both[0]["predictions"] == "–"


def test_what_was_asked_of_a_default(page, reading, runs):
    trials = reading.read_evidence(runs, HALVES).trials
    told = " ".join(page.goals(trials, "margin"))
    assert "every experiment: 1 of 2; another method is better in far-away-ensemble-100." in told
    assert "The best mean rank: 2.00; the best of the others is 1.75." in told
    # 0.751 is more than random reaches, which ends at 0.7.
    assert "pairs" not in told
    assert "30% fewer" not in told
    (runs / "full_supervision.txt").write_text(SUPERVISION.replace("0.790", "0.650"))
    told = " ".join(page.goals(reading.read_evidence(runs, HALVES).trials, "margin"))
    assert "to close 90% of the gap: +" in told
    assert "over the 3 of 3 pairs of runs in which both do. In 0 more pairs margin alone does" in told
    (runs / "full_supervision.txt").write_text(SUPERVISION.replace("0.790", "0.745"))
    told = " ".join(page.goals(reading.read_evidence(runs, HALVES).trials, "margin"))
    # 0.7105: margin ends at 0.76, 0.78 and 0.74; random at 0.7, 0.72 and 0.68.
    told_of_three = (
        "over the 1 of 3 pairs of runs in which both do. In 2 more pairs margin alone does, in 0 random alone."
    )
    assert told_of_three in told


def test_runs_that_go_on_and_networks_of_pixels_have_their_own_tables(page, tables, reading, runs, tmp_path):
    """90% of the gap are at 0.625: after 45, 41 and 49 labels by random, after 33, 29 and 37 by margin."""
    (runs / "full_supervision.txt").write_text(SUPERVISION.replace("0.790", "0.650"))
    write_experiment(runs / "saved", "toy-dropout-20", random=SAME, margin=ABOVE)
    write_experiment(runs / "saved", "toy-dropout-100", random=(0.0,) * 4, margin=(-0.06,) * 4)
    (runs / "saved" / "toy-dropout-100" / "margin-seed0.jsonl").unlink()
    write_experiment(runs / "pixels", "toy-dropout-20", random=SAME, margin=BELOW)
    saved = reading.read_further(runs / "saved", HALVES)
    columns = tables.saved_by_pool(saved, "margin")
    assert texts(columns["batch 20, dropout"])["toy"] == ("+27% [+24, +29] ▲", "45 → 33")
    assert texts(columns["batch 20, dropout"])["mean"] == ("+27% [+24, +29] ▲", "")
    # The start is 0.41. Seeds 1 and 3 of margin reach 0.626 after 53.2 and 49.2 labels, random after 41.2 and 37.2.
    assert texts(columns["batch 100, dropout"])["toy"] == ("−31% [−32, −29] ▼", "39 → 51, 2 of 4")
    text = page.write_page(runs, tmp_path / "docs", half_of=HALVES, default="margin").read_text()
    assert "in 2 experiments ([below](#until-the-gap-is-closed)): −2% [" in text
    assert "in batches of 20 +27% [+24, +29] ▲, of 100 −31% [−32, −29] ▼." in text
    assert "| toy | +27% [+24, +29] ▲<br>45 → 33 |" in text
    assert "([below](#networks-that-learn-from-pixels)): 22.2% of a round of 2 s." in text
    assert "| margin | −5.00 ▼ | −5.00 ▼<br>[−5.00, −5.00] |" in text.split("## Networks that learn")[1]
    assert reading.read_further(runs / "absent", HALVES) == []


def test_what_might_mend_the_candidate_is_compared_with_it_where_it_is_behind(page, tables, reading, runs, tmp_path):
    """The mean along the curve gains 5/6 of what three of four rounds do."""
    write_experiment(runs / "mends", "toy-dropout-20", random=SAME, margin=ABOVE, half=LEVEL)
    mends = reading.read_further(runs / "mends", HALVES)
    columns = tables.apart_from(mends, "margin")
    assert list(columns) == ["toy-dropout-20"]
    assert texts(columns["toy-dropout-20"]) == {
        "random": ("−5.00 ▼", "[−5.00, −5.00]"),
        "half": ("−4.67 ▼", "[−6.00, −3.00]"),
    }
    assert tables.apart_from(mends, "absent") == {}
    assert tables.only_above(mends, "random") == ["margin"]
    write_experiment(runs / "mends", "toy-dropout-100", random=SAME, margin=BELOW, half=ABOVE)
    two = reading.read_further(runs / "mends", HALVES)
    assert tables.only_above(two, "random") == ["half"]
    assert tables.only_above(two, "half") == []
    text = page.write_page(runs, tmp_path / "docs", half_of=HALVES, default="margin").read_text()
    assert "are [below](#variants-of-margin)." in text.split("## What was run")[0]
    section = text.split("## Variants of margin\n")[1].split("\n## ")[0]
    assert "on toy in batches of 20, 100;" in section
    assert "| half | −4.67 ▼<br>[−6.00, −3.00] | +10.00 ▲" in section
    assert "and worse in none: no variant." in section
    without = page.write_page(runs, tmp_path / "docs", half_of=HALVES).read_text()
    assert "Variants of" not in without


def test_what_might_mend_it_runs_beside_what_it_is_compared_with(page):
    from tonsure.experiments import load

    planned = load.experiments(EXPERIMENTS / "default.py", "mends")
    everywhere = {one.name: one for one in load.experiments(EXPERIMENTS / "default.py", "choose")}
    assert len(planned) == 4
    for one in planned:
        compared = one.methods.keys() & everywhere[one.name].methods.keys()
        assert compared == {"random", "facility-location", "BAIT"}
        assert all(one.text_of(method) == everywhere[one.name].text_of(method) for method in compared)


def test_an_experiment_without_a_measured_round_is_left_out(reading, runs):
    """Its runs have begun: a header, and the batch before the first labels."""
    run = runs / "toy-dropout-20" / "BALD-seed0.jsonl"
    header, first = run.read_text().splitlines()[:2]
    begun = re.sub(r'"labeled":\d+', '"labeled":0', re.sub(r'"metrics":{[^}]*}', '"metrics":{}', first))
    folder = runs / "toy-ensemble-20"
    folder.mkdir()
    (folder / run.name).write_text(f"{header.replace('toy-dropout-20', folder.name)}\n{begun}\n")
    evidence = reading.read_evidence(runs, HALVES)
    assert evidence.left_out == ["toy-ensemble-20, as not one round is measured"]
    assert len(evidence.trials) == 2


def test_methods_without_a_run_are_named_once(reading, runs):
    for path in runs.glob("*/*.jsonl"):
        path.write_text(path.read_text().replace('"BALD"]', '"BALD","LBB"]'))
    with pytest.raises(RecordError, match="not yet finished by LBB"):
        reading.read_evidence(runs, HALVES)
    evidence = reading.read_evidence(runs, HALVES, incomplete=True)
    assert evidence.left_out == ["without any run, though the experiments name them: LBB (in 2 of 2)"]
    # Once a run does not name it any more, it has left the experiment.
    path = runs / "toy-dropout-20" / "BALD-seed2.jsonl"
    path.write_text(path.read_text().replace('"BALD","LBB"]', '"BALD"]'))
    evidence = reading.read_evidence(runs, HALVES, incomplete=True)
    assert evidence.left_out == ["without any run, though the experiments name them: LBB (in 1 of 2)"]


def test_candidates_of_the_choosing_half_alone_are_said_and_have_no_row_where_they_never_ran(page, runs, tmp_path):
    text = page.write_page(runs, tmp_path / "docs", half_of=HALVES).read_text()
    assert "Candidates that were not chosen" not in text
    write_experiment(runs, "toy-dropout-20", EPIG=ABOVE)
    text = page.write_page(runs, tmp_path / "docs", half_of=HALVES).read_text()
    assert "Candidates that were not chosen\nwere run on the choosing half only: EPIG." in text
    assert "| EPIG | +5.00 ▲ ≈ |" in text.split("### Batches of 20")[1].split("### Batches of 100")[0]
    assert "EPIG" not in text.split("### Batches of 100")[1].split("## Over all experiments")[0]


def test_what_methods_see(page):
    import default_choose

    kinds = default_choose.sees()
    for kind, methods in {
        "features": (
            "facility-location",
            "half-whitened",
            "UHerding",
            "novelty",
            "BADGE",
            "CoreSet",
            "TypiClust",
            "ProbCover",
            "BAIT",
        ),
        "predictions": (
            "random",
            "margin",
            "prediction-coverage",
            "discounted-margin",
            "EPIG",
            "BALD",
            "BatchBALD",
            "released-LBB",
        ),
    }.items():
        assert {kinds[method] for method in methods} == {kind}


def test_only_finished_runs_are_packed(reading, runs, tmp_path, capsys):
    experiment = {"experiment": "toy-dropout-20", "methods": ["random", "margin", "BALD"]}
    (runs / "toy-dropout-20" / "BALD-seed2.jsonl").unlink()
    write_run(runs / "toy-dropout-20", "BALD", 2, [0.4, 0.5], finished=False, **experiment)
    write_experiment(runs, "toy-dropout-20-small", random=SAME)
    packed = reading.pack_finished(runs, tmp_path / "archives")
    assert [path.name for path in packed] == ["far-away-ensemble-100.jsonl.xz", "toy-dropout-20.jsonl.xz"]
    names = list(read_archive(packed[1]))
    assert len(names) == 8
    assert "BALD-seed2.jsonl" not in names
    assert "toy-dropout-20: BALD, seed 2 (measured up to 40 labels)" in capsys.readouterr().err


def test_the_command(page, runs, tmp_path, monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["default_results.py", *map(str, words)])
        page.main()
        return capsys.readouterr().out

    archives, docs = tmp_path / "archives", tmp_path / "docs"
    assert re.fullmatch(r"(.*\.jsonl\.xz  [\d,]+ bytes\n){2}", call("--records", archives, "--pack", runs))
    assert call("--records", archives, "--out", docs, "--default", "margin") == f"{docs}/evidence.md\n"
    with pytest.raises(SystemExit, match="2"):
        call("--records", tmp_path / "absent")


@pytest.mark.usefixtures("annotations_unchecked")
def test_the_page_in_the_documentation_is_made_of_the_records_beside_it(page, tmp_path, monkeypatch):
    # The text is compared, and the pictures are not: other tests draw them, from fewer records.
    monkeypatch.setattr(page, "learning_curves", lambda trials, highlighted: b"")
    text = page.write_page(DOCS / "default", tmp_path, default=page.CANDIDATE).read_text()
    assert text == (DOCS / "evidence.md").read_text()
    assert (tmp_path / "choose.md").read_text() == (DOCS / "choose.md").read_text()
    for picture in re.findall(r"\]\((default/[^)]+\.png)\)", text):
        assert (DOCS / picture).stat().st_size < 200_000, picture
