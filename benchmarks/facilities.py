"""What the default with features takes of a pool that is looked at as a whole, and its parts; prints a table.

python -m benchmarks.facilities

100 of 8,000 rows, of which 120 are labeled, with D features each: the size of the recorded experiments, and one thread
as there. ``selection`` is ``tonsure.select`` of given predictions (K = 5). Of what it cannot do without, each measured
by itself: ``product`` and ``exp`` are those of every pair of rows, once, in tiles that stay in the caches; ``fresh``
writes as many numbers as the matrix has into memory that the system has not handed out before, and ``again`` into the
same memory once more, so that the difference is what the system takes. The parts take turns; the fastest of seven runs
counts.

Features are those of ``benchmarks.features``: what the search adds depends on them, the rest does not.
"""

import os
import platform
import time
from collections.abc import Callable
from functools import partial
from itertools import combinations_with_replacement

import torch
from benchmarks.features import write_clustered
from torch import Tensor

import tonsure as tn
from tonsure.strategies.similarities import TILE

N, LABELED, BATCH, K, C, RUNS = 8_000, 120, 100, 5, 10, 7


def parts(D: int) -> dict[str, Callable[[], float]]:
    """For each part, what does it and returns its seconds."""
    write_clustered((features := torch.empty(N, D)).numpy())
    log_probs = torch.randn(N, K, C, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    spans = [slice(first, first + TILE) for first in range(0, N, TILE)]
    pairs = list(combinations_with_replacement(spans, 2))
    tile = torch.empty(TILE, TILE)

    def product() -> None:
        for some, others in pairs:
            torch.mm(features[some], features[others].T)

    def exponentials() -> None:
        for _ in pairs:
            tile.fill_(-1.0).exp_()

    def select() -> None:
        tn.select(log_probs, k=BATCH, features=features, labeled=range(LABELED))

    kept: list[Tensor] = []

    def fresh() -> None:
        kept[:] = [torch.empty(N, N)]
        kept[0].fill_(1.0)

    def again() -> None:
        kept.pop().fill_(1.0)

    works = {"selection": select, "product": product, "exp": exponentials, "fresh": fresh, "again": again}
    return {name: partial(timed, work) for name, work in works.items()}


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} thread")
    print(f"\n{BATCH} of {N:,}, seconds  selection   product       exp     fresh     again")
    for D in (64, 128, 320, 640):
        of = parts(D)
        _, *runs = [{name: measure() for name, measure in of.items()} for _ in range(RUNS + 1)]
        fastest = {name: min(run[name] for run in runs) for name in of}
        print(f"{D:6} features        " + "".join(f"{fastest[name]:10.3f}" for name in of), flush=True)


if __name__ == "__main__":
    main()
