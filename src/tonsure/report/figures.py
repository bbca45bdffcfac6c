"""The figures of a report, from plain numbers to PNG bytes. This module does not depend on records or experiments.

matplotlib is imported only when something is drawn, and used without pyplot, so that no figure stays open. The place of
a method in the list of its experiment determines its color, line and marker.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Axes = Any  # matplotlib's, which is imported only where something is drawn

WIDTH = 10.4  # inches
DPI = 170
INK, GRAY, FAINT = "#1f2328", "#6a737d", "#d5d9de"
# Okabe and Ito (2008), "Color universal design", without its yellow, which white paper swallows.
COLORS = ("#4d4d4d", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#8a6d00")
MARKERS = ("o", "s", "^", "D", "v", "P", "*", "<", ">")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2)))
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,  # a method may be called what it likes
    "axes.edgecolor": GRAY,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#eceef0",
    "grid.linestyle": "-",
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class Line:
    """The values of a method at each number of labels: of every seed, and their mean with its interval.

    They are nan where nothing was measured. ``complete`` is false where seeds of the experiment are missing.
    """

    name: str
    place: int
    labels: Array
    of_seeds: Array  # [seeds, labels]
    mean: Array
    low: Array
    high: Array
    complete: Array
    note: str = ""


@dataclass(frozen=True)
class Dots:
    """The seconds of a method: one array per round, with one value per seed."""

    name: str
    place: int
    rounds: Sequence[Array]


@dataclass(frozen=True)
class Strip:
    """The pictures of one batch in the order selected, and the class counts of the whole batch."""

    name: str
    place: int
    pictures: Array  # uint8, [b, H, W] or [b, H, W, 3]
    counts: Array  # [classes]
    classes: Sequence[str]


def color(place: int) -> str:
    return COLORS[place % len(COLORS)]


def learning_curves(lines: Sequence[Line]) -> bytes:
    """All means in one panel, with names at their ends; below it a panel per method, with its seeds and interval."""
    columns = min(4, len(lines))
    rows = -(-len(lines) // columns)
    with _figure(4.7 + 2.05 * rows) as (figure, png):
        top, bottom = figure.subfigures(2, 1, height_ratios=[4.7, 2.05 * rows])
        overview = top.subplots()
        top.subplots_adjust(left=0.062, right=1 - (_room(lines) + 0.25) / WIDTH, top=0.94, bottom=0.115)
        for line in lines:
            _mean(overview, line)
        overview.set(xlabel="labels", ylabel="accuracy")
        overview.set_title("Mean over seeds")
        if len(lines[0].labels) <= 12:
            overview.set_xticks(lines[0].labels)
        overview.margins(x=0.02)
        _name_at_the_end(overview, lines)

        panels = bottom.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        bottom.subplots_adjust(
            left=0.062,
            right=0.985,
            top=1 - 0.28 / (2.05 * rows),
            bottom=0.45 / (2.05 * rows),
            hspace=0.3,
            wspace=0.1,
        )
        measured = np.concatenate([line.of_seeds.ravel() for line in lines])
        for axes, line in _each(panels, lines):
            for other in lines:
                axes.plot(other.labels, other.mean, color=FAINT, linewidth=0.8)
            _band(axes, line)
            axes.set_title(_short(line.name))
        panels[0, 0].set_ylim(*_limits(measured, measured, least=0.0, most=1.0))
        bottom.supxlabel("labels", fontsize=9, y=0.0, va="bottom")
    return png.getvalue()


def differences(lines: Sequence[Line], baseline: str) -> bytes:
    """A panel per method: the difference to the baseline for each seed, the mean and its interval."""
    columns = min(3, len(lines))
    rows = -(-len(lines) // columns)
    height = 2.35 * rows + 0.35
    with _figure(height) as (figure, png):
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(
            left=0.075, right=0.985, top=1 - 0.45 / height, bottom=0.5 / height, hspace=0.42, wspace=0.08
        )
        for axes, line in _each(panels, lines):
            axes.axhline(0, color=GRAY, linewidth=1)
            _band(axes, line)
            axes.set_title(_short(line.name), pad=17)
            axes.text(0, 1.035, line.note, transform=axes.transAxes, fontsize=8, color=GRAY)
        measured = np.concatenate([line.of_seeds.ravel() for line in lines] + [np.zeros(1)])
        bands = np.concatenate([array for line in lines for array in (line.low, line.high)])
        panels[0, 0].set_ylim(*_limits(measured, bands))
        panels[0, 0].yaxis.set_major_formatter(lambda value, _: f"{value:+.3g}".replace("-", "−") if value else "0")
        figure.supxlabel("labels", fontsize=9, y=0.0, va="bottom")
        figure.supylabel(f"accuracy minus that of {baseline}", fontsize=9, x=0.0, ha="left")
    return png.getvalue()


def selection_seconds(dots: Sequence[Dots]) -> bytes:
    """A row per method with a dot per batch, rounds from top to bottom, and a bar at the median."""
    height = 0.42 * len(dots) + 0.75
    with _figure(height) as (figure, png):
        axes = figure.subplots()
        figure.subplots_adjust(left=(_room(dots) + 0.2) / WIDTH, right=0.90, top=1 - 0.1 / height, bottom=0.5 / height)
        for row, method in enumerate(dots):
            heights = row + np.linspace(-0.26, 0.26, len(method.rounds)) if len(method.rounds) > 1 else [row]
            style = {"color": color(method.place), "marker": MARKERS[method.place % len(MARKERS)]}
            for y, seconds in zip(heights, method.rounds, strict=True):
                axes.plot(seconds, np.full(len(seconds), y), linestyle="none", markersize=3.6, alpha=0.65, **style)
            median = float(np.median(np.concatenate(method.rounds)))
            axes.plot([median, median], [row - 0.4, row + 0.4], color=INK, linewidth=1.6)
            axes.text(1.01, row, f"{median:#.3g} s", transform=axes.get_yaxis_transform(), va="center", color=INK)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        axes.set_xlabel("seconds to select one batch")
        axes.set_yticks(range(len(dots)), [_short(method.name) for method in dots])
        axes.set_ylim(len(dots) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
    return png.getvalue()


def contact_sheet(strips: Sequence[Strip], columns: int = 20) -> bytes:
    """A block per method: pictures in the order selected, row by row, and the class counts at the left."""
    columns = min(columns, max(len(strip.pictures) for strip in strips))
    sheets = [_tiled(strip.pictures, columns) for strip in strips]
    left, right, gap = 2.35, WIDTH - 0.05, 0.3
    # Few pictures are drawn no larger than a picture needs.
    width = min(right - left, 0.62 * columns)
    heights = [max(width * sheet.shape[0] / sheet.shape[1], 1.05) for sheet in sheets]
    total = sum(heights) + gap * len(heights)
    with _figure(total) as (figure, png):
        top = total - gap / 2
        for strip, sheet, height in zip(strips, sheets, heights, strict=True):
            drawn = width * sheet.shape[0] / sheet.shape[1]
            box = (left / WIDTH, (top - drawn) / total, width / WIDTH, drawn / total)
            axes = figure.add_axes(box)
            axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, aspect="auto")
            axes.set_axis_off()
            covered = f"{np.count_nonzero(strip.counts)} of {len(strip.counts)} classes"
            figure.text(0.05 / WIDTH, top / total, _short(strip.name), va="top", weight="bold")
            figure.text(0.05 / WIDTH, (top - 0.19) / total, covered, va="top", fontsize=8, color=GRAY)
            bars = figure.add_axes((0.05 / WIDTH, (top - 0.88) / total, 1.9 / WIDTH, 0.46 / total))
            _histogram(bars, strip)
            top -= height + gap
    return png.getvalue()


@contextmanager
def _figure(height: float) -> Iterator[tuple[Any, io.BytesIO]]:
    """A figure to draw on, and the buffer that holds the PNG afterwards."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):  # type: ignore[arg-type, unused-ignore]  # its keys are literals in some versions
        figure, png = Figure(figsize=(WIDTH, height)), io.BytesIO()
        yield figure, png
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})


