"""Seconds, memory and accuracy of selecting, side by side in one run; prints a table.

make bench    (or: pip install -e '.[bench]' && python -m benchmarks.selection)

Every case runs in a process of its own, on the same predictions, read from a file; memory is what the process needs
at most beyond what it held when they were read. ``claimed`` is what a method says its batch tells, ``long run`` is
what 2^21 sampled labelings of that batch say (not by our estimate; its standard error is about 0.0005), and ``error``
the largest difference between the two over the beginnings of the batch.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tonsure as tn


def predictions(N: int, K: int, C: int, seed: int) -> torch.Tensor:
    """Predictions like a posterior's: a prior over classes, and disagreement that items share through 8 directions."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    shared = torch.einsum("nd,dkc->nkc", normal(N, 8) / math.sqrt(8), normal(8, K, C))
    return (2 * normal(N, 1, C) + 0.25 * normal(N, 1, 1).exp() * shared).log_softmax(-1)


def eager_greedy_lbb(log_probs_N_K_C: torch.Tensor, k: int) -> list[int]:
    """Large BatchBALD as one would write it down: all pairs with the last chosen item, at every step."""
    probs_N_K_C = log_probs_N_K_C.exp()
    entropy = lambda probs, axes: -torch.xlogy(probs, probs).sum(axes)  # noqa: E731
    mean_N_C = probs_N_K_C.mean(1)
    entropy_N = entropy(mean_N_C, -1)
    gain_N = entropy_N - entropy(probs_N_K_C, -1).mean(1)
    rows: list[int] = []
    for _ in range(k):
        rows.append(int(gain_N.argmax()))
        joint_N_C_C = torch.einsum("nkc,kd->ncd", probs_N_K_C, probs_N_K_C[rows[-1]]) / probs_N_K_C.shape[1]
        gain_N -= entropy_N + entropy_N[rows[-1]] - entropy(joint_N_C_C, (1, 2))
        gain_N[rows[-1]] = -torch.inf
    return rows


Result = tuple[list[int], list[float] | None]
"""Rows, and what the method says that each beginning of the batch tells."""


def tonsure_lbb(log_probs: torch.Tensor, k: int) -> Result:
    return tn.select(log_probs, tn.LargeBatchBALD(), k).rows.tolist(), None


def eager_lbb(log_probs: torch.Tensor, k: int) -> Result:
    return eager_greedy_lbb(log_probs, k), None


def tonsure_batch_bald(log_probs: torch.Tensor, k: int) -> Result:
    chosen = tn.select(log_probs, tn.BatchBALD(), k)
    return chosen.rows.tolist(), chosen.gains.cumsum(0).tolist()


def redux(log_probs: torch.Tensor, k: int) -> Result:
    from batchbald_redux.batchbald import get_batchbald_batch

    batch = get_batchbald_batch(log_probs, k, num_samples=10_000)
    return batch.indices, batch.scores


def baal(log_probs: torch.Tensor, k: int) -> Result:
    from baal.active.heuristics import BatchBALD

    ranks = BatchBALD(num_samples=k)(log_probs.exp().transpose(1, 2).double().numpy())
    return [int(row) for row in ranks[:k]], None


def skactiveml(log_probs: torch.Tensor, k: int) -> Result:
    from skactiveml.pool import batch_bald

    utilities = batch_bald(log_probs.exp().transpose(0, 1).numpy(), k, n_MC_samples=1000, random_state=0)
    return [int(row) for row in np.nanargmax(utilities, axis=1)], None


TABLES = [
    ("Large BatchBALD, exact pairs: 100 of 10,000, K = 20, C = 10", (10_000, 20, 10), 100, [tonsure_lbb, eager_lbb]),
    ("BatchBALD: 10 of 5,000, K = 20, C = 10", (5_000, 20, 10), 10, [tonsure_batch_bald, redux]),
    ("BatchBALD: 5 of 1,000, K = 20, C = 10", (1_000, 20, 10), 5, [tonsure_batch_bald, redux, baal, skactiveml]),
]
SETTINGS = {
    tonsure_lbb: "tonsure",
    eager_lbb: "eager greedy, 10 lines of torch",
    tonsure_batch_bald: f"tonsure, {tn.BatchBALD().labelings:,} labelings",
    redux: "batchbald_redux, 10,000 samples",
    baal: "baal, its 500 draws a sample",
    skactiveml: "scikit-activeml, 1,000 samples",
}


