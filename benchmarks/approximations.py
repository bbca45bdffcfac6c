"""How far from exact: second-order pairs, and searches that look at a part of the pool; prints tables.

python -m benchmarks.approximations --folder FOLDER        (TONSURE_DATA with MNIST for the real predictions)

Pairs: I(y_i; y_j) of random pairs of rows with BALD above 0.01 nats, and the pair of every row with the one that is
nearest to it among a thousand, exact and to second order. Batches: ``LBB`` is the worth of a batch under
``LargeBatchBALD``, with all of its pairs, exact; ``joint`` is I(y_S; θ) by 2^16 sampled labelings, which is what all of
this is for (standard error about 0.004 nats); ``same`` is how many rows the exact greedy batch shares with it. Sampled
searches are means over five seeds.
"""

import argparse
import os
import platform
import tempfile
import time
import warnings
from pathlib import Path

import torch
from benchmarks.posterior import Pool, has_mnist
from benchmarks.selection import long_run
from torch import Tensor

import tonsure as tn
from tonsure.information import deviations, mutual_information
from tonsure.predictions.reader import as_log_probs

EXACT = ("exact pairs, LazyGreedy", tn.LargeBatchBALD(), tn.LazyGreedy())
SEARCHES = [
    EXACT,
    ("second order, LazyGreedy", tn.SecondOrderLBB(), tn.LazyGreedy()),
    ("exact, StochasticGreedy(0.1)", tn.LargeBatchBALD(), tn.StochasticGreedy(0.1)),
    ("exact, StochasticGreedy(0.01)", tn.LargeBatchBALD(), tn.StochasticGreedy(0.01)),
    ("exact, Prefilter(1000)", tn.LargeBatchBALD(), tn.Prefilter(1_000)),
    ("exact, Prefilter(10000)", tn.LargeBatchBALD(), tn.Prefilter(10_000)),
    ("BALD, TopK", tn.Pointwise(tn.bald), tn.TopK()),
    ("random", tn.Random(), tn.PowerSample()),
]
BATCHES = (10, 50, 200)


def second_order(log_probs_n_K_C: Tensor, log_probs_m_K_C: Tensor) -> Tensor:
    """½ ‖Z_iᵀ Z_j‖² of every item of one set with every item of the other."""

    def gram(log_probs_n_K_C: Tensor) -> Tensor:
        probs_n_K_C = log_probs_n_K_C.exp()
        deviations_n_K_C = deviations(probs_n_K_C, probs_n_K_C.mean(1))
        return (deviations_n_K_C @ deviations_n_K_C.transpose(1, 2)).flatten(1)

    return 0.5 * gram(log_probs_n_K_C) @ gram(log_probs_m_K_C).T


def pairs(log_probs_N_K_C: Tensor) -> None:
    """How the two forms of a pair compare."""
    bald_N = tn.bald(log_probs_N_K_C)
    generator = torch.Generator().manual_seed(0)
    undecided = (bald_N > 0.01).nonzero()[:, 0]
    rows = undecided[torch.randperm(len(undecided), generator=generator)[:1000]]
    items = log_probs_N_K_C[rows]
    exact, approximate = mutual_information(items, items), second_order(items, items)
    off = ~torch.eye(len(rows), dtype=torch.bool)
    near = exact.masked_fill(~off, -1).argmax(1, keepdim=True)
    print(f"{'':24}{'mean exact':>12}{'mean 2nd':>10}{'ratio':>8}{'correlation':>13}{'ratio 5%':>10}{'95%':>8}")
    for name, x, y in (
        ("random pairs", exact[off], approximate[off]),
        ("nearest of a thousand", exact.gather(1, near)[:, 0], approximate.gather(1, near)[:, 0]),
    ):
        ratio = (y / x).sort().values
        low, high = ratio[int(0.05 * len(ratio))], ratio[int(0.95 * len(ratio))]
        correlation = torch.corrcoef(torch.stack([x, y]))[0, 1]
        means = f"{name:24}{x.mean():12.5f}{y.mean():10.5f}{y.mean() / x.mean():8.2f}"
        print(f"{means}{correlation:13.3f}{low:10.2f}{high:8.2f}")


def worth(log_probs_b_K_C: Tensor) -> float:
    """Σ I(y_i; θ) − Σ_{i<j} I(y_i; y_j)"""
    pairs_b_b = mutual_information(log_probs_b_K_C, log_probs_b_K_C)
    return float(tn.bald(log_probs_b_K_C).sum() - pairs_b_b.triu(1).sum())


def batches(store: tn.Store, log_probs_N_K_C: Tensor) -> None:
    """What each search chooses."""
    for k in BATCHES:
        print(f"\n{k} rows{'':26}{'seconds':>9}{'LBB':>10}{'joint':>9}{'same':>7}")
        exact: set[int] = set()
        for name, objective, optimizer in SEARCHES:
            found = []
            for seed in range(5 if isinstance(optimizer, tn.StochasticGreedy | tn.PowerSample) else 1):
                start = time.perf_counter()
                rows = tn.select(store, objective, k, optimizer=optimizer, seed=seed).rows
                seconds = time.perf_counter() - start
                items = log_probs_N_K_C[rows]
                exact = exact or set(rows.tolist())
                joint = long_run(items, list(range(k)), samples=2**16)[-1]
                found.append((seconds, worth(items), joint, len(exact & set(rows.tolist()))))
            means = [sum(column) / len(found) for column in zip(*found, strict=True)]
            print(f"{name:32}{means[0]:9.2f}{means[1]:10.3f}{means[2]:9.3f}{means[3]:7.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the pools are kept between runs; by default nowhere")
    parser.add_argument("--kinds", default="mnist,confident")
    words = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    warnings.simplefilter("ignore", tn.SelectionWarning)
    with tempfile.TemporaryDirectory() as temporary:
        folder = words.folder or Path(temporary)
        for kind in words.kinds.split(","):
            if kind == "mnist" and not has_mnist():
                print("\nmnist: skipped, TONSURE_DATA names no folder that holds it")
                continue
            pool = Pool(kind, 60_000, K=20)
            pool.write(folder)
            store = tn.Store.open(pool.path(folder))
            log_probs_N_K_C = torch.cat([as_log_probs(part, torch.float64) for part in store.parts])
            print(f"\n{pool}: pairs")
            pairs(log_probs_N_K_C)
            batches(store, log_probs_N_K_C)


if __name__ == "__main__":
    main()
