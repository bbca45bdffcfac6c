import itertools
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from tonsure.errors import FileError, InputError, MissingExtraError, RecordError
from tonsure.experiments.archive import pack
from tonsure.experiments.records import Record, append_record, read_records
from tonsure.report import html
from tonsure.report.html import figures, write_report
from tonsure.report.results import read_results
from tonsure.report.statistics import estimate, labels_needed, mean_height, paired, round_levels
from tonsure.report.tables import (
    Cell,
    costs_table,
    count_warnings,
    labels_table,
    metrics_table,
    positive_table,
    result_in_words,
)

METHODS = ["random", "BALD", "LBB"]
# The accuracy of random, after 20, 40, 60 and 80 labels, without what a seed adds.
CURVE = (0.60, 0.70, 0.80, 0.85)
# What a seed adds to every method: it is in each curve, and in no difference.
OF_SEED = (0.0, 0.02, -0.03)
# What LBB adds to random from the second round on, by seed.
OF_LBB = (0.05, 0.06, 0.04)


def write_run(folder: Path, method: str, seed: int, accuracies: list[float], **changes: object) -> Path:
    """A run of len(accuracies) rounds with 20 labels in each; it is finished if ``finished``."""
    header = {
        "kind": "experiment",
        "experiment": "toy",
        "method": method,
        "methods": METHODS,
        "seed": seed,
        "data": "Toy: 100 gray pictures.",
        "text": "Experiment(\n    name='toy', classes=<3>,\n)",
        "k": 20,
        "classes": ["a", "b", "c"],
        "versions": {"tonsure": "0.1.0", "torch": "2.13.0"},
        "commit": "abc123",
        "machine": "2 cores",
    } | {key: value for key, value in changes.items() if key in ("experiment", "data", "text", "methods", "classes")}
    path = folder / f"{method}-seed{seed}.jsonl"
    append_record(path, header)
    for number, accuracy in enumerate(accuracies):
        last = number == len(accuracies) - 1 and changes.get("finished", True)
        append_record(
            path,
            {
                "kind": "round",
                "round": number,
                "labeled": 20 * (number + 1),
                "metrics": {
                    "accuracy": accuracy,
                    "negative_log_likelihood": 1 - accuracy,
                    "calibration_error": None,
                },
                "seconds": {"fit": 1.0 + number, "predict": 0.0 if last else 0.25, "select": 0.0 if last else 0.5},
                "peak_memory": 2**20 * (100 + number),
                "rows": [] if last else list(range(20)),
                "labels": [] if last else [0, 1] * 10,
                "gains": [],
                "positive": 0 if last else 12 + seed,
                "warnings": [] if last else [f"{8 - seed} of 20 picks <had> no {{gain}}"],
            },
        )
    return path


