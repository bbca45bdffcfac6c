"""The page of results, docs/results.md and its pictures, from the archives of the experiments.

python experiments/results.py --pack runs 'mnist-*' 'cifar*'  # finished experiments of runs/, into docs/results/
python experiments/results.py                                 # the page, from the archives in docs/results/
python experiments/results.py --records runs --out tried      # a page elsewhere, from the folders in runs/

An experiment is called POOL-POSTERIOR-BATCH or POOL-POSTERIOR-BATCH-SCALE, such as cifar100-ensemble-200-small. The
page is made of records alone: the same archives give the same bytes. It needs the extra ``report``.
"""

import argparse
import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np

from tonsure.errors import MissingExtraError, RecordError, TonsureError
from tonsure.experiments.archive import ENDING, pack
from tonsure.report.html import figures
from tonsure.report.results import RecordedRun, Results, mean_accuracies, read_results
from tonsure.report.statistics import Estimate, Scores, best_and_tied, estimate, over_seeds, paired
from tonsure.report.tables import Cell, Columns, costs_table, labels_table, metrics_table, provenance, result_in_words

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
NAME = re.compile(r"(?P<pool>.+)-(?P<posterior>[^-]+)-(?P<batch>\d+)(?P<scale>-[a-z]+)?")
WIDEST = 8  # so many experiments stand side by side in the overview
NOT_RUN = {
    "BatchBALD": "not run in large batches, nor with many classes in middling ones, as its cost grows with both; and "
    "all that it can tell apart, log K with K posterior samples, is told long before such a batch is full",
}
"""Why a method is missing from some experiments, where there is more to say than that it is."""


@dataclass(frozen=True)
class Trial:
    """An experiment, its name taken apart; a scale belongs to the name of the pool."""

    pool: str
    posterior: str
    batch: int
    results: Results

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """The mean accuracy along the curve, for every method with a seed that has got as far as all have."""
        return {method: of_seeds for method, of_seeds in mean_accuracies(self.results).items() if of_seeds}

    def gap(self, method: str) -> Estimate:
        """How far a method is from the baseline along the curve; the baseline itself is not compared."""
        others = self.scores.get(self.results.baseline, {})
        return paired(self.scores[method], others if method != self.results.baseline else {})

    def rank(self, method: str) -> float:
        """Among the methods of the experiment, by the mean over seeds, 1 the highest; equals share their places."""
        means = np.array([over_seeds(of_seeds).mean for of_seeds in self.scores.values()])
        own = over_seeds(self.scores[method]).mean
        return float(np.sum(means > own) + (np.sum(means == own) + 1) / 2)


def read_trials(folder: Path) -> list[Trial]:
    """All experiments of ``folder``, as archives or as folders of records, by pool, posterior and batch.

    Other files, and folders that are not called as an experiment of this page, are passed over.

    Raises:
        RecordError: no experiment at all, or one that is not called as its file, or not as those of this page.
    """
    trials = []
    for place in sorted(folder.glob("*")):
        found = NAME.fullmatch(name := place.name.removesuffix(ENDING))
        if place.name == name and not (found and place.is_dir()):
            continue
        results = read_results(place)
        if not found or results.name != name:
            expected = name if found else "a name POOL-POSTERIOR-BATCH or POOL-POSTERIOR-BATCH-SCALE"
            raise RecordError(f"{place} holds the experiment {results.name}, expected {expected}")
        pool = found["pool"] + (found["scale"] or "")
        trials.append(Trial(pool, found["posterior"], int(found["batch"]), results))
    if not trials:
        raise RecordError(f"{folder} holds no experiment: expected archives POOL-POSTERIOR-BATCH-SCALE{ENDING}")
    return sorted(trials, key=lambda trial: (trial.pool, trial.posterior, trial.batch))


def methods_of(trials: Sequence[Trial]) -> list[str]:
    """Every method that was measured, in the experiments' own order, by the longest list where lists differ."""
    longest_first = sorted(trials, key=lambda trial: -len(trial.results.places))
    listed = dict.fromkeys(method for trial in longest_first for method in trial.results.places)
    return [method for method in listed if any(method in trial.results.measured for trial in trials)]


def said(trials: Sequence[Trial], key: str) -> list[str]:
    """What the runs say of themselves under a key of ``provenance``, each once."""
    return list(dict.fromkeys(text for trial in trials for text in provenance(trial.results).get(key, [])))


# Tables


def overview(trials: Sequence[Trial]) -> Columns:
    """For each experiment, the mean accuracy along the curve, and below it the paired difference to the baseline."""
    notes = [{method: _reach(trial.gap(method)) for method in trial.scores} for trial in trials]
    headings = [f"{trial.posterior}, {trial.batch}" for trial in trials]
    return {heading: _accuracies(t.scores, n) for heading, t, n in zip(headings, trials, notes, strict=True)}