def _mean(axes: Axes, line: Line, markersize: float = 5.0) -> None:
    style = {
        "color": color(line.place),
        "marker": MARKERS[line.place % len(MARKERS)],
        "markersize": markersize,
    }
    there = ~np.isnan(line.mean)
    dashes = DASHES[line.place % len(DASHES)]
    every = -(-int(there.sum()) // 12)  # of more points than that, some have a marker
    axes.plot(line.labels[there], line.mean[there], linestyle=dashes, linewidth=1.6, markevery=every, **style)
    partly = np.flatnonzero(there)[::every]
    partly = partly[~line.complete[partly]]
    axes.plot(line.labels[partly], line.mean[partly], linestyle="none", markerfacecolor="white", **style)


def _band(axes: Axes, line: Line) -> None:
    axes.fill_between(line.labels, line.low, line.high, color=color(line.place), alpha=0.2, linewidth=0)
    for of_seed in line.of_seeds:
        axes.plot(line.labels, of_seed, color=color(line.place), linewidth=0.7, alpha=0.6)
    _mean(axes, line, markersize=4.0)


def _each(panels: Array, lines: Sequence[Line]) -> Iterator[tuple[Axes, Line]]:
    """Each line with its panel; unused panels are hidden, and the panels above them get tick labels."""
    columns = panels.shape[1]
    for number, axes in enumerate(panels.ravel()):
        if number < len(lines):
            axes.tick_params(labelbottom=number + columns >= len(lines), length=2)
            yield axes, lines[number]
        else:
            axes.set_visible(False)


def _name_at_the_end(axes: Axes, lines: Sequence[Line]) -> None:
    low, high = axes.get_ylim()
    drawn = [line for line in lines if not np.isnan(line.mean).all()]
    last = [int(np.flatnonzero(~np.isnan(line.mean))[-1]) for line in drawn]
    heights = np.array([(line.mean[i] - low) / (high - low) for line, i in zip(drawn, last, strict=True)])
    for line, i, height in zip(drawn, last, _spread(heights, 0.052), strict=True):
        axes.annotate(
            _short(line.name),
            xy=(line.labels[i], line.mean[i]),
            xytext=(1.022, height),
            textcoords="axes fraction",
            va="center",
            annotation_clip=False,
            fontsize=9,
            arrowprops={
                "arrowstyle": "-",
                "color": color(line.place),
                "linewidth": 0.8,
                "relpos": (0, 0.5),
                "shrinkA": 2,
                "shrinkB": 4,
            },
        )


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _room(named: Sequence[Line] | Sequence[Dots]) -> float:
    """The width of the longest name in inches, at about 0.08 per letter."""
    return 0.08 * max(len(_short(one.name)) for one in named) + 0.1


def _spread(heights: Array, gap: float) -> Array:
    """Heights at least ``gap`` apart in the same order, close to those given, within [0, 1] if possible.

    Moving all heights up, or all down, makes the gaps; so does their average, which keeps the middle of a cluster.
    """
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    level = heights[order] - steps
    up = np.maximum.accumulate(level)
    down = np.minimum.accumulate(level[::-1])[::-1]
    spread = np.clip((up + down) / 2, 0.0, max(0.0, 1.0 - gap * (len(heights) - 1))) + steps
    result = np.empty_like(heights)
    result[order] = spread
    return result


def _limits(measured: Array, bands: Array, least: float = -np.inf, most: float = np.inf) -> tuple[float, float]:
    """The limits of all values; bands may extend them by at most the measured span on either side."""
    low, high = float(np.nanmin(measured)), float(np.nanmax(measured))
    span = high - low or 0.01
    bands = bands[~np.isnan(bands)]
    low = max(min([low, *bands]), low - span)
    high = min(max([high, *bands]), high + span)
    margin = 0.06 * (high - low) or 0.01
    return max(low - margin, least), min(high + margin, most + 0.005)


def _tiled(pictures: Array, columns: int) -> Array:
    """Pictures side by side, [H, W] or [H, W, 3], white between them and where the last row ends."""
    count, height, width, *channels = pictures.shape
    border = max(1, round(width / 16))
    rows = -(-count // columns)
    shape = (rows * (height + border) - border, columns * (width + border) - border, *channels)
    sheet = np.full(shape, 255, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        y, x = (number // columns) * (height + border), (number % columns) * (width + border)
        sheet[y : y + height, x : x + width] = picture
    return sheet


def _histogram(axes: Axes, strip: Strip) -> None:
    places = range(len(strip.counts))
    axes.bar(places, strip.counts, color=color(strip.place), width=0.8)
    axes.set(xlim=(-0.6, len(places) - 0.4), ylim=(0, 1.3 * max(int(strip.counts.max()), 1)), xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    if len(places) <= 12:
        for place, count in zip(places, strip.counts, strict=True):
            if count:
                axes.text(place, count, f"{count}", fontsize=6.5, ha="center", va="bottom", color=GRAY)
        if max(map(len, strip.classes)) <= 3:
            axes.set_xticks(places, strip.classes, fontsize=6.5)
            axes.tick_params(length=0, pad=2)