def held(peak: bool) -> int:
    """Memory of this process, in bytes: now, or its most so far."""
    if Path("/proc/self/status").exists():
        name = "VmHWM:" if peak else "VmRSS:"
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run_case(file: Path, k: int, method: str) -> None:
    """One method in this process: prints what it chose, and what it took."""
    function = next(function for function in SETTINGS if function.__name__ == method)
    log_probs = torch.from_numpy(np.load(file))
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(log_probs[:100].clone(), 2)  # imports and first-time costs are not what is compared
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the most so far begins anew
        before = held(peak=False)
        start = time.perf_counter()
        rows, claimed = function(log_probs, k)
        seconds = time.perf_counter() - start
    print(json.dumps({"rows": rows, "claimed": claimed, "seconds": seconds, "bytes": held(peak=True) - before}))


def long_run(log_probs: torch.Tensor, rows: list[int], samples: int = 2**21) -> list[float]:
    """I(y_S; θ) = E log p(y_S | θ) − log p(y_S) of every beginning of the batch, over sampled θ and labels."""
    batch_b_K_C = log_probs[rows].double()
    b, K, _ = batch_b_K_C.shape
    generator = torch.Generator().manual_seed(1)
    information_b = torch.zeros(b, dtype=torch.float64)
    draws = 2**16
    for _ in range(samples // draws):
        theta = torch.arange(draws) % K
        log_joint_m_K = torch.zeros(draws, K, dtype=torch.float64)
        for i, log_probs_K_C in enumerate(batch_b_K_C):
            labels = torch.multinomial(log_probs_K_C.exp()[theta], 1, generator=generator)[:, 0]
            log_joint_m_K += log_probs_K_C.T[labels]
            given = log_joint_m_K.gather(1, theta[:, None])[:, 0]
            information_b[i] += (given - log_joint_m_K.logsumexp(1) + math.log(K)).mean()
    return (information_b / (samples // draws)).tolist()


def best_of(repeats: int, file: Path, k: int, method: str) -> dict[str, Any]:
    """The fastest of some runs; one that takes longer than 20 seconds is not repeated."""
    command = [sys.executable, "-m", "benchmarks.selection", "--case", str(file), str(k), method]
    runs = []
    for _ in range(repeats):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{method} failed:\n{done.stderr}")
        runs.append(json.loads(done.stdout))
        if runs[-1]["seconds"] > 20:
            break
    return min(runs, key=lambda run: run["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="of every case; the fastest counts")
    parser.add_argument("--seed", type=int, default=0, help="of the predictions")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.case:
        run_case(Path(words.case[0]), int(words.case[1]), words.case[2])
        return
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.npy"
        for title, shape, k, methods in TABLES:
            log_probs = predictions(*shape, seed=words.seed)
            np.save(file, log_probs.numpy())
            print(f"\n{title}; input {log_probs.numel() * 4 / 2**20:.0f} MiB, log K = {math.log(shape[1]):.3f}")
            print(f"{'':34}{'seconds':>9}{'ratio':>8}{'MiB':>8}{'claimed':>9}{'long run':>10}{'error':>8}")
            first = None
            for method in methods:
                best = best_of(words.repeats, file, k, method.__name__)
                first = first or best["seconds"]
                line = f"{SETTINGS[method]:34}{best['seconds']:9.3f}{best['seconds'] / first:8.1f}"
                line += f"{best['bytes'] / 2**20:8.0f}"
                if "BatchBALD:" in title:
                    truth = long_run(log_probs, best["rows"])
                    claimed = best["claimed"]
                    line += f"{claimed[-1]:9.3f}" if claimed else f"{'–':>9}"
                    line += f"{truth[-1]:10.3f}"
                    apart = [abs(a - b) for a, b in zip(claimed or [], truth, strict=False)]
                    line += f"{max(apart):8.4f}" if apart else f"{'–':>8}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
