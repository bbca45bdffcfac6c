"""The tables of a report and the sentences of its result."""

import re
from dataclasses import dataclass
from statistics import median

import numpy as np

from tonsure.report.results import RecordedRun, Results, finals, mean_accuracies, seconds
from tonsure.report.statistics import (
    Array,
    Estimate,
    Scores,
    best_and_tied,
    labels_needed,
    over_seeds,
    paired,
    round_levels,
)

NUMBER = re.compile(r"\d+(?:\.\d+)?")


# Tables


@dataclass(frozen=True)
class Cell:
    """A number as text, and a smaller line below it. ``tied``: statistically tied with the best of the column."""

    text: str
    note: str = ""
    best: bool = False
    tied: bool = False


Columns = dict[str, dict[str, Cell]]  # heading -> method -> cell


def metrics_table(results: Results) -> Columns:
    columns: Columns = {}
    for heading, scores, higher in (
        ("mean accuracy along the curve", mean_accuracies(results), True),
        ("final accuracy", finals(results, "accuracy"), True),
        ("final negative log likelihood", finals(results, "negative_log_likelihood"), False),
        ("final calibration error", finals(results, "calibration_error"), False),
    ):
        best, tied = best_and_tied(scores, higher)
        columns.setdefault("seeds", {method: Cell(str(len(of_seeds))) for method, of_seeds in scores.items()})
        columns[heading] = {
            method: Cell(
                _with_error(over_seeds(of_seeds), 3),
                difference(paired(of_seeds, scores[results.baseline])) if method != results.baseline else "",
                best=method == best,
                tied=method in tied,
            )
            for method, of_seeds in scores.items()
        }
    return columns


def labels_table(results: Results) -> Columns:
    """The number of labels at which the curve of a seed first reaches an accuracy: means over seeds."""
    start = max(float(run.rounds[0]["metrics"]["accuracy"]) for runs in results.measured.values() for run in runs)
    end = max(over_seeds(of_seeds).mean for of_seeds in finals(results, "accuracy").values())
    columns: Columns = {}
    for level in round_levels(start, end):
        needed = {
            method: {run.seed: labels_needed(*_accuracy(run), level) for run in runs}
            for method, runs in results.measured.items()
        }
        # A mean over the seeds that reached it would favor methods that often do not: these are not compared.
        failed = {method: int(np.isnan(list(of_seeds.values())).sum()) for method, of_seeds in needed.items()}
        best, tied = best_and_tied({m: of_seeds for m, of_seeds in needed.items() if not failed[m]}, higher=False)
        columns[f"{level * 100:.3g}%"] = {
            method: Cell(
                _with_error(over_seeds(of_seeds), 1 if results.end < 1000 else 0),
                f"not reached in {failed[method]} of {_seeds(len(of_seeds))}" if failed[method] else "",
                best=method == best,
                tied=method in tied,
            )
            for method, of_seeds in needed.items()
        }
    return columns


def costs_table(results: Results) -> Columns:
    """The median time of each step over all rounds and seeds, and the largest memory of any run."""
    columns: Columns = {}
    for step in ("fit", "predict", "select"):
        by_method = {method: seconds(results, method, step) for method in results.measured}
        medians = {method: median(taken) if taken else np.nan for method, taken in by_method.items()}
        least = min((value for value in medians.values() if value > 0), default=1.0)
        digits = int(np.clip(1 - np.floor(np.log10(least)), 2, 4))  # two digits of the least, where four can
        columns[f"{step} (s)"] = {method: Cell(_number(value, digits)) for method, value in medians.items()}
    columns["peak memory (MiB)"] = {}
    for method, runs in results.measured.items():
        peaks = [r["peak_memory"] for run in runs for r in run.rounds if r.get("peak_memory") is not None]
        columns["peak memory (MiB)"][method] = Cell(_number(max(peaks, default=np.nan) / 2**20, 0))
    return columns


def positive_table(results: Results, most: int = 8) -> Columns:
    """The number of rows of a batch with a positive gain: the median over seeds, and the range."""
    batches = {
        method: [r for run in runs for r in run.rounds if r["rows"] and r.get("positive") is not None]
        for method, runs in results.measured.items()
    }
    numbers = sorted({r["round"] for records in batches.values() for r in records})
    if not numbers:
        return {}
    columns: Columns = {"all rounds": {}}
    for method, records in batches.items():
        total = f"{sum(r['positive'] for r in records):,} of {sum(len(r['rows']) for r in records):,}"
        columns["all rounds"][method] = Cell(total if records else "–")
    shown = dict.fromkeys(numbers[round(i)] for i in np.linspace(0, len(numbers) - 1, most))
    for number in shown:
        counts = {m: [r["positive"] for r in records if r["round"] == number] for m, records in batches.items()}
        columns[f"round {number}"] = {
            method: Cell(f"{median(found):g}", f"{min(found)} to {max(found)}" if len(set(found)) > 1 else "")
            if found
            else Cell("–")
            for method, found in counts.items()
        }
    return columns


