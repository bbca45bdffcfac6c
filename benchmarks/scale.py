"""Selecting from large pools: seconds and memory beside the targets and the floors; prints tables.

make bench-scale    (or: python -m benchmarks.scale --folder FOLDER --out scale.json; --quick to try it)

Every case runs in a process of its own, from a float16 store that was read just before (to compare its checksums,
timed as ``open``), so that it lies in the cache of the system. ``peak`` is the most memory that the process ever
held, mapped pages of the store included, ``beyond`` what of it came after the imports. The fastest of some runs
counts, and the largest of their peaks.

``floor`` is the time of the work that this search cannot do without, one kind after the other, at the ceilings of this
machine, which are measured in the same run. How many rows it reads, compares and updates depends on its course, and is
counted in one more run, which is not timed. With D = 1 + K(K + 1)/2:

| for every | mapped bytes | conversions | exp | log | multiply-adds | bytes of memory |
| --- | --- | --- | --- | --- | --- | --- |
| row read, in its precision | 2KC | KC | KC | K | – | – |
| row of the pool, once, for its BALD | – | – | – | C | 2KC | – |
| pair of exact Large BatchBALD, in its precision | – | – | – | C² | K·C² | – |
| row read, second order | – | – | – | – | C·K(K + 1)/2 | – |
| row of the pool, second order, where rows are kept | – | – | – | – | – | 4D |
| row update, second order, of a row that is kept | – | – | – | – | D | 4D |

C is that of the classes that were looked at: many classes are merged into ten before a pair of rows is compared
exactly. K of the logarithms make a row a distribution again, which rounding to float16 took from it.
"""

import argparse
import contextlib
import importlib
import importlib.util
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from benchmarks.posterior import QUANTILES, SHAPES, Pool, bald_quantiles, has_mnist
from benchmarks.released import released_batch
from benchmarks.selection import baal, held, redux, skactiveml
from experiments.released_lbb import ReleasedLBB
from torch import Tensor

import tonsure as tn
from tonsure import information
from tonsure.predictions.reader import as_log_probs
from tonsure.predictions.store import Store

METHODS: dict[str, tn.Objective[Any, Any] | tn.Strategy] = {
    "BALD": tn.Pointwise(tn.bald),
    "exact": tn.LargeBatchBALD(),
    "second order": tn.SecondOrderLBB(),
    "BatchBALD": tn.BatchBALD(),
    "ReleasedLBB": ReleasedLBB(),
}
RIVALS = {"batchbald_redux": redux, "baal": baal, "skactiveml": skactiveml}
SECTIONS = ("ceilings", "quantiles", "targets", "undecided", "mnist", "growth", "released", "batchbald")
LONG = 20.0
"""Seconds from which on a case is not repeated."""
SMALLER = 50
"""By what ``--quick`` divides all sizes."""
RELEASED = {"seconds": 14.0, "peak": 5.9e9}
"""What the released code took for 50 of 5,000, K = 20, C = 10, as reported from an idle machine with two cores."""