def write_runs(folder: Path, seeds: int) -> None:
    for seed, method in itertools.product(range(seeds), METHODS):
        gain = {"random": 0.0, "BALD": -0.01, "LBB": OF_LBB[seed]}[method]
        write_run(folder, method, seed, [x + OF_SEED[seed] + gain * (n > 0) for n, x in enumerate(CURVE)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods, three seeds, finished, with gray pictures; the report is written."""
    folder = tmp_path_factory.mktemp("runs")
    write_runs(folder, seeds=3)
    (folder / "pictures").mkdir()
    for method, number in itertools.product(METHODS, (0, 1)):
        pictures = np.random.default_rng(number).integers(0, 256, (20, 8, 8), dtype=np.uint8)
        np.save(folder / "pictures" / f"{method}-seed0-round{number}.npy", pictures)
    assert write_report(folder) == folder / "report.html"
    return folder


def html_of(folder: Path) -> str:
    return write_report(folder).read_text()


# Statistics


def test_estimate_agrees_with_scipy() -> None:
    values = [0.3, 0.5, 0.45, 0.6]
    found = estimate(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found.mean == pytest.approx(0.4625)
    assert found.error == pytest.approx(stats.sem(values))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_paired_agrees_with_scipy_on_shared_seeds() -> None:
    ours, theirs = {0: 0.8, 1: 0.7, 2: 0.9, 3: 0.1}, {2: 0.8, 1: 0.65, 0: 0.78, 4: 0.9}
    found = paired(ours, theirs)
    expected = stats.ttest_rel([0.8, 0.7, 0.9], [0.78, 0.65, 0.8]).confidence_interval(0.95)
    assert (found.low, found.high, found.count) == pytest.approx((expected.low, expected.high, 3))


def test_paired_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, s = 1, t(0.975; 2) = 4.30265."""
    found = paired({0: 2.0, 1: 4.0, 2: 6.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert (found.low, found.high) == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), rel=1e-5)


def test_one_seed_tells_nothing_apart() -> None:
    alone, none = estimate([0.5]), estimate([float("nan")])
    assert (alone.mean, alone.count, none.count) == (0.5, 1, 0)
    assert np.isnan(alone.low)
    assert not alone.excludes_zero
    assert estimate([0.5, 0.5]).excludes_zero


def test_mean_height_is_area_by_width() -> None:
    labels, values = np.array([10.0, 20.0, 50.0]), np.array([0.2, 0.4, 0.6])
    assert mean_height(labels, values) == pytest.approx((10 * 0.3 + 30 * 0.5) / 40)
    assert mean_height(labels, values) == pytest.approx(
        np.interp(np.linspace(10, 50, 4001), labels, values).mean(), abs=1e-4
    )
    assert mean_height(labels[:1], values[:1]) == 0.2
    assert np.isnan(mean_height(labels[:0], values[:0]))


@pytest.mark.parametrize(
    ("level", "expected"), [(0.5, 10.0), (0.6, 10.0), (0.65, 15.0), (0.7, 20.0), (0.75, 37.5), (0.9, np.nan)]
)
def test_labels_needed(level: float, expected: float) -> None:
    """The first time counts: 0.7 is reached at 20 labels, though the curve falls afterwards."""
    labels, values = np.array([10.0, 20.0, 30.0, 40.0]), np.array([0.6, 0.7, 0.6, 0.8])
    assert labels_needed(labels, values, level) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.61, 0.97, [0.7, 0.8, 0.9, 0.95]),
        (0.1, 0.995, [0.8, 0.9, 0.95, 0.98, 0.99]),
        (0.5, 0.64, [0.56, 0.58, 0.6, 0.62, 0.64]),
        (0.7, 0.85, [0.75, 0.8, 0.85]),
        (0.8, 0.8, []),
    ],
)
def test_round_levels(low: float, high: float, expected: list[float]) -> None:
    assert round_levels(low, high) == pytest.approx(expected)


# Tables


def test_differences_are_taken_seed_by_seed(folder: Path) -> None:
    """LBB adds 0.05, 0.06, 0.04 in all rounds but the first, so 5/6 of it along the curve of four rounds."""
    cell = metrics_table(read_results(folder))["mean accuracy along the curve"]["LBB"]
    random = np.array(OF_SEED) + (0.65 + 0.75 + 0.825) / 3
    lbb = random + np.array(OF_LBB) * 5 / 6
    interval = stats.ttest_rel(lbb, random).confidence_interval(0.95)
    assert cell.text == f"{lbb.mean():.3f} ± {stats.sem(lbb):.3f}"
    assert cell.note == f"{(lbb - random).mean():+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
    assert cell.note == "+0.042 [+0.021, +0.062]"
    assert (cell.best, cell.tied) == (True, False)


def test_metrics_table_marks_best_and_lacks_what_was_not_measured(folder: Path) -> None:
    table = metrics_table(read_results(folder))
    assert table["final accuracy"]["BALD"].note == "−0.010 [−0.010, −0.010]"
    assert table["final negative log likelihood"]["LBB"].best
    assert not any(cell.tied for cell in table["final accuracy"].values())
    assert {cell.text for cell in table["final calibration error"].values()} == {"–"}


