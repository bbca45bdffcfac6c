"""The pictures of the page of evidence, as PNG."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
from default_results_runs import BASELINE, Trial

from tonsure.report.html import figures
from tonsure.report.statistics import Estimate

DPI = 120
INKS = 96  # so few colors that a picture of thirty methods stays below 200 kB


def cliques(means: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """Of ascending mean ranks, the longest stretches (first, last) that end less than ``critical`` after they begin."""
    ends = [max(j for j in range(i, len(means)) if means[j] - means[i] < critical) for i in range(len(means))]
    return [(i, end) for i, end in enumerate(ends) if end > i and (i == 0 or ends[i - 1] < end)]


def critical_difference_picture(means: Mapping[str, float], critical: float) -> bytes:
    """PNG: mean ranks on an axis, the best at the left; bars join methods that are not told apart (Demšar 2006)."""
    named = sorted(means.items(), key=lambda pair: pair[1])
    bars = cliques([mean for _, mean in named], critical)
    left = -(-len(named) // 2)
    below = 0.22 + 0.1 * len(bars)  # where the names begin, in inches below the axis
    step, above = 0.19, 0.62
    height = above + below + step * left + 0.1
    with _png(height) as (figure, png):
        axes = figure.add_axes((0.2, 0.0, 0.6, 1.0))
        low, high = 1.0, float(max(len(named), 2))
        axes.set(xlim=(low, high), ylim=(above - height, above))
        axes.set_axis_off()
        axes.plot([low, high], [0, 0], color=figures.INK, linewidth=1.0, clip_on=False)
        for tick in range(1, len(named) + 1, 1 if len(named) <= 16 else 2):
            axes.plot([tick, tick], [0, 0.06], color=figures.INK, linewidth=1.0, clip_on=False)
            axes.text(tick, 0.09, f"{tick}", ha="center", va="bottom", fontsize=8)
        axes.plot([low, low + critical], [0.4, 0.4], color=figures.INK, linewidth=2.0, clip_on=False)
        axes.text(low, 0.44, f"critical difference {critical:.2f}", ha="left", va="bottom", fontsize=8)
        for place, (first, last) in enumerate(bars):
            ends = [named[first][1] - 0.03, named[last][1] + 0.03]
            axes.plot(ends, [-0.12 - 0.1 * place] * 2, color=figures.INK, linewidth=3.0, solid_capstyle="butt")
        for place, (method, mean) in enumerate(named):
            at_left = place < left
            y = -below - step * (place if at_left else len(named) - 1 - place)
            end, align = (low - 0.02 * (high - low), "right") if at_left else (high + 0.02 * (high - low), "left")
            ink = figures.INK if method != BASELINE else figures.color(5)
            axes.plot([mean, mean, end], [0, y, y], color=ink, linewidth=0.8, clip_on=False)
            axes.text(end, y, f" {method}  {mean:.2f} ", ha=align, va="center", fontsize=8.5, color=ink)
    return png.getvalue()


def learning_curves(trials: Sequence[Trial], highlighted: Sequence[str]) -> bytes:
    """PNG: a row of panels per posterior, a column per batch; means over seeds, in gray but for the highlighted."""
    posteriors, batches = sorted({trial.posterior for trial in trials}), sorted({trial.batch for trial in trials})
    there = {(trial.posterior, trial.batch): trial for trial in trials}
    height = 2.8 * len(posteriors) + 0.85
    with _png(height) as (figure, png):
        panels = figure.subplots(len(posteriors), len(batches), sharex="col", squeeze=False)
        figure.subplots_adjust(0.07, 0.5 / height, 0.99, 1 - 0.8 / height, hspace=0.22, wspace=0.14)
        drawn: dict[str, Any] = {}
        for axes, (posterior, batch) in zip(panels.ravel(), product(posteriors, batches), strict=True):
            axes.set_visible((posterior, batch) in there)
            axes.set_title(f"{posterior}, batches of {batch}")
            axes.tick_params(labelbottom=True, length=2)
            if trial := there.get((posterior, batch)):
                # The best are drawn last, on top of the others.
                for method in sorted(trial.curves, key=lambda m: -highlighted.index(m) if m in highlighted else -99):
                    drawn[method] = _draw(axes, trial, method, highlighted)
        known = [method for method in highlighted if method in drawn]
        others = [method for method in drawn if method not in highlighted]
        handles = [drawn[method] for method in known + others[:1]]
        figure.legend(handles, known + ["others"] * bool(others), loc="upper center", ncols=4, frameon=False)
        figure.supxlabel("labels", fontsize=9, y=0.0, va="bottom")
        figure.supylabel("accuracy", fontsize=9, x=0.0, ha="left")
    return png.getvalue()


def _draw(axes: figures.Axes, trial: Trial, method: str, highlighted: Sequence[str]) -> Any:
    own, base = trial.curves[method], trial.curves[BASELINE]
    gain = np.mean([one.accuracy - base[seed].accuracy for seed, one in own.items()], axis=0)
    mean = np.mean([one.accuracy for one in base.values()], axis=0) + gain
    if method not in highlighted:
        return axes.plot(trial.labels, mean, color=figures.FAINT, linewidth=0.9)[0]
    place = highlighted.index(method)
    style = {"color": figures.color(place), "linestyle": figures.DASHES[place % len(figures.DASHES)], "linewidth": 1.3}
    marker, every = figures.MARKERS[place % len(figures.MARKERS)], max(1, len(mean) // 6)
    return axes.plot(trial.labels, mean, marker=marker, markevery=every, markersize=3.5, **style)[0]


def differences(
    of_batch: Mapping[int, Mapping[str, Estimate]], methods: Sequence[str], highlighted: Sequence[str]
) -> bytes:
    """PNG: a panel for each batch, a line for each method: its difference to the baseline in percent, with interval."""
    height = 0.24 * len(methods) + 0.9
    with _png(height) as (figure, png):
        panels = figure.subplots(1, len(of_batch), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(0.15, 0.5 / height, 0.99, 1 - 0.35 / height, wspace=0.08)
        for axes, (batch, found) in zip(panels, of_batch.items(), strict=True):
            axes.set_title(f"batches of {batch}")
            axes.axvline(0, color=figures.GRAY, linewidth=0.9)
            for place, method in enumerate(methods):
                if method in found:
                    one, ink = found[method], figures.color(4) if method in highlighted else figures.color(5)
                    axes.plot([100 * one.low, 100 * one.high], [place, place], color=ink, linewidth=1.6)
                    axes.plot([100 * one.mean], [place], color=ink, marker="o", markersize=4.5)
            axes.set_yticks(range(len(methods)), methods)
            axes.tick_params(length=2)
            axes.set_ylim(len(methods) - 0.5, -0.5)
        figure.supxlabel(f"mean accuracy minus that of {BASELINE}, percent", fontsize=9, y=0.0, va="bottom")
    return png.getvalue()


@contextmanager
def _png(height: float) -> Iterator[tuple[Any, io.BytesIO]]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from PIL import Image  # matplotlib brings it along

    with rc_context(figures.STYLE):  # type: ignore[arg-type, unused-ignore]  # its keys are literals in some versions
        figure, png = Figure(figsize=(figures.WIDTH, height)), io.BytesIO()
        yield figure, png
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
        few = Image.open(png).convert("RGB").quantize(INKS, dither=Image.Dither.NONE)
        png.seek(0)
        png.truncate()
        few.save(png, format="png", optimize=True)