def standing(trials: Sequence[Trial]) -> Columns:
    """Over all, by batch and by posterior: the mean rank, and how often above / not told from / below the baseline."""
    groups = {"all": list(trials)}
    for name in ("batch", "posterior"):
        for value in sorted({getattr(trial, name) for trial in trials}):
            groups[f"{name} {value}"] = [trial for trial in trials if getattr(trial, name) == value]
    columns: Columns = {}
    for heading, group in groups.items():
        cells = columns[f"{heading} ({len(group)})"] = {}
        for method in methods_of(group):
            there = [trial for trial in group if method in trial.scores]
            gaps = [gap for trial in there if (gap := trial.gap(method)).count]
            above, below = sum(gap.low > 0 for gap in gaps), sum(gap.high < 0 for gap in gaps)
            counts = f"{above} / {len(gaps) - above - below} / {below}" if gaps else ""
            if there:
                cells[method] = Cell(f"{np.mean([trial.rank(method) for trial in there]):.1f}", counts)
    return columns


def details(results: Results) -> Columns:
    """All that the page tells of one experiment."""
    metrics, needed = metrics_table(results), labels_table(results)
    along = metrics["mean accuracy along the curve"]
    columns = {
        "mean accuracy": {method: replace(cell, note="") for method, cell in along.items()},
        f"minus {results.baseline}": {method: Cell(cell.note) for method, cell in along.items()},
    }
    for count in round_counts(results.start, results.end):
        columns[f"at {count:,} labels"] = _accuracies(results.scores(partial(_accuracy_at, count)))
    for level, cells in list(needed.items())[-3:]:
        columns[f"labels for {level}"] = {m: Cell("not reached") if c.text == "–" else c for m, c in cells.items()}
    final = metrics["final negative log likelihood"]
    columns["final NLL"] = {method: replace(cell, note="") for method, cell in final.items()}
    return columns | {"select (s)": costs_table(results)["select (s)"]}


