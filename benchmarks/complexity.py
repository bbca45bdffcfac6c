"""Time and memory of BALD, BatchBALD and Large BatchBALD in N, C and b, and what their batches tell; tables, pictures.

python -m benchmarks.complexity --out FOLDER        (--quick to try it; TONSURE_DATA with MNIST for the second half)

The growth of ``tn.select``: one size grows, the others stay as they are. Every point runs in a process of its own, on
one thread, on generated predictions that lie in memory as float32. Seconds are of the processor, which on one thread
are those of the clock where nothing else runs, and change little where something does; the fastest of some runs
counts. ``beyond`` is the most memory that the process ever held, less what it held before the first of them (the
input, Python, torch, and what a selection of two from a hundred rows leaves behind). Where a point takes longer than a
limit, no larger one is measured. Exponents are slopes of least squares in log–log over the upper half of the range, on
the logarithmic scale.

The information of batches: a dropout network trained on a few labels of MNIST predicts a pool with K of its masks, and
a method chooses from these. The batch is then judged by other masks of the same network, thousands of them, which no
choice has seen: I(y_S; θ) = log K − E H[θ | y_S] over drawn labelings (``joint_information``).
"""

import argparse
import json
import math
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.posterior import Pool, generated, has_mnist
from jaxtyping import Float
from torch import Tensor, nn

import tonsure as tn
from tonsure.datasets import MNIST
from tonsure.information import conditional_entropy
from tonsure.report.figures import COLORS, GRAY, INK, MARKERS, STYLE

Result = dict[str, Any]
Search = tuple[tn.Objective[Any, Any], tn.Optimizer | None]

METHODS: dict[str, Search] = {
    "BALD": (tn.Pointwise(tn.bald), None),
    "LBB, Greedy": (tn.LargeBatchBALD(), tn.Greedy()),
    "LBB, LazyGreedy": (tn.LargeBatchBALD(), tn.LazyGreedy()),
    "second order, Greedy": (tn.SecondOrderLBB(), tn.Greedy()),
    "second order, LazyGreedy": (tn.SecondOrderLBB(), tn.LazyGreedy()),
    "BatchBALD": (tn.BatchBALD(), None),
}
ALL_LABELINGS = 10**9
"""A number of labelings at which ``BatchBALD`` never comes to draw any."""


@dataclass(frozen=True)
class Sweep:
    """One size that grows, and the two that stay; K is 20."""

    over: str
    values: Sequence[int]
    fixed: dict[str, int]

    def sizes(self, value: int) -> dict[str, int]:
        return self.fixed | {self.over: value}

    def __str__(self) -> str:
        return ", ".join(f"{name} = {value:,}" for name, value in ({"K": K} | self.fixed).items())


K = 20
SWEEPS = [
    Sweep("b", (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000), {"N": 5_000, "C": 10}),
    Sweep("N", (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000), {"C": 10, "b": 20}),
    Sweep("C", (2, 3, 5, 10, 20, 30, 50, 100), {"N": 2_000, "b": 20}),
]
LIMIT = 10.0
"""Seconds of a point after which no larger one is measured."""
ENUMERATED = (
    [(2, b) for b in (4, 8, 12, 16, 17, 18, 19)] + [(10, b) for b in range(1, 7)] + [(100, b) for b in (1, 2, 3)]
)
"""C and b; up to 10⁶ labelings, N = 1,000."""
DRAWN = (64, 256, 1_024, 4_096, 16_384)
"""Labelings that BatchBALD draws at most."""

# The information of batches.
LABELS, ITERATIONS, POOL = 100, 300, 10_000
MASKS = (20, 100)
FRESH, LABELINGS = 4_000, 1_024
SIZES = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200)
SHOWN = (1, 2, 5, 10, 20, 50, 100, 200)
SEEDS = 5
CHOSEN_BY: dict[str, Search] = {
    "LBB": (tn.LargeBatchBALD(), None),
    "second order": (tn.SecondOrderLBB(), None),
    "BatchBALD": (tn.BatchBALD(), None),
    "BALD": (tn.Pointwise(tn.bald), None),
    "PowerBALD": (tn.Pointwise(tn.bald), tn.PowerSample()),
    "random": (tn.Random(), None),
}
BATCH_BALD_MOST = 50
"""The largest batch that BatchBALD chooses: its steps are the only ones that take long."""