def test_a_difference_that_may_be_zero_is_tied(tmp_path: Path) -> None:
    for seed, (ours, theirs) in enumerate([(0.8, 0.7), (0.7, 0.75), (0.9, 0.8)]):
        write_run(tmp_path, "random", seed, [0.5, theirs])
        write_run(tmp_path, "LBB", seed, [0.5, ours])
    results = read_results(tmp_path)
    cells = metrics_table(results)["final accuracy"]
    assert (cells["LBB"].best, cells["LBB"].tied, cells["random"].best, cells["random"].tied) == (
        True,
        False,
        False,
        True,
    )
    assert "The interval includes zero" in result_in_words(results)[1]


def test_labels_table(folder: Path) -> None:
    """random's own curves reach 0.8 at 60, 56 and 72 labels: the third lies 0.03 lower, on the flatter end."""
    table = labels_table(read_results(folder))
    assert list(table) == ["65%", "70%", "75%", "80%", "85%"]
    cell = table["80%"]["random"]
    needed = [60.0, 56.0, 72.0]
    assert cell.text == f"{np.mean(needed):.1f} ± {stats.sem(needed):.1f}"
    assert table["80%"]["LBB"].best


def test_a_level_not_reached_by_every_seed_does_not_win(folder: Path) -> None:
    cells = labels_table(read_results(folder))["85%"]
    assert cells["random"].note == "not reached in 1 of 3 seeds"
    assert cells["BALD"].note == "not reached in 2 of 3 seeds"
    assert cells["LBB"].note == ""
    assert not cells["BALD"].best


def test_costs_table(folder: Path) -> None:
    """The last round predicts and selects nothing: its 0 seconds do not count."""
    cell = {heading: column["BALD"].text for heading, column in costs_table(read_results(folder)).items()}
    assert cell == {"fit (s)": "2.50", "predict (s)": "0.25", "select (s)": "0.50", "peak memory (MiB)": "103"}


def test_positive_table(folder: Path) -> None:
    table = positive_table(read_results(folder))
    assert list(table) == ["all rounds", "round 0", "round 1", "round 2"]
    assert table["all rounds"]["LBB"].text == f"{3 * (12 + 13 + 14)} of 180"
    assert table["round 1"]["LBB"] == Cell("13", "12 to 14")


def test_warnings_that_differ_in_numbers_are_one(folder: Path) -> None:
    expected = [("6–8 of 20 picks <had> no {gain}", 27, "random, BALD, LBB")]
    assert count_warnings(read_results(folder)) == expected


# Words


def test_result_says_how_much_better_than_random(folder: Path) -> None:
    first, second, *rest = result_in_words(read_results(folder))
    assert first == (
        "LBB has the highest mean accuracy along the curve from 20 to 80 labels: 0.780 ± 0.019, over 3 seeds."
    )
    assert second == (
        "LBB minus random: +0.042 (95% interval +0.021 to +0.062, paired over 3 seeds). "
        "The interval does not include zero."
    )
    assert not any("Statistically tied" in sentence for sentence in rest)


def test_result_where_random_is_best(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, "random", seed, [0.5, 0.7])
        write_run(tmp_path, "BALD", seed, [0.5, 0.6 + 0.01 * seed])
    first, second, *_ = result_in_words(read_results(tmp_path))
    assert first.startswith("random has the highest")
    assert second.startswith("No method is better than random on average. BALD minus random: −0.04")


def test_result_of_one_seed_claims_nothing(tmp_path: Path) -> None:
    write_runs(tmp_path, seeds=1)
    results = read_results(tmp_path)
    sentences = result_in_words(results)
    assert sentences[1] == "LBB minus random: +0.042, with one seed, which gives no interval."
    assert "Statistically tied with LBB: random, BALD" in sentences[2]
    assert metrics_table(results)["final accuracy"]["LBB"].text == "0.900"