Result = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A selection, and what it may take: seconds, and GiB at the peak."""

    name: str
    pool: Pool
    objective: str
    k: int
    seconds: float | None = None
    gib: float | None = None

    def __str__(self) -> str:
        return f"{self.objective}, {self.k:,} of {self.pool}"


MILLION = Pool("confident", 1_000_000)
UNDECIDED = Pool("undecided", 1_000_000)
FITTED = Pool("fitted", 60_000)
DIGITS = Pool("mnist", 60_000)
TASKS = {
    "targets": [
        Task("second-order", MILLION, "second order", 1_000, 15, 1.5),
        Task("exact", MILLION, "exact", 1_000, 90, 1.5),
        Task("100-classes", Pool("confident", 50_000, 10, 100), "exact", 200, 15, 1),
        Task("1000-classes", Pool("confident", 100_000, 20, 1_000), "second order", 1_000, 90, 2),
        Task("large-batch", MILLION, "second order", 10_000, 180),
        Task("bald", MILLION, "BALD", 1_000),
    ],
    "undecided": [
        Task("undecided-second-order", UNDECIDED, "second order", 300),
        Task("undecided-exact", UNDECIDED, "exact", 300),
    ],
    "mnist": [
        Task("mnist-second-order", DIGITS, "second order", 1_000),
        Task("mnist-exact", DIGITS, "exact", 1_000),
    ],
}
TEN_MILLION = [
    Task(f"ten-million-{name.replace(' ', '-').lower()}", Pool("confident", 10_000_000, 10, 10), name, 1_000)
    for name in ("BALD", "second order", "exact")
]
"""From a store of 2 GB, where it is asked for: on a CPU or, with --device, on a GPU."""
HALF, FEW = replace(MILLION, N=500_000), replace(MILLION, N=250_000)
GROWTH = [
    *(("N", objective, (HALF, 1_000), (MILLION, 1_000)) for objective in ("second order", "exact")),
    *(("b", objective, (MILLION, 500), (MILLION, 1_000)) for objective in ("second order", "exact")),
    *(("C", objective, (FEW, 1_000), (replace(FEW, C=20), 1_000)) for objective in ("second order", "exact")),
    ("C, first pass alone", "second order", (FEW, 1), (replace(FEW, C=20), 1)),
]
GROWS_BY = 2.2


# What runs in a process of its own, and gives what can be written as JSON.


def write(pool: Sequence[Any], folder: str) -> Result:
    Pool(*pool).write(Path(folder))
    return {}


def quantiles(path: str) -> Result:
    return {"bald": bald_quantiles(Path(path))}


def select(path: str, objective: str, k: int, device: str | None = None) -> Result:
    """Opens a store and selects from it."""
    imported = held(peak=False)
    start = time.perf_counter()
    store = Store.open(path)
    opened = time.perf_counter() - start
    _, K, C = store.shape
    few = torch.randn(100, K, C, generator=torch.Generator().manual_seed(0)).log_softmax(-1).half()
    tn.select(few, METHODS[objective], 2, device=device)  # first-time costs are not what is compared
    start = time.perf_counter()
    tn.select(store, METHODS[objective], k, device=device)
    seconds = time.perf_counter() - start
    peak = held(peak=True)
    gpu = torch.cuda.max_memory_allocated() if device else 0
    return {"seconds": seconds, "open": opened, "peak": peak, "beyond": peak - imported, "gpu": gpu}


def count(path: str, objective: str, k: int) -> Result:
    """What a selection reads and computes: ``read/dtype``, ``pairs/dtype/C``, ``updates/dtype``; rows or pairs."""
    counts: Counter[str] = Counter()
    second_order = tn.SecondOrderLBB

    def counting(function: Callable[..., Tensor], describe: Callable[..., tuple[str, int]]) -> Callable[..., Tensor]:
        def wrapper(*arguments: Any) -> Tensor:
            key, amount = describe(*arguments)
            counts[key] += amount
            return function(*arguments)

        return wrapper

    def of(tensor: Tensor) -> str:
        return str(tensor.dtype).removeprefix("torch.")

    read = counting(as_log_probs, lambda rows, dtype: (f"read/{dtype}".replace("torch.", ""), len(rows)))
    pairs = counting(information.joint_entropy, lambda n, m: (f"pairs/{of(n)}/{n.shape[2]}", len(n) * len(m)))
    gain = counting(second_order.gain, lambda self, state, notes, items: (f"updates/{of(items)}", len(items)))
    with (
        mock.patch("tonsure.search.bounds.as_log_probs", read),
        mock.patch("tonsure.search.shard.as_log_probs", read),
        mock.patch.object(information, "joint_entropy", pairs),
        mock.patch.object(second_order, "gain", gain),
    ):
        tn.select(Store.open(path, verify=False), METHODS[objective], k)
    return dict(counts)


def on_tensor(path: str, method: str, k: int, released: Sequence[str] = ()) -> Result:
    """Somebody else's way, from a float32 tensor in memory."""
    if released:
        folder, module, function = released
        sys.path.insert(0, folder)
        run = getattr(importlib.import_module(module), function)
    else:
        run = {"rewritten": released_batch, **RIVALS}[method]
    log_probs = as_log_probs(torch.cat(Store.open(path, verify=False).parts), torch.float32)
    run(log_probs[:100].clone(), 2)
    start = time.perf_counter()
    run(log_probs, k)
    return {"seconds": time.perf_counter() - start, "peak": held(peak=True)}


