"""The report of an experiment: one HTML file and its figures."""

import base64
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tonsure.durable_files import file_errors, write_file
from tonsure.errors import InputError, MissingExtraError
from tonsure.report import figures
from tonsure.report.results import Results, mean_accuracies, read_results, seconds
from tonsure.report.statistics import Array, estimate, paired
from tonsure.report.tables import (
    costs_table,
    count_warnings,
    difference,
    labels_table,
    metrics_table,
    positive_table,
    provenance,
    result_in_words,
)

PICTURED_ROUNDS = (0, 1)
PICTURES_PER_BATCH = 100


def write_report(folder: Path) -> Path:
    """Writes ``report.html``, a single file with no external resources, and its figures as PNG files.

    Raises:
        InputError: the folder has no measured round, or runs of different experiments; or pictures are damaged.
        FileError: a file cannot be read or written.
        RecordError: a file of records is damaged or has no header.
        MissingExtraError: the extra ``report`` is not installed.
    """
    try:
        import matplotlib  # noqa: F401
        import scipy.stats  # noqa: F401
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("the report", "report") from error

    with file_errors(folder, "read"):
        if folder.is_file():
            raise InputError(
                f"{folder} is not a folder: unpack an archive first, with tonsure.experiments.archive.unpack"
            )
        results = read_results(folder)
    pictures = draw(results, folder)
    for name, png in pictures.items():
        write_file(folder / name, partial(Path.write_bytes, data=png))
    loader = PackageLoader("tonsure.report", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template("page.html.jinja").render(
        results=results,
        sentences=result_in_words(results),
        provenance=provenance(results),
        images={name: "data:image/png;base64," + base64.b64encode(png).decode() for name, png in pictures.items()},
        pictured=[number for number in PICTURED_ROUNDS if f"batch_{number}.png" in pictures],
        metrics=metrics_table(results),
        labels=labels_table(results),
        costs=costs_table(results),
        positive=positive_table(results),
        warnings=count_warnings(results),
        color=figures.color,
    )
    write_file(folder / "report.html", partial(Path.write_bytes, data=html.encode()))
    return folder / "report.html"


def draw(results: Results, folder: Path) -> dict[str, bytes]:
    """PNG files by name; figures for which nothing was recorded are left out."""
    curves = {
        method: {run.seed: run.curve("accuracy", results.labels) for run in runs}
        for method, runs in results.measured.items()
    }
    lines = [_line(results, method, of_seeds) for method, of_seeds in curves.items()]
    pictures = {"learning_curves.png": figures.learning_curves(lines)}

    base, means = curves.pop(results.baseline), mean_accuracies(results)
    gaps = []
    for method, of_seeds in curves.items():
        if pairs := {seed: curve - base[seed] for seed, curve in of_seeds.items() if seed in base}:
            along = difference(paired(means[method], means[results.baseline]))
            gaps.append(_line(results, method, pairs, f"along the curve {along}"))
    if gaps:
        pictures["differences.png"] = figures.differences(gaps, results.baseline)

    dots = []
    for method, runs in results.measured.items():
        longest = max(len(run.rounds) for run in runs)
        rounds = [seconds(results, method, "select", number) for number in range(longest)]
        if any(rounds):
            arrays = [np.array(taken) for taken in rounds if taken]
            dots.append(figures.Dots(method, results.places[method], arrays))
    if dots:
        pictures["selection_seconds.png"] = figures.selection_seconds(dots)

    for number in PICTURED_ROUNDS:
        if strips := _strips(results, folder, number):
            pictures[f"batch_{number}.png"] = figures.contact_sheet(strips)
    return pictures


def _line(results: Results, method: str, of_seeds: dict[int, Array], note: str = "") -> figures.Line:
    values = np.stack(list(of_seeds.values()))
    points = [estimate(values[:, i]) for i in range(len(results.labels))]
    mean, low, high, count = np.array([(point.mean, point.low, point.high, point.count) for point in points]).T
    complete = count == len(results.seeds)
    return figures.Line(method, results.places[method], results.labels, values, mean, low, high, complete, note)


def _strips(results: Results, folder: Path, number: int) -> list[figures.Strip]:
    """The pictures that each method selected in this round with the first seed, if they were kept."""
    strips = []
    for run in (run for runs in results.measured.values() for run in runs if run.seed == results.seeds[0]):
        path = folder / "pictures" / f"{run.method}-seed{run.seed}-round{number}.npy"
        if number >= len(run.records) or not path.exists():
            continue
        pictures = _pictures(path)
        if pictures.dtype != np.uint8 or pictures.ndim not in (3, 4) or not pictures.size:
            found = f"{pictures.dtype} {list(pictures.shape)}"
            raise InputError(f"{path}: expected pictures as uint8 [b, H, W] or [b, H, W, 3], found {found}")
        labels = np.array(run.records[number].get("labels") or [], dtype=int)
        counts = np.bincount(labels, minlength=len(run.header.get("classes") or [""]))
        named = run.header.get("classes") or []
        classes = [str(name) for name in (named if len(named) == len(counts) else range(len(counts)))]
        place = results.places[run.method]
        strips.append(figures.Strip(run.method, place, pictures[:PICTURES_PER_BATCH], counts, classes))
    return strips


def _pictures(path: Path) -> Any:
    with file_errors(path, "read"):
        try:
            # Mapped: a damaged header may ask for any amount of memory.
            pictures = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"{path} is damaged, expected the pictures that `tonsure run` writes: {error}") from error
    if not isinstance(pictures, np.ndarray):
        raise InputError(f"{path} holds several arrays, expected the pictures that `tonsure run` writes")
    return pictures
