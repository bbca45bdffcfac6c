"""What 10⁹ candidates on 64 machines would cost, from constants measured here; prints a table. Needs tonsure[ray].

python -m benchmarks.machines --folder FOLDER

Measured, second order, K = 20, C = 10, float16 store: seconds of the first pass for a million rows (a selection of one
row), seconds of a step over a million rows (of 200 after the first), and seconds that a step takes longer over s = 1,
2, 3 shards of 10,000 rows on a local Ray than in one process: the first is what Ray costs, the growth what one more
shard does. Bytes are those of the pickled messages. The rest is arithmetic: shards work at the same time, what is
proportional to rows is divided by the machines, and the driver talks to them one after the other.
"""

import argparse
import os
import pickle
import platform
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from benchmarks.posterior import Pool

import tonsure as tn
from tonsure.backends import RayBackend
from tonsure.predictions.reader import PoolReader
from tonsure.search.backend import Backend
from tonsure.search.plan import plan
from tonsure.search.shard import Bid

ROWS, MACHINES, BATCH = 10**9, 64, 1_000
MILLION = Pool("confident", 1_000_000)
SMALL = replace(MILLION, N=30_000)


def seconds(store: tn.Store, k: int, backend: Backend | None = None) -> float:
    start = time.perf_counter()
    tn.select(store, tn.SecondOrderLBB(), k, memory="300MiB", backend=backend)
    return time.perf_counter() - start


def step(store: tn.Store, k: int = 200, backend: Backend | None = None) -> float:
    """Seconds of one more row, once the first has been chosen."""
    return (seconds(store, k + 1, backend) - seconds(store, 1, backend)) / k


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the pools are kept between runs; by default nowhere")
    words = parser.parse_args()
    warnings.simplefilter("ignore", tn.SelectionWarning)
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as temporary:
        folder = words.folder or Path(temporary)
        stores = []
        for pool in (MILLION, SMALL):
            pool.write(folder)
            stores.append(tn.Store.open(pool.path(folder)))
        seconds(stores[0], 1)
        first, each = seconds(stores[0], 1), step(stores[0])
        local = step(stores[1])
        by_shards = [step(stores[1], 100, RayBackend(shards=shards, cpus_per_shard=0.5)) for shards in (1, 2, 3)]
        planned = plan(PoolReader(stores[0].parts), tn.SecondOrderLBB(), BATCH, memory=300 * 2**20)
        item = stores[0].parts[0][:1].clone()
    ray_first, ray_more = by_shards[0] - local, max(0.0, (by_shards[2] - by_shards[0]) / 2)
    print("\nmeasured")
    print(f"  first pass                     {first:10.2f} s for a million rows")
    print(f"  step, a million rows           {each * 1e3:10.2f} ms")
    print(f"  step, 30,000 rows              {local * 1e3:10.2f} ms")
    print(f"  … over Ray, 1, 2, 3 shards     {', '.join(f'{value * 1e3:.1f}' for value in by_shards)} ms")
    print(
        f"  so Ray adds                    {ray_first * 1e3:10.2f} ms, and {ray_more * 1e3:.2f} ms for each more shard"
    )

    rows = ROWS / MACHINES
    bid, answer = (len(pickle.dumps(value)) for value in (Bid(1.0, 1.0), (1, True)))
    chosen = len(pickle.dumps(item.numpy()))
    messages = 3 * MACHINES + 2
    bytes_step = MACHINES * (bid + answer + chosen) + chosen
    work = local + (each - local) * rows / MILLION.N
    driver = ray_first + ray_more * (MACHINES - 1)
    print(f"\n{ROWS:,} rows, K = 20, C = 10, {MACHINES} machines like this one, a batch of {BATCH:,}")
    print(f"  predictions                    {ROWS * 400 / 1e9:10.0f} GB on disk, {rows * 400 / 1e9:.2f} GB a machine")
    print(f"  notes of all rows              {planned.notes * rows / MILLION.N / 2**30:10.2f} GiB a machine")
    print(f"  first pass                     {first * rows / MILLION.N:10.1f} s")
    print(f"  messages                       {messages:10,} a step, {bytes_step / 1024:.0f} KiB")
    print(f"  a step's work                  {work * 1e3:10.1f} ms")
    print(f"  a step's talk                  {driver * 1e3:10.1f} ms")
    print(f"  the batch                      {first * rows / MILLION.N + BATCH * (work + driver):10.0f} s")


if __name__ == "__main__":
    main()