def ceilings(folder: str, quick: bool) -> Result:
    """What this machine does in a second at most, with all threads that torch uses."""

    def rate(amount: int, work: Callable[[], object]) -> float:
        work()
        seconds = []
        for _ in range(1 if quick else 10):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return amount / min(seconds)

    def in_cache(work: Callable[[Tensor, Tensor], object], source: torch.dtype, target: torch.dtype) -> float:
        def of_size(size: int) -> float:
            numbers, result = torch.linspace(0.001, 1, size).to(source), torch.empty(size, dtype=target)
            return rate(32 * size, lambda: [work(numbers, result) for _ in range(32)])

        return max(map(of_size, (2**14, 2**16, 2**18)))  # where the cache ends differs from machine to machine

    def multiply_adds(dtype: torch.dtype, size: int = 1024) -> float:
        square, product = torch.rand(size, size, dtype=dtype), torch.empty(size, size, dtype=dtype)
        return rate(size**3, lambda: torch.mm(square, square, out=product))

    result: Result = {}
    for dtype in (torch.float32, torch.float64):
        name = str(dtype).removeprefix("torch.")
        result[f"multiply-adds/{name}"] = multiply_adds(dtype)
        result[f"exp/{name}"] = in_cache(lambda x, y: torch.exp(x, out=y), dtype, dtype)
        result[f"log/{name}"] = in_cache(lambda x, y: torch.log(x, out=y), dtype, dtype)
    result["conversions"] = in_cache(lambda x, y: y.copy_(x), torch.float16, torch.float32)
    numbers = torch.ones(2**22 if quick else 2**28)
    result["memory bytes"] = rate(numbers.nbytes, numbers.sum)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(numbers.numpy().data)
        file.flush()

        def read() -> None:  # a new map every time: its pages must be found anew, as a selection must
            for part in torch.from_numpy(np.memmap(file.name, np.int64, mode="c")).split(2**19):
                part.sum()

        result["mapped bytes"] = rate(numbers.nbytes, read)
    return result


CASES: dict[str, Callable[..., Result]] = {
    function.__name__: function for function in (write, quantiles, select, count, on_tensor, ceilings)
}


def run_case(name: str, words: Result) -> None:
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = CASES[name](**words)
    print(json.dumps(result))


# What the parent does with them.