def round_counts(start: int, end: int) -> list[int]:
    """Up to three round numbers above ``start`` up to ``end``: of the coarsest grid that has three, evenly spread."""
    inside: list[int] = []
    for step in (digit * 10**power for power in range(9, -1, -1) for digit in (5, 2, 1)):
        inside = list(range(step * (start // step + 1), end + 1, step))
        if len(inside) >= 3:
            break
    return [inside[round(place)] for place in np.linspace(0, len(inside) - 1, min(3, len(inside)))]


def _accuracy_at(count: int, run: RecordedRun) -> float:
    return float(run.curve("accuracy", np.array([count]))[0])


def _accuracies(scores: Mapping[str, Scores], notes: Mapping[str, str] | None = None) -> dict[str, Cell]:
    best, tied = best_and_tied(scores)
    means = {method: f"{over_seeds(of_seeds).mean:.3f}" for method, of_seeds in scores.items() if of_seeds}
    return {m: Cell(text, (notes or {}).get(m, ""), m == best, m in tied) for m, text in means.items()}


def _reach(gap: Estimate) -> str:
    """The mean, half of its 95% interval, and on which side of zero that lies."""
    interval = f" ± {gap.high - gap.mean:.3f}" if gap.has_interval else ""
    side = " ▲" if gap.low > 0 else " ▼" if gap.high < 0 else ""
    return f"{gap.mean:+.3f}{interval}{side}".replace("-", "−") if gap.count else ""


def markdown(columns: Columns, methods: Sequence[str], of: str = "method") -> str:
    """A table with a row for each method; the best of a column is bold, and what is tied with it has the mark ≈."""
    rows = [[of, *columns], ["---", *["--:"] * len(columns)]]
    rows += [[method, *(_cell(cells.get(method)) for cells in columns.values())] for method in methods]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    text = f"**{cell.text}**" if cell.best else f"{cell.text} ≈" if cell.tied else cell.text
    return f"{text}<br>{cell.note}" if cell.note else text


# Pictures


def curves(trials: Sequence[Trial], methods: Sequence[str]) -> bytes:
    """PNG: a row of panels per posterior, a column per batch; means over seeds with their 95% intervals."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    posteriors, batches = sorted({trial.posterior for trial in trials}), sorted({trial.batch for trial in trials})
    there = {(trial.posterior, trial.batch): trial.results for trial in trials}
    height, png = 2.7 * len(posteriors) + 0.85, io.BytesIO()
    with rc_context(figures.STYLE):  # type: ignore[arg-type, unused-ignore]  # its keys are literals in some versions
        figure = Figure(figsize=(figures.WIDTH, height))
        panels = figure.subplots(len(posteriors), len(batches), sharex="col", sharey=True, squeeze=False)
        figure.subplots_adjust(0.065, 0.5 / height, 0.985, 1 - 0.75 / height, hspace=0.25, wspace=0.08)
        drawn: dict[str, Any] = {}
        for axes, (posterior, batch) in zip(panels.ravel(), product(posteriors, batches), strict=True):
            axes.set_visible((posterior, batch) in there)
            axes.set_title(f"{posterior}, batches of {batch}")
            axes.tick_params(labelbottom=True, length=2)
            if results := there.get((posterior, batch)):
                drawn |= {method: _draw(axes, results, method, methods.index(method)) for method in results.measured}
        # Bands may leave the panel: three seeds can have wide ones.
        heights = [r["metrics"]["accuracy"] for trial in trials for run in trial.results.runs for r in run.rounds]
        panels[0, 0].set_ylim(min(heights) - 0.02, min(max(heights) + 0.02, 1.005))
        named = [method for method in methods if method in drawn]
        columns = len(named) if len(named) <= 8 else 5
        figure.legend([drawn[m] for m in named], named, loc="upper center", ncols=columns, frameon=False)
        figure.supxlabel("labels", fontsize=9, y=0.0, va="bottom")
        figure.supylabel("accuracy", fontsize=9, x=0.0, ha="left")
        figure.savefig(png, format="png", dpi=figures.DPI, metadata={"Software": None})
    return png.getvalue()


def _draw(axes: figures.Axes, results: Results, method: str, place: int) -> Any:
    """The line of a method, as far as all its seeds have got: beyond, a mean of some would bend it."""
    values = np.stack([run.curve("accuracy", results.labels) for run in results.measured[method]])
    reached = ~np.isnan(values).any(axis=0)
    labels, points = results.labels[reached], [estimate(column) for column in values.T[reached]]
    low, mean, high = np.array([(point.low, point.mean, point.high) for point in points]).reshape(-1, 3).T
    style = {"color": figures.color(place), "linestyle": figures.DASHES[place % len(figures.DASHES)], "linewidth": 1.3}
    axes.fill_between(labels, low, high, color=style["color"], alpha=0.13, linewidth=0)
    every, marker = max(1, len(labels) // 10), figures.MARKERS[place % len(figures.MARKERS)]
    return axes.plot(labels, mean, marker=marker, markevery=every, markersize=3.5, **style)[0]


# The page


def write_page(records: Path, out: Path) -> Path:
    """Writes ``results.md`` into ``out``, and a picture for each pool into its folder ``results``."""
    try:
        import matplotlib  # noqa: F401
        import scipy.stats  # noqa: F401
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("the page of results", "report") from error

    trials = read_trials(records)
    methods = methods_of(trials)
    pools = {pool: list(of_pool) for pool, of_pool in groupby(trials, key=lambda trial: trial.pool)}
    missing = [method for method in methods if any(method not in trial.scores for trial in trials)]
    not_run = {method: NOT_RUN.get(method, "not run in all experiments") for method in missing}
    page = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.globals |= {part.__name__: part for part in (overview, standing, details, markdown, result_in_words, said)}
    names = {"trials": trials, "methods": methods, "pools": pools, "not_run": not_run, "widest": WIDEST}
    text = page.get_template("results.md.jinja").render(names)
    (out / "results").mkdir(parents=True, exist_ok=True)
    for pool, of_pool in pools.items():
        (out / "results" / f"{pool}.png").write_bytes(curves(of_pool, methods))
    (out / "results.md").write_text(f"{text.strip()}\n", encoding="utf-8")
    return out / "results.md"


def pack_finished(runs: Path, names: Sequence[str], into: Path, *, unfinished: bool = False) -> list[Path]:
    """Packs every experiment of ``runs`` whose name fits; one with runs unfinished or missing only if asked to."""
    packed, fitting = [], {folder for name in names for folder in runs.glob(name) if NAME.fullmatch(folder.name)}
    for folder in sorted(folder for folder in fitting if folder.is_dir()):
        results = read_results(folder)
        if (left := results.unfinished + results.missing) and not unfinished:
            print(f"{folder} is not packed, as runs are unfinished or missing: {'; '.join(left)}", file=sys.stderr)
        else:
            packed.append(into / f"{folder.name}{ENDING}")
            pack(folder, packed[-1])
    return packed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=DOCS / "results", help="a folder of archives or of experiments")
    parser.add_argument("--out", type=Path, default=DOCS, help="the folder of results.md; pictures go to its results/")
    parser.add_argument("--pack", nargs="+", metavar=("RUNS", "NAME"), help="pack finished experiments into --records")
    parser.add_argument("--unfinished", action="store_true", help="pack what is not finished as well")
    words = parser.parse_args()
    try:
        if words.pack:
            runs, *names = words.pack
            for path in pack_finished(Path(runs), names or ["*"], words.records, unfinished=words.unfinished):
                print(f"{path}  {path.stat().st_size:,} bytes")
        else:
            print(write_page(words.records, words.out))
    except TonsureError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