def count_warnings(results: Results) -> list[tuple[str, int, str]]:
    """Each warning, the number of rounds in which it was recorded, and its methods; the most frequent first.

    Warnings that differ only in numbers are merged, with the range of each number: "only 14–17 of the 40 rows".
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for run in results.runs:
        for text in (text for r in run.rounds for text in r.get("warnings") or ()):
            groups.setdefault(NUMBER.sub("0", text), []).append((text, run.method))
    counted = []
    for group in sorted(groups.values(), key=len, reverse=True):
        at_each_place = zip(*(NUMBER.findall(text) for text, _ in group), strict=True)
        spans = ["–".join(dict.fromkeys((min(n, key=float), max(n, key=float)))) for n in at_each_place]
        merged = NUMBER.sub("{}", group[0][0].replace("{", "{{").replace("}", "}}")).format(*spans)
        methods = {method for _, method in group}
        counted.append((merged, len(group), ", ".join(method for method in results.places if method in methods)))
    return counted


def _accuracy(run: RecordedRun) -> tuple[Array, Array]:
    labels = np.array(run.labeled, dtype=float)
    return labels, run.curve("accuracy", labels)


# Words


def result_in_words(results: Results) -> list[str]:
    """The result in two sentences, and then its qualifications."""
    scores = {method: of_seeds for method, of_seeds in mean_accuracies(results).items() if of_seeds}
    span = f"mean accuracy along the curve from {results.start:,} to {results.end:,} labels"
    heights = {
        method: f"{_with_error(over_seeds(of_seeds), 3)}, over {_seeds(len(of_seeds))}"
        for method, of_seeds in scores.items()
    }
    best, tied = best_and_tied(scores)
    if best is None:
        alone = [f"{method} has a {span} of {height}." for method, height in heights.items()]
        return [
            *alone,
            "No two methods have been measured at the same numbers of labels: there is nothing to compare yet.",
        ]
    sentences = [f"{best} has the highest {span}: {heights[best]}."]
    if best == results.baseline:
        rest = [method for method in scores if method != best]
        following = max(rest, key=lambda method: over_seeds(scores[method]).mean)
        sentences.append(f"No method is better than {best} on average. {_compare(results, scores, following)}")
    else:
        sentences.append(_compare(results, scores, best))
    if tied:
        names = ", ".join(method for method in scores if method in tied)
        reason = "the paired interval includes zero, or fewer than two seeds are shared"
        sentences.append(f"Statistically tied with {best}: {names} ({reason}).")
    if len({tuple(of_seeds) for of_seeds in scores.values()}) > 1:
        sentences.append("Not all methods have the same seeds; a difference is over the seeds that both have.")
    if len(results.seeds) > 1:
        sentences.append(
            "Intervals assume that the differences are about normal. Each holds for one comparison; they are not "
            f"corrected for having selected the best of {len(scores)} methods."
        )
    return sentences


def _compare(results: Results, scores: dict[str, Scores], method: str) -> str:
    """One method compared with the baseline."""
    baseline = results.baseline
    gap = paired(scores[method], scores.get(baseline, {}))
    if not gap.count:
        return f"{method} cannot be compared with {baseline}: no seed of both has reached the same number of labels."
    differs = f"{method} minus {baseline}: {_signed(gap.mean)}"
    if not gap.has_interval:
        return f"{differs}, with one seed, which gives no interval."
    interval = f"95% interval {_signed(gap.low)} to {_signed(gap.high)}"
    found = f"{differs} ({interval}, paired over {_seeds(gap.count)})"
    if not gap.excludes_zero:
        return f"{found}. The interval includes zero: the two are statistically tied."
    return f"{found}. The interval does not include zero."


def provenance(results: Results) -> dict[str, list[str]]:
    """The data, versions and machine of the runs; all of them where runs differ."""

    def said(key: str) -> list[str]:
        found = [run.header.get(key) for run in results.runs]
        texts = [", ".join(f"{k} {v}" for k, v in x.items()) if isinstance(x, dict) else str(x or "") for x in found]
        return [text for text in dict.fromkeys(texts) if text]

    finished = sum(run.finished for run in results.runs)
    facts = {
        "Data": said("data"),
        "Seeds": [", ".join(map(str, results.seeds))],
        "Batch": [f"{k} labels a round" for k in said("k")],
        "Runs": [f"{finished} finished of {len(results.places) * len(results.seeds)}"],
        "Machine": said("machine"),
        "Versions": said("versions"),
        "Commit": said("commit"),
    }
    return {name: texts for name, texts in facts.items() if texts}


def _number(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else f"{value:,.{digits}f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _with_error(value: Estimate, digits: int) -> str:
    return _number(value.mean, digits) + (f" ± {value.error:,.{digits}f}" if value.has_interval else "")


def difference(value: Estimate) -> str:
    if not value.count:
        return "no pair"
    return _signed(value.mean) + (f" [{_signed(value.low)}, {_signed(value.high)}]" if value.has_interval else "")


def _seeds(count: int) -> str:
    return f"{count} seeds" if count != 1 else "1 seed"