# What runs in a process of its own.


def held() -> int:
    """The most memory that this process ever held, bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def measure(path: str, sizes: dict[str, int], samples: int, search: Search, repeats: int) -> Result:
    """Selects from the first N rows of a file of float32: seconds of the fastest run, and memory beyond the input."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", tn.SelectionWarning)
    N, C, b = sizes["N"], sizes["C"], sizes["b"]
    log_probs_N_K_C = torch.from_numpy(np.fromfile(path, np.float32, N * samples * C)).view(N, samples, C)
    objective, optimizer = search
    tn.select(
        log_probs_N_K_C[:100].clone(), objective, 2, optimizer=optimizer
    )  # first-time costs are not what is compared
    before = held()
    runs: list[float] = []
    beyond = 0
    while len(runs) < repeats and sum(runs) < LIMIT / 2:
        start = time.process_time()
        selection = tn.select(log_probs_N_K_C, objective, b, optimizer=optimizer)
        runs.append(time.process_time() - start)
        beyond = beyond or held() - before
    return {
        "seconds": min(runs),
        "runs": runs,
        "beyond": beyond,
        "rows": selection.rows.tolist(),
        "worth": float(selection.gains.sum()),
        "standard_error": selection.standard_error,
    }


def in_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """What a function gives in a fresh process that has imported what it needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tonsure", "numpy"])
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


# What is computed from what was measured.


def slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Least squares of log y on log x: the slope and its standard error, nan where two points leave none."""
    log_x, log_y = np.log(x), np.log(y)
    deviation = log_x - log_x.mean()
    exponent = float(deviation @ log_y / (deviation @ deviation))
    residual = log_y - log_y.mean() - exponent * deviation
    degrees = len(x) - 2
    return exponent, math.sqrt(residual @ residual / degrees / (deviation @ deviation)) if degrees > 0 else math.nan


def upper_half(values: Sequence[int], seconds: Sequence[float]) -> tuple[list[int], list[float]]:
    """The points from the geometric middle of the range on."""
    middle = math.sqrt(values[0] * values[-1]) * (1 - 1e-9)
    kept = [(value, second) for value, second in zip(values, seconds, strict=True) if value >= middle]
    return [value for value, _ in kept], [second for _, second in kept]


