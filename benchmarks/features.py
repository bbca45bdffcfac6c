"""The default on large pools, with features and without: seconds and memory; prints a table.

python -m benchmarks.features --folder FOLDER    (--quick to try it)

Every case runs in a process of its own: predictions from a float16 store, features from a float32 file that is mapped,
or read into memory before the clock starts. Both were written just before, or read by a run that does not count, so
that they lie in the cache of the system. ``peak`` is the most memory that the process ever held, mapped pages
included, ``beyond`` what of it came after the imports, and after the features where they are in memory. The fastest of
three runs counts, and the largest of their peaks.

Features are D numbers, a point for each of a thousand centers and as much noise: distances to the nearest neighbors
vary, and nothing else of them matters for what a selection costs.
"""

import argparse
import multiprocessing
import os
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from benchmarks.posterior import Pool
from benchmarks.selection import held

import tonsure as tn

CENTERS, BATCH, RUNS, SMALLER = 1_000, 1_000, 3, 100


@dataclass(frozen=True)
class Case:
    """A selection of ``BATCH`` rows by the default; D is 0 without features, and the first rows are labeled."""

    pool: Pool
    D: int
    labeled: int = 0
    mapped: bool = True

    def __str__(self) -> str:
        features = f"{self.D} features {'mapped' if self.mapped else 'in memory'}" if self.D else "no features"
        return f"{self.pool.N:,}, {features}{f', {self.labeled:,} labeled' if self.labeled else ''}"

    def features(self, folder: Path) -> Path:
        return folder / f"features-{self.pool.N}-{self.D}.npy"

    def write(self, folder: Path) -> None:
        """Writes what the selection reads, where it is not there already."""
        self.pool.write(folder)
        if self.D and not self.features(folder).exists():
            beside = self.features(folder).with_suffix(".part")
            features = np.lib.format.open_memmap(beside, "w+", np.float32, (self.pool.N, self.D))
            write_clustered(features)
            features.flush()
            beside.rename(self.features(folder))

    def measure(self, folder: Path) -> tuple[float, int, int]:
        """Seconds, and bytes: the peak, and what of it came after the imports."""
        store = tn.Store.open(self.pool.path(folder))
        features = np.load(self.features(folder), mmap_mode="r" if self.mapped else None) if self.D else None
        few = torch.randn(100, *store.shape[1:], generator=torch.Generator().manual_seed(0)).log_softmax(-1).half()
        tn.select(few, k=2, features=None if features is None else features[:100])  # first-time costs
        before, start = held(peak=False), time.perf_counter()
        tn.select(store, k=BATCH, features=features, labeled=range(self.labeled))
        seconds = time.perf_counter() - start
        return seconds, held(peak=True), held(peak=True) - before


def write_clustered(features: np.ndarray) -> None:
    """Writes [N, D] numbers: for each row one of the centers, and as much noise."""
    rng = np.random.default_rng(0)
    N, D = features.shape
    centers = rng.standard_normal((CENTERS, D), dtype=np.float32)
    for start in range(0, N, 10_000):
        noise = rng.standard_normal((min(10_000, N - start), D), dtype=np.float32)
        features[start : start + len(noise)] = centers[rng.integers(CENTERS, size=len(noise))] + noise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where pools and features are kept; by default nowhere")
    parser.add_argument("--quick", action="store_true", help=f"pools {SMALLER} times smaller")
    words = parser.parse_args()
    million, fewer = (Pool("confident", N // (SMALLER if words.quick else 1)) for N in (1_000_000, 100_000))
    cases = [
        Case(fewer, 768),
        Case(fewer, 768, labeled=BATCH),
        Case(million, 0),
        Case(million, 128),
        Case(million, 128, labeled=BATCH),
        Case(million, 768),
        Case(million, 768, mapped=False),
    ]
    threads = torch.get_num_threads()
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, {threads} threads")
    print(f"\n{BATCH:,} of so many rows, K = {million.K}, C = {million.C:,}{'':18}  seconds  peak MiB    beyond")
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as temporary,
        ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as alone,
    ):
        folder = words.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for case in cases:
            alone.submit(case.write, folder).result()
            _, *runs = [alone.submit(case.measure, folder).result() for _ in range(RUNS + 1)]
            seconds, peak, beyond = min(runs)[0], *(max(run[place] for run in runs) / 2**20 for place in (1, 2))
            print(f"{case!s:57}{seconds:9.3f}{peak:10.0f}{beyond:10.0f}", flush=True)


if __name__ == "__main__":
    main()