def test_result_of_one_method(tmp_path: Path) -> None:
    write_run(tmp_path, "LBB", 0, [0.5, 0.7], methods=["LBB"])
    sentences = result_in_words(read_results(tmp_path))
    assert sentences[0] == "LBB has a mean accuracy along the curve from 20 to 40 labels of 0.600, over 1 seed."
    assert "there is nothing to compare" in sentences[1]


def test_a_method_added_later_does_not_move_the_others(tmp_path: Path) -> None:
    write_run(tmp_path, "LBB", 0, [0.5, 0.7], methods=["random", "LBB"])
    write_run(tmp_path, "random", 0, [0.5, 0.7], methods=METHODS)
    assert list(read_results(tmp_path).places) == METHODS


# Unfinished runs


def test_unfinished_runs_are_named_and_left_out(tmp_path: Path) -> None:
    """LBB has got to 80 labels with seed 0 only, so that its row holds one seed; seed 1 of BALD is not there."""
    write_runs(tmp_path, seeds=2)
    (tmp_path / "BALD-seed1.jsonl").unlink()
    lines = (tmp_path / "LBB-seed1.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "LBB-seed1.jsonl").write_text("".join(lines[:3]) + lines[3][:50])
    (tmp_path / "random-seed9.jsonl").write_text('{"kind":"exp')
    results = read_results(tmp_path)
    assert results.unfinished == ["LBB, seed 1 (measured up to 40 labels)"]
    assert results.missing == ["BALD, seed 1"]
    assert (results.start, results.end) == (20, 80)
    assert [cell.text for cell in metrics_table(results)["seeds"].values()] == ["2", "1", "1"]
    assert metrics_table(results)["final accuracy"]["random"].tied  # one shared seed: no interval
    html = html_of(tmp_path)
    assert "Not complete." in html
    assert "1 missing: BALD, seed 1." in html


def test_the_comparison_ends_where_a_method_has_got(tmp_path: Path) -> None:
    write_run(tmp_path, "random", 0, list(CURVE))
    write_run(tmp_path, "LBB", 0, [0.6, 0.8], finished=False)
    write_run(tmp_path, "BALD", 0, [])
    results = read_results(tmp_path)
    assert (results.end, list(results.measured)) == (40, ["random", "LBB"])
    assert metrics_table(results)["final accuracy"]["random"].text == "0.700"
    assert results.unfinished == ["BALD, seed 0 (measured up to no labels)", "LBB, seed 0 (measured up to 40 labels)"]


# The page


class Resources(HTMLParser):
    """All that a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]
        if tag in ("script", "link", "iframe"):
            self.found.append(tag)


def test_page_stands_alone(folder: Path) -> None:
    html = (folder / "report.html").read_text()
    resources = Resources()
    resources.feed(html)
    assert len(resources.found) == 5
    assert all(resource.startswith("data:image/png;base64,") for resource in resources.found)
    assert not re.search(r"https?://|url\(|@import", html)


def test_page_says_what_was_recorded_and_escapes_it(folder: Path) -> None:
    html = (folder / "report.html").read_text()
    for text in ("Toy: 100 gray pictures.", "abc123", "torch 2.13.0", "20 labels a round", "9 finished of 9"):
        assert text in html
    assert "classes=&lt;3&gt;" in html
    assert "6–8 of 20 picks &lt;had&gt; no {gain}" in html
    assert "<had>" not in html
    assert "Not complete." not in html
    assert html.count('alt="') == 5
    assert "tonsure run experiments/toy.py --seeds 3" in html


@pytest.mark.parametrize(
    "name", ["learning_curves.png", "differences.png", "selection_seconds.png", "batch_0.png", "batch_1.png"]
)
def test_pictures_are_not_blank(folder: Path, name: str) -> None:
    with Image.open(folder / name) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int) @ [65536, 256, 1]
    assert len(np.unique(pixels)) > 50
    assert 0.005 < (pixels != 0xFFFFFF).mean() < 0.9


def test_nothing_is_left_beside_and_the_page_repeats(folder: Path) -> None:
    assert not list(folder.glob(".*report.html"))
    before = (folder / "report.html").read_bytes()
    write_report(folder)
    assert (folder / "report.html").read_bytes() == before


def test_one_seed_of_many_methods_and_color_pictures(tmp_path: Path) -> None:
    """More methods than colors, names that are no mathematics, more than 100 pictures, no baseline `random`."""
    methods = [f"$method_{number}$" for number in range(10)]
    (tmp_path / "pictures").mkdir()
    for number, method in enumerate(methods):
        write_run(tmp_path, method, 4, [0.5, 0.6 + number / 50], methods=methods)
    np.save(tmp_path / "pictures" / f"{methods[0]}-seed4-round0.npy", np.full((130, 4, 6, 3), 90, dtype=np.uint8))
    html = html_of(tmp_path)
    assert "There is one seed" in html
    assert "Paired differences to $method_0$" in html
    assert (tmp_path / "batch_0.png").exists()
    assert not (tmp_path / "batch_1.png").exists()


def test_one_measured_point(tmp_path: Path) -> None:
    write_run(tmp_path, "LBB", 0, [0.5])
    html = html_of(tmp_path)
    assert "No other method has been measured" in html
    assert "No pictures" in html
    assert not (tmp_path / "differences.png").exists()


# Bad input


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path))} holds no measured round: expected files <meth"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="absent holds no measured round"):
        write_report(tmp_path / "absent")
    write_run(tmp_path, "LBB", 0, [])
    with pytest.raises(InputError, match="1 of them without a round"):
        write_report(tmp_path)


def test_an_archive_is_no_folder_to_write_into(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "LBB", 0, [0.5, 0.6])
    pack(tmp_path / "runs", tmp_path / "a.jsonl.xz")
    with pytest.raises(InputError, match=r"a\.jsonl\.xz is not a folder: unpack an archive first"):
        write_report(tmp_path / "a.jsonl.xz")


@pytest.mark.parametrize(("key", "method"), [("experiment", "LBB"), ("data", "LBB"), ("text", "BALD")])
def test_two_experiments_are_refused(tmp_path: Path, key: str, method: str) -> None:
    write_run(tmp_path, "BALD", 0, [0.5, 0.6])
    write_run(tmp_path, method, 1, [0.5, 0.6], **{key: "another"})
    with pytest.raises(InputError, match=rf"BALD-seed0\.jsonl and .*{method}-seed1\.jsonl .* {key!r} differs"):
        read_results(tmp_path)


def test_a_text_may_tell_of_one_method(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, "BALD", seed, [0.5, 0.6], text="methods = BALD")
        write_run(tmp_path, "LBB", seed, [0.5, 0.6], text="methods = LBB")
    assert read_results(tmp_path).texts == {"methods = BALD": ["BALD"], "methods = LBB": ["LBB"]}


def test_a_run_recorded_twice_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, "BALD", 0, [0.5, 0.6])
    (tmp_path / "copy-seed0.jsonl").write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="both record BALD with seed 0"):
        read_results(tmp_path)


def _without_header(records: list[Record]) -> list[Record]:
    return records[1:]


def _without_a_round(records: list[Record]) -> list[Record]:
    return [*records[:2], *records[3:]]


def _without_seed(records: list[Record]) -> list[Record]:
    return [{key: value for key, value in records[0].items() if key != "seed"}, *records[1:]]


def _without_accuracy(records: list[Record]) -> list[Record]:
    return [*records[:1], records[1] | {"metrics": {"loss": 1}}, *records[2:]]


def _two_headers(records: list[Record]) -> list[Record]:
    return [*records, records[0]]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_header, "line 1: expected the header, of kind 'experiment', found kind 'round'"),
        (_without_a_round, "line 3: expected round 1, found round 2"),
        (_without_seed, "line 1: the experiment lacks seed"),
        (
            _without_accuracy,
            "line 2: expected numbers by name, with an accuracy from 0 to 1, as metrics, found {'loss': 1}",
        ),
        (_two_headers, "line 6: expected a round, of kind 'round', found kind 'experiment'"),
    ],
)
def test_damaged_records_are_refused(
    tmp_path: Path, damage: Callable[[list[Record]], list[Record]], message: str
) -> None:
    path = write_run(tmp_path, "LBB", 0, list(CURVE))
    path.write_text("".join(json.dumps(record) + "\n" for record in damage(read_records(path))))
    with pytest.raises(RecordError, match=re.escape(f"{path}, {message}")):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("field", "names"),
    [
        *[("experiment", name) for name in ("x" * 100_000, "a\nb", "../a", "")],
        *[("methods", [*METHODS, name]) for name in ("x" * 100_000, "\x1b[31m", "a/b")],
        *[("classes", [name]) for name in ("x" * 100_000, "a\nb")],
    ],
)
def test_names_that_name_nothing_are_refused_in_few_words(tmp_path: Path, field: str, names: object) -> None:
    write_run(tmp_path, "LBB", 0, [0.5, 0.6], **{field: names})
    with pytest.raises(RecordError, match=f" as {field}, found ") as caught:
        write_report(tmp_path)
    assert len(str(caught.value)) < 500


def test_pictures_that_are_none_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "LBB", 0, [0.5, 0.6])
    (tmp_path / "pictures").mkdir()
    np.save(tmp_path / "pictures" / "LBB-seed0-round0.npy", np.zeros((20, 64)))
    with pytest.raises(InputError, match=r"found float64 \[20, 64\]"):
        write_report(tmp_path)


@pytest.mark.parametrize("library", ["matplotlib", "jinja2", "scipy.stats"])
def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r"tonsure\[report\]"):
        write_report(tmp_path)


def test_contact_sheet_keeps_the_order() -> None:
    pictures = np.arange(5, dtype=np.uint8).reshape(5, 1, 1).repeat(16, 1).repeat(16, 2)
    sheet = figures._tiled(pictures, columns=3)
    assert sheet.shape == (33, 50)
    assert [int(sheet[y, x]) for y, x in itertools.product((0, 17), (0, 17, 34))] == [0, 1, 2, 3, 4, 255]


def test_labels_are_spread_and_keep_their_order() -> None:
    heights = np.array([0.9, 0.91, 0.2, 0.905])
    found = figures._spread(heights, 0.1)
    assert list(np.argsort(found)) == list(np.argsort(heights))
    assert np.diff(np.sort(found)).min() >= 0.1 - 1e-9
    assert found.max() <= 1.0
    assert found[2] == pytest.approx(0.2)


@pytest.mark.parametrize("content", [b"", b"x", b"\x93NUMPY", b"PK"])
def test_damaged_pictures_are_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pictures.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"pictures\.npy is damaged, expected the pictures that `tonsure run` writes"):
        html._pictures(tmp_path / "pictures.npy")


def test_pictures_whose_header_asks_for_all_memory_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "pictures.npy"
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 8, 8)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(640))
    with pytest.raises(InputError, match="is damaged"):
        html._pictures(path)
    np.savez(tmp_path / "two.npz", a=1, b=2)
    with pytest.raises(InputError, match="holds several arrays"):
        html._pictures((tmp_path / "two.npz").replace(path))


@pytest.mark.parametrize("name", ["report.html", "learning_curves.png"])
def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, "random", 0, [0.5, 0.6])
    (tmp_path / name).mkdir()
    with pytest.raises(FileError, match=rf"{name} cannot be written: it is a folder, expected a file"):
        write_report(tmp_path)


def test_a_name_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read: File name too long"):
        write_report(tmp_path / ("x" * 300))