def joint_information(
    log_probs_b_K_C: Float[Tensor, "b K C"], sizes: Sequence[int], draws: int, seed: int = 0
) -> list[tuple[float, float]]:
    """I(y_S; θ) = log K − E H[θ | y_S] of the beginnings of a batch, nats, each with its standard error.

    Labelings are drawn from the joint distribution: θ without replacement as far as the K samples go, then
    y_i ~ p(y_i | θ). Of each the posterior over the K samples is known exactly, so that nothing but the mean over
    labelings is sampled.
    """
    K = log_probs_b_K_C.shape[1]
    generator = torch.Generator().manual_seed(seed)
    theta_m = torch.randperm(K, generator=generator).repeat(-(-draws // K))[:draws]
    log_joint_m_K = torch.zeros(draws, K, dtype=torch.float64)
    found: list[tuple[float, float]] = []
    for size, log_probs_K_C in enumerate(log_probs_b_K_C.double(), start=1):
        labels_m = torch.multinomial(log_probs_K_C.exp()[theta_m], 1, generator=generator)[:, 0]
        log_joint_m_K += log_probs_K_C.T.contiguous()[labels_m]
        if size in sizes:
            log_posterior_m_K = log_joint_m_K.log_softmax(1)
            left_m = -(log_posterior_m_K.exp() * log_posterior_m_K).sum(1)
            found.append((math.log(K) - float(left_m.mean()), float(left_m.std() / math.sqrt(draws))))
    return found


def enumerated(log_probs_b_K_C: Float[Tensor, "b K C"]) -> float:
    """I(y_S; θ) = H[y_S] − Σ_i H[y_i | θ] with all C^b labelings, nats."""
    probs_b_K_C = log_probs_b_K_C.double().exp()
    K = probs_b_K_C.shape[1]
    given_M_K = torch.ones(1, K, dtype=torch.float64)
    for probs_K_C in probs_b_K_C[:-1]:
        given_M_K = (given_M_K[:, None] * probs_K_C.T).flatten(0, 1)
    joint_M_C = given_M_K @ probs_b_K_C[-1] / K
    return float(torch.special.entr(joint_M_C).sum() - conditional_entropy(log_probs_b_K_C.double()).sum())


# The predictions.


def write(folder: Path, N: int, samples: int, C: int, kind: str = "fitted") -> str:
    """A file of generated predictions, float32, of which smaller pools are the beginning."""
    path = folder / f"{kind}-{N}-{samples}-{C}"
    if not path.exists():
        with path.open("wb") as file:
            for block_n_K_C in generated(Pool(kind, N, samples, C)):
                block_n_K_C.numpy().tofile(file)
    return str(path)


def fitted(samples: int) -> tuple[tn.MCDropout, tn.datasets.Dataset, Tensor]:
    """A network fitted to a few labels of MNIST, with so many masks; the data; and the rows of the pool.

    Masks have seeds of their own: the first K of more masks are the K masks, of the same weights.
    """
    with torch.random.fork_rng(devices=[]):  # torch has no other way to draw a layer's first weights
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 16, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(512, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 10),
        )
    data = MNIST().load()
    labeled = tn.balanced_rows(data.train_labels, LABELS, seed=0)
    model = tn.MCDropout(network, samples, training=tn.Training(iterations=ITERATIONS))
    model.fit(data.train_inputs[labeled], data.train_labels[labeled], seed=0)
    in_pool_N = torch.ones(len(data.train_labels), dtype=torch.bool)
    in_pool_N[labeled] = False
    return model, data, in_pool_N.nonzero()[:POOL, 0]


# What is measured, printed and kept.


@dataclass
class Bench:
    """One run: what is printed goes to a text as well, and all numbers to a report."""

    folder: Path
    quick: bool
    report: Result = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def say(self, line: str = "") -> None:
        print(line, flush=True)
        self.lines.append(line.rstrip())

    def growth(self) -> None:
        """Seconds and memory of every method while one size grows."""
        for sweep in SWEEPS:
            values = sweep.values[: -(-len(sweep.values) // 2)] if self.quick else sweep.values
            found: dict[str, list[Result | None]] = {method: [] for method in METHODS}
            for method, search in METHODS.items():
                for value in values:
                    last = found[method][-1] if found[method] else {"seconds": 0.0}
                    if last is None or last["seconds"] > LIMIT:
                        found[method].append(None)
                        continue
                    sizes = sweep.sizes(value)
                    path = write(self.folder, max(sweep.sizes(value)["N"] for value in values), K, sizes["C"])
                    point = in_process(measure, path, sizes, K, search, 1 if self.quick else 3)
                    del point["rows"]
                    found[method].append(point)
            self.report.setdefault("growth", {})[sweep.over] = {"fixed": sweep.fixed, "at": values, "points": found}
            header = f"{sweep.over:26}" + "".join(f"{value:>9,}" for value in values)
            for title, unit in (("seconds", 1), ("MiB beyond the input", 2**20)):
                self.say(f"\n{title} against {sweep.over}, where {sweep}\n{header}")
                for method, points in found.items():
                    key, digits = ("seconds", 4) if unit == 1 else ("beyond", 1)
                    cells = (f"{point[key] / unit:9.{digits}f}" if point else f"{'–':>9}" for point in points)
                    self.say(f"{method:26}" + "".join(cells))

    def exponents(self) -> None:
        """Slopes of what ``growth`` has measured."""
        self.say("\nexponents: slope ± standard error in log–log over the upper half of what was measured")
        self.say(f"{'':26}" + "".join(f"{sweep.over:>16}" for sweep in SWEEPS))
        for method in METHODS:
            line = f"{method:26}"
            for sweep in SWEEPS:
                grown = self.report["growth"][sweep.over]
                points = [point for point in grown["points"][method] if point]
                x, y = upper_half(grown["at"][: len(points)], [point["seconds"] for point in points])
                exponent, error = slope(x, y) if len(x) > 1 else (math.nan, math.nan)
                self.report.setdefault("exponents", {}).setdefault(method, {})[sweep.over] = [exponent, error, len(x)]
                line += f"{f'{exponent:.2f} ± {error:.2f}':>16}"
            self.say(line)

    def enumeration(self) -> None:
        """BatchBALD with all labelings, as far as memory goes."""
        N = 200 if self.quick else 1_000
        self.say(f"\nBatchBALD with all labelings: N = {N:,}, K = {K}")
        self.say(f"{'C':>4}{'b':>4}{'labelings':>12}{'seconds':>10}{'MiB beyond':>12}{'times the one before':>22}")
        before = (0, 0, math.nan)
        for C, b in ENUMERATED:
            if self.quick and C**b > 10**4:
                continue
            path = write(self.folder, N, K, C)
            search = (tn.BatchBALD(labelings=ALL_LABELINGS), None)
            point = in_process(measure, path, {"N": N, "C": C, "b": b}, K, search, 1 if self.quick else 3)
            del point["rows"]
            self.report.setdefault("enumeration", []).append({"C": C, "b": b} | point)
            times = f"{point['seconds'] / before[2]:.1f}" if before[:2] == (C, b - 1) else ""
            line = f"{C:4}{b:4}{C**b:12,}{point['seconds']:10.4f}{point['beyond'] / 2**20:12.1f}{times:>22}"
            self.say(line)
            before = (C, b, point["seconds"])

    def labelings(self) -> None:
        """How many drawn labelings BatchBALD needs: what it says of its batch, and what a long run says."""
        N, samples, C, b = 200 if self.quick else 1_000, 100, 10, 20
        path = write(self.folder, N, samples, C, "undecided")
        log_probs_N_K_C = torch.from_numpy(np.fromfile(path, np.float32)).view(-1, samples, C)
        draws = 2**10 if self.quick else 2**15
        of = f"{b} of N = {N:,} undecided, K = {samples}, C = {C}"
        self.say(f"\nBatchBALD by labelings drawn: {of}; log K = {math.log(samples):.3f}")
        self.say(f"{'labelings':>9}{'seconds':>10}{'claimed':>10}{'± own':>9}{'long run':>10}{'± of it':>9}")
        for drawn in DRAWN[:2] if self.quick else DRAWN:
            search = (tn.BatchBALD(labelings=drawn), None)
            point = in_process(measure, path, {"N": N, "C": C, "b": b}, samples, search, 1)
            joint, error = joint_information(log_probs_N_K_C[point.pop("rows")], [b], draws)[0]
            self.report.setdefault("labelings", []).append({"drawn": drawn, "joint": [joint, error]} | point)
            own = f"{point['worth']:10.4f}{point['standard_error']:9.4f}"
            self.say(f"{drawn:9,}{point['seconds']:10.2f}{own}{joint:10.4f}{error:9.4f}")

    def information(self) -> None:
        """What batches chosen with K masks tell by thousands of other masks of the same network."""
        fresh = 200 if self.quick else FRESH
        sizes = [size for size in SIZES if size <= 20 or not self.quick]
        few, data, pool = fitted(max(MASKS))
        pool = pool[:1_000] if self.quick else pool
        log_probs_N_K_C = tn.predict(few, data.train_inputs, pool)
        chosen: dict[tuple[int, str], list[tn.Selection]] = {}
        for samples in MASKS:
            for method, (objective, optimizer) in CHOSEN_BY.items():
                if method == "random" and samples != MASKS[0]:
                    continue  # it does not look at the predictions
                seeds = SEEDS if method in ("PowerBALD", "random") else 1
                most = min(sizes[-1], BATCH_BALD_MOST if method == "BatchBALD" else sizes[-1])
                chosen[samples, method] = [
                    tn.select(log_probs_N_K_C, objective, most, optimizer=optimizer, seed=seed, samples=range(samples))
                    for seed in range(seeds)
                ]
        rows = torch.cat([selection.rows for batches in chosen.values() for selection in batches]).unique()
        many, _, _ = fitted(max(MASKS) + fresh)
        both_n_K_C = tn.predict(many, data.train_inputs, pool[rows])
        if not torch.allclose(both_n_K_C[:, : max(MASKS)].exp(), log_probs_N_K_C[rows].exp(), atol=1e-4):
            raise AssertionError("with more masks it is another network")
        fresh_n_K_C = both_n_K_C[:, max(MASKS) :]
        items_of = lambda selection: fresh_n_K_C[torch.searchsorted(rows, selection.rows)]  # noqa: E731

        found: Result = {}
        apart: list[float] = []
        for (samples, method), batches in chosen.items():
            runs = []
            for seed, selection in enumerate(batches):
                items = items_of(selection)
                runs.append(joint_information(items, sizes, LABELINGS, seed))
                if not self.quick:
                    estimate, error = joint_information(items[:4], [4], LABELINGS, seed)[0]
                    apart.append((estimate - enumerated(items[:4])) / error)
            joint = torch.tensor(runs, dtype=torch.float64)  # seeds, sizes, 2
            mean = joint[:, :, 0].mean(0)
            spread = joint[:, :, 0].std(0) / math.sqrt(len(runs)) if len(runs) > 1 else joint[0, :, 1]
            found[f"{method}, K = {samples}"] = {
                "sizes": sizes[: len(mean)],
                "joint": mean.tolist(),
                "standard_error": spread.tolist(),
                "positive": batches[0].positive,
                "gains": batches[0].gains.tolist(),
                "seeds": len(runs),
            }
        self.report["information"] = {"fresh": fresh, "pool": len(pool), "labels": LABELS, "batches": found}
        self.say(
            f"\nI(y_S; θ) in nats by {fresh:,} fresh masks (log {fresh:,} = {math.log(fresh):.3f}), of {len(pool):,}"
        )
        self.say(f"{'':24}" + "".join(f"{f'b = {size}':>9}" for size in SHOWN) + f"{'± at most':>11}{'gains > 0':>11}")
        for name, batch in found.items():
            told = dict(zip(batch["sizes"], batch["joint"], strict=True))
            cells = "".join(f"{told[size]:9.3f}" if size in told else f"{'–':>9}" for size in SHOWN)
            positive = f"{batch['positive']:,}" if "LBB" in name or "second" in name else "–"
            self.say(f"{name:24}{cells}{max(batch['standard_error']):11.3f}{positive:>11}")
        random = found[f"random, K = {MASKS[0]}"]
        self.say("below random by more than two standard errors of the difference, at these of the sizes measured")
        for name, batch in found.items():
            columns = (batch["sizes"], *(one[key] for key in ("joint", "standard_error") for one in (batch, random)))
            differences = zip(*columns, strict=False)  # the batches of BatchBALD end before the others
            below = [
                str(b) for b, mine, its, error, errors in differences if its - mine > 2 * math.hypot(error, errors)
            ]
            self.say(f"{name:24}{', '.join(below) or 'none'}")
        if apart:
            furthest = max(map(abs, apart))
            self.say(f"four rows, all labelings: the estimate is off by at most {furthest:.1f} standard errors")


# The pictures.

COLOR = {name: COLORS[place] for place, name in enumerate(CHOSEN_BY)}
MARKER = {name: MARKERS[place] for place, name in enumerate(CHOSEN_BY)}


def draw_growth(report: Result, path: Path) -> None:
    """Seconds against b, N and C, side by side, log–log; every line is named at its end."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):  # type: ignore[arg-type, unused-ignore]  # its keys are literals in some versions
        figure = Figure(figsize=(13, 5))
        figure.subplots_adjust(left=0.06, right=0.85, top=0.93, bottom=0.11, wspace=0.08)
        panels = figure.subplots(1, len(SWEEPS), sharey=True)
        for axes, (over, grown) in zip(panels, report["growth"].items(), strict=True):
            fixed = ", ".join(f"{name} = {value:,}" for name, value in grown["fixed"].items())
            axes.set(xscale="log", yscale="log", xlabel=over, title=f"K = {K}, {fixed}")
            lines = []
            for method, points in grown["points"].items():
                measured = [
                    (value, point["seconds"]) for value, point in zip(grown["at"], points, strict=True) if point
                ]
                color, marker = COLOR[method.partition(",")[0]], MARKER[method.partition(",")[0]]
                dashes = "--" if method.endswith("LazyGreedy") else "-"
                axes.plot(*zip(*measured, strict=True), color=color, marker=marker, linestyle=dashes, markersize=4)
                lines.append((method, color, measured[-1]))
            plain_numbers(axes.xaxis)
            plain_numbers(axes.yaxis)
        panels[0].set_ylabel("seconds of one processor")
        name_lines(panels[-1], lines)
        figure.savefig(path, dpi=150, metadata={"Software": None})


def draw_information(report: Result, path: Path) -> None:
    """What batches tell against their size, a panel for each K that they were chosen with."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    information = report["information"]
    with rc_context(STYLE):  # type: ignore[arg-type, unused-ignore]  # its keys are literals in some versions
        figure = Figure(figsize=(13, 5.5))
        figure.subplots_adjust(left=0.045, right=0.91, top=0.94, bottom=0.1, wspace=0.24)
        panels = figure.subplots(1, len(MASKS), sharey=True)
        named = []
        for axes, samples in zip(panels, MASKS, strict=True):
            axes.set(xscale="log", xlabel="b", title=f"chosen with K = {samples}")
            for ceiling, dashes in ((information["fresh"], "--"), (samples, ":")):
                axes.axhline(math.log(ceiling), color=GRAY, linewidth=0.8, linestyle=dashes)
                axes.text(1, math.log(ceiling), f"log {ceiling:,}", color=GRAY, va="bottom")
            lines = []
            for method, color in COLOR.items():
                batch = information["batches"][f"{method}, K = {MASKS[0] if method == 'random' else samples}"]
                x, y = batch["sizes"], batch["joint"]
                style = {"color": color, "marker": MARKER[method], "markersize": 4}
                axes.errorbar(x, y, yerr=batch["standard_error"], linewidth=1.5, **style)
                if method in ("LBB", "second order") and batch["positive"] < x[-1]:
                    first = batch["positive"] + 1
                    at = np.interp(math.log(first), np.log(x), y)
                    axes.plot([first], [at], marker="x", markersize=11, markeredgewidth=2, color=INK, zorder=5)
                lines.append((method, color, (x[-1], y[-1])))
            plain_numbers(axes.xaxis)
            named.append(lines)
        panels[0].set_ylabel("information by fresh masks, nats")
        figure.text(0.99, 0.01, "× the first gain that is not positive", ha="right", color=GRAY)
        for axes, lines in zip(panels, named, strict=True):  # the panels share limits, known only now
            name_lines(axes, lines)
        figure.savefig(path, dpi=150, metadata={"Software": None})


def plain_numbers(axis: Any) -> None:
    """Powers of ten as they are spoken."""
    axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.set_minor_formatter(lambda value, _: "")


def name_lines(axes: Any, lines: Sequence[tuple[str, str, tuple[float, float]]], gap: float = 0.045) -> None:
    """Every line's name, color and last point: named at the right, at that height or as near as names have room."""
    axes.figure.canvas.draw()
    to_axes = axes.transData + axes.transAxes.inverted()
    height_n = to_axes.transform([point for _, _, point in lines])[:, 1]
    order, steps = np.argsort(height_n, kind="stable"), gap * np.arange(len(lines))
    apart_n = np.maximum.accumulate(height_n[order] - steps) + steps
    height_n[order] = np.minimum(apart_n, 1 - steps[::-1])
    for (name, color, point), height in zip(lines, height_n, strict=True):
        axes.annotate(
            name,
            xy=point,
            xytext=(1.04, height),
            textcoords="axes fraction",
            va="center",
            color=color,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 1},
            annotation_clip=False,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder of complexity.txt, .json and the pictures")
    parser.add_argument("--quick", action="store_true", help="small sizes, once each: nothing of it is a result")
    parser.add_argument("--load", default="", help="what else ran on the machine, to be recorded")
    words = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", tn.SelectionWarning)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), words.quick)
        machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, 1 thread"
        bench.report |= {"machine": machine, "load": words.load, "average_load": os.getloadavg()}
        bench.say(machine + (f"; {words.load}" if words.load else "") + ("; quick: no result" if words.quick else ""))
        bench.growth()
        bench.exponents()
        bench.enumeration()
        bench.labelings()
        if has_mnist():
            bench.information()
        else:
            bench.say("\nthe information of batches: skipped, TONSURE_DATA names no folder that holds MNIST")
    bench.say(
        f"\n{time.perf_counter() - start:.0f} s in all; load average at the beginning and at the end: "
        f"{bench.report['average_load'][0]:.1f}, {os.getloadavg()[0]:.1f}"
    )
    words.out.mkdir(parents=True, exist_ok=True)
    (words.out / "complexity.txt").write_text("\n".join(bench.lines) + "\n")
    (words.out / "complexity.json").write_text(json.dumps(bench.report, indent=1) + "\n")
    draw_growth(bench.report, words.out / "growth.png")
    if "information" in bench.report:
        draw_information(bench.report, words.out / "information.png")


if __name__ == "__main__":
    main()