def in_process(name: str, *, limit: float | None = None, memory: float | None = None, **words: Any) -> Result:
    """What a case gives, or ``stopped``: why it gave nothing.

    Args:
        limit: seconds that the process may take.
        memory: bytes that it may hold, where the system tells; looked at ten times a second.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", "benchmarks.scale", "--case", name, json.dumps(words)]
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=out, stderr=errors, text=True) as process:
            why = ""
            while limit is not None and process.poll() is None and not why:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
                if time.perf_counter() - start > limit:
                    why = f"more than {limit:.0f} s"
                elif memory is not None and held_by(process.pid) > memory:
                    why = f"more than {memory / 2**30:.0f} GiB"
            if why and process.poll() is None:
                process.kill()
        out.seek(0)
        errors.seek(0)
        if process.returncode == 0:
            return json.loads(out.read())
        return {"stopped": why or errors.read().strip().rpartition("\n")[2] or f"exit {process.returncode}"}


def held_by(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where it has ended, or the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def floor(counts: Result, pool: Pool, second_order: bool, ceilings: Result) -> Result:
    """Seconds of the work that must be done, by its kind; the table at the top of this file."""
    K, C = pool.K, pool.C
    D = 1 + K * (K + 1) // 2
    work: Counter[str] = Counter({"log/float32": pool.N * C, "multiply-adds/float32": pool.N * 2 * K * C})
    for key, amount in counts.items():
        what, dtype, *classes = key.split("/")
        if what == "read":
            work["mapped bytes"] += amount * 2 * K * C
            work["conversions"] += amount * K * C
            work[f"exp/{dtype}"] += amount * K * C
            work[f"log/{dtype}"] += amount * K
            if second_order:
                work[f"multiply-adds/{dtype}"] += amount * C * (D - 1)
        elif what == "pairs":
            work[f"log/{dtype}"] += amount * int(classes[0]) ** 2
            work[f"multiply-adds/{dtype}"] += amount * K * int(classes[0]) ** 2
    # A row that is updated and not read comes from memory.
    kept = counts.get("updates/float32", 0) - counts["read/float32"]
    if kept > 0:
        work["memory bytes"] += (pool.N + kept) * 4 * D
        work["multiply-adds/float32"] += kept * D
    return {kind: amount / ceilings[kind] for kind, amount in work.items()}


@dataclass
class Bench:
    """The cases of one run, each measured once, and what is written in the end."""

    folder: Path
    repeats: int
    quick: bool
    kind: str
    device: str | None = None
    report: Result = field(default_factory=dict)
    _measured: dict[tuple[Pool, str, int], Result] = field(default_factory=dict)

    def ready(self, pool: Pool) -> Pool:
        """The pool of the size that is measured, its store written."""
        pool = replace(pool, kind=self.kind) if pool.kind == "confident" else pool
        pool = replace(pool, N=self.size(pool.N))
        self.must("write", pool=astuple(pool), folder=str(self.folder))
        return pool

    def size(self, full: int) -> int:
        return max(1, full // SMALLER) if self.quick else full

    def must(self, name: str, **words: Any) -> Result:
        result = in_process(name, **words)
        if "stopped" in result:
            sys.exit(f"{name} {words} failed: {result['stopped']}")
        return result

    def best(self, name: str, **words: Any) -> Result:
        runs: list[Result] = []
        while len(runs) < self.repeats and (not runs or runs[-1]["seconds"] < LONG):
            runs.append(self.must(name, **words))
        best = min(runs, key=lambda run: run["seconds"])
        return best | {"peak": max(run["peak"] for run in runs), "runs": [run["seconds"] for run in runs]}

    def select(self, pool: Pool, objective: str, k: int) -> Result:
        """A selection from a pool that is ready."""
        if (pool, objective, k) not in self._measured:
            words: Result = {"path": str(pool.path(self.folder)), "objective": objective, "k": k}
            words |= {"device": self.device} if self.device else {}
            self._measured[pool, objective, k] = self.best("select", **words)
        return self._measured[pool, objective, k]

    def verdict(self, *reached: bool) -> str:
        """Targets are of the full sizes."""
        return "–" if self.quick or not reached else "pass" if all(reached) else "FAIL"

    def ceilings(self) -> None:
        self.report["ceilings"] = self.must("ceilings", folder=str(self.folder), quick=self.quick)
        print("\nceilings, in 10⁹ a second")
        for kind, rate in self.report["ceilings"].items():
            print(f"{kind:30}{rate / 1e9:10.2f}")

    def quantiles(self) -> None:
        print("\nBALD of the pools, quantiles in nats")
        print(f"{'':36}" + "".join(f"{f'{q:.0%}':>9}" for q in QUANTILES))
        for pool in [MILLION, UNDECIDED, FITTED] + [DIGITS] * has_mnist():
            pool = self.ready(pool)
            bald = self.must("quantiles", path=str(pool.path(self.folder)))["bald"]
            self.report.setdefault("quantiles", {})[str(pool)] = bald
            print(f"{pool!s:36}" + "".join(f"{value:9.4f}" for value in bald), flush=True)

    def tasks(self, title: str, tasks: Sequence[Task]) -> None:
        print(f"\n{title}\n{'':62}{'seconds':>10}{'target':>8}{'peak MiB':>10}{'target':>8}{'':6}", end="")
        print(f"{'beyond':>8}{'open s':>8}{'floor s':>9}{'/ floor':>9}")
        for task in tasks:
            pool, k = self.ready(task.pool), self.size(task.k)
            run = self.select(pool, task.objective, k)
            counts = self.must("count", path=str(pool.path(self.folder)), objective=task.objective, k=k)
            parts = floor(counts, pool, task.objective == "second order", self.report["ceilings"])
            least = sum(parts.values())
            reached = [run["seconds"] <= task.seconds] if task.seconds else []
            reached += [run["peak"] <= task.gib * 2**30] if task.gib else []
            self.report.setdefault("tasks", {})[task.name] = run | {
                "task": str(replace(task, pool=pool, k=k)),
                "target": {"seconds": task.seconds, "gib": task.gib},
                "verdict": self.verdict(*reached),
                "counts": counts,
                "floor": parts | {"total": least},
            }
            of = lambda number, scale=1: f"{number * scale:.0f}" if number else "–"  # noqa: E731
            line = f"{replace(task, pool=pool, k=k)!s:62}{run['seconds']:10.3f}{of(task.seconds):>8}"
            line += f"{run['peak'] / 2**20:10.0f}{of(task.gib, 1024):>8}{self.verdict(*reached):>6}"
            line += f"{run['beyond'] / 2**20:8.0f}{run['open']:8.2f}{least:9.3f}{run['seconds'] / least:9.1f}"
            print(line, flush=True)
        print("floors, seconds of each kind of work; and what was counted")
        for task in tasks:
            found = self.report["tasks"][task.name]
            parts = ", ".join(f"{kind} {seconds:.3g}" for kind, seconds in found["floor"].items() if kind != "total")
            counted = ", ".join(f"{kind} {amount:,}" for kind, amount in sorted(found["counts"].items()))
            print(f"{task.name}: {parts}; {counted}")

    def ten_million(self) -> None:
        """Without floors, which are those of this machine's CPU."""
        print(
            f"\n1,000 of 10 million, on {self.device or 'cpu'}\n{'':62}{'seconds':>10}{'peak MiB':>10}{'GPU MiB':>10}"
        )
        for task in TEN_MILLION:
            pool, k = self.ready(task.pool), self.size(task.k)
            run = self.select(pool, task.objective, k)
            self.report.setdefault("ten-million", {})[task.name] = run | {"device": self.device or "cpu"}
            line = f"{replace(task, pool=pool, k=k)!s:62}{run['seconds']:10.3f}{run['peak'] / 2**20:10.0f}"
            print(f"{line}{run['gpu'] / 2**20:10.0f}", flush=True)

    def growth(self) -> None:
        print(f"\ngrowth: one size doubled, target ≤ {GROWS_BY}×")
        print(f"{'':84}{'seconds':>10}{'doubled':>10}{'ratio':>8}")
        for what, objective, small, large in GROWTH:
            pools = [(self.ready(pool), k if k == 1 else self.size(k)) for pool, k in (small, large)]
            once, twice = (self.select(pool, objective, k)["seconds"] for pool, k in pools)
            ratio = twice / once
            title = f"{what}: {objective}, from {pools[0][1]:,} of {pools[0][0]}"
            found = {"seconds": once, "doubled": twice, "ratio": ratio, "verdict": self.verdict(ratio <= GROWS_BY)}
            self.report.setdefault("growth", {})[f"{what}: {objective}"] = found
            print(f"{title:84}{once:10.3f}{twice:10.3f}{ratio:8.2f}  {found['verdict']}", flush=True)

    def released(self, checkout: Sequence[str]) -> None:
        """Beside the released code's way of computing: exact 100 and second order 500 times as fast as reported."""
        pool, k = self.ready(Pool("confident", 5_000)), self.size(50)
        path = str(pool.path(self.folder))
        runs = {"released code, as reported of 50 of 5,000": RELEASED}
        if checkout:
            runs["released code, the checkout"] = in_process(
                "on_tensor", path=path, method="released", k=k, released=checkout
            )
        rewritten = runs["the released code's computation, rewritten"] = self.best(
            "on_tensor", path=path, method="rewritten", k=k
        )
        for objective in ("ReleasedLBB", "exact", "second order"):
            runs[f"tonsure, {objective}"] = self.select(pool, objective, k)
        self.report["released"] = runs
        print(f"\nagainst the released code of Large BatchBALD: {k:,} of {pool}")
        print(f"{'':46}{'seconds':>10}{'peak MiB':>10}{'faster: than reported':>23}{'than rewritten':>16}{'memory':>8}")
        for name, run in runs.items():
            if "stopped" in run:
                print(f"{name:46} could not be run: {run['stopped']}")
                continue
            faster, share = RELEASED["seconds"] / run["seconds"], run["peak"] / RELEASED["peak"]
            times = {"tonsure, exact": 100, "tonsure, second order": 500}.get(name)
            verdict = self.verdict(faster >= times, share <= 0.1) if times else ""
            line = f"{name:46}{run['seconds']:10.4f}{run['peak'] / 2**20:10.0f}{faster:22.1f}×"
            print(f"{line}{rewritten['seconds'] / run['seconds']:15.1f}×{share:8.2f}  {verdict}", flush=True)

    def batch_bald(self, limit: float, gib: float) -> None:
        """The largest pool that others finish, each time twice the size, and ours of that size."""
        print(f"\nBatchBALD, 5 of the largest pool that a process finishes in {limit:.0f} s and {gib:g} GiB")
        print(
            f"{'':20}{'N':>12}{'seconds':>10}{'peak MiB':>10}{'ours, s':>10}{'MiB':>7}{'faster':>9}  at twice the size"
        )
        for name in RIVALS:
            if importlib.util.find_spec(name) is None:
                print(f"{name:20} is not installed (the extra `bench` brings it)")
                continue
            best: Pool | None = None
            found: Result = {}
            for doubled in itertools.count():
                pool = self.ready(Pool("confident", 1_000 * 2**doubled))
                words = {"path": str(pool.path(self.folder)), "method": name, "k": 5}
                run = in_process("on_tensor", limit=limit, memory=gib * 2**30, **words)
                if "stopped" in run:
                    found["stopped"] = run["stopped"]
                    break
                best, found = pool, {"N": pool.N, **run}
            if best is not None:
                ours = found["ours"] = self.select(best, "BatchBALD", 5)
                line = f"{name:20}{best.N:12,}{found['seconds']:10.2f}{found['peak'] / 2**20:10.0f}"
                line += f"{ours['seconds']:10.3f}{ours['peak'] / 2**20:7.0f}{found['seconds'] / ours['seconds']:8.0f}×"
                print(f"{line}  {found['stopped']}", flush=True)
            else:
                print(f"{name:20} finished none: {found['stopped']}", flush=True)
            self.report.setdefault("batchbald", {})[name] = found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [task.name for tasks in TASKS.values() for task in tasks]
    asked = [*SECTIONS, "ten-million", *names]
    parser.add_argument("--only", help=f"some of {', '.join(asked)}, with commas between them")
    parser.add_argument("--device", help="where selections are done, such as cuda")
    parser.add_argument("--quick", action="store_true", help=f"all sizes divided by {SMALLER}, one repeat")
    parser.add_argument("--repeats", type=int, default=3, help=f"of every case that takes less than {LONG:.0f} s")
    parser.add_argument("--kind", choices=tuple(SHAPES), default="confident", help="in place of confident")
    parser.add_argument("--folder", type=Path, help="of the stores, which are kept; else a temporary one; 6 GB")
    parser.add_argument("--out", type=Path, help="a JSON file for all that was measured")
    parser.add_argument("--limit", type=float, default=300, help="seconds for each BatchBALD of others; quick: / 20")
    parser.add_argument("--memory", type=float, default=16, help="GiB for each BatchBALD of others")
    parser.add_argument(
        "--released",
        nargs=3,
        default=(),
        metavar=("FOLDER", "MODULE", "FUNCTION"),
        help="runs FUNCTION(log_probs_N_K_C, k) of a checkout of the released code as well",
    )
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.case:
        run_case(words.case[0], json.loads(words.case[1]))
        return
    only = words.only.split(",") if words.only else SECTIONS
    if unknown := set(only) - set(asked):
        parser.error(f"--only holds {', '.join(sorted(unknown))}, expected some of {', '.join(asked)}")
    with contextlib.ExitStack() as stack:
        folder = words.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, 1 if words.quick else words.repeats, words.quick, words.kind, words.device)
        if words.out:  # also of a run that breaks off
            stack.callback(lambda: words.out.write_text(json.dumps(bench.report, indent=1), encoding="utf-8"))
        bench.report["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
        bench.report["threads"] = torch.get_num_threads()
        print(f"{bench.report['machine']}, {bench.report['threads']} threads", end="")
        print(f"; quick: sizes divided by {SMALLER}, nothing here is a result" if words.quick else "")
        if set(only) != {"ten-million"}:
            bench.ceilings()
        if "ten-million" in only:
            bench.ten_million()
        if "quantiles" in only:
            bench.quantiles()
        for section, tasks in TASKS.items():
            tasks = [task for task in tasks if {section, task.name} & set(only)]
            if tasks and section == "mnist" and not has_mnist():
                print("\nmnist: skipped, no folder that TONSURE_DATA names holds it")
            elif tasks:
                bench.tasks(section, tasks)
        if "growth" in only:
            bench.growth()
        if "released" in only:
            bench.released(words.released)
        if "batchbald" in only:
            bench.batch_bald(words.limit / (20 if words.quick else 1), words.memory)


if __name__ == "__main__":
    main()
