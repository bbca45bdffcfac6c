"""What facility location loses by looking at a part of a large pool: f(S) over the whole pool; prints a table.

python -m benchmarks.coverage --copies 8 --k 100,1000,10000 --most 16384,32768,65536 --out coverage.txt

The pool is MNIST and Fashion-MNIST, 120,000 images, projected on their 64 leading directions, each in ``--copies``
noisy copies. 1,000 of them are labeled; the score is the margin of a logistic regression on these. ``gain`` is
f(S) − f(∅), a sum over all unlabeled rows, and ``share`` its ratio to the first line with the same k. A uniform draw
of k rows is last. ``most`` is that of ``FacilityLocation``: so many rows are looked at, or 8 k if that is more;
``--per-pick`` sets other numbers than 8. A line that would look at as many rows as the line before is left out.
"""

import argparse
import os
import platform
import time
from itertools import product
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

import tonsure as tn
from tonsure.datasets import MNIST, FashionMNIST
from tonsure.predictions.reader import PoolReader
from tonsure.strategies import coverage, similarities

DIRECTIONS, LABELED, NOISE, PART = 64, 1000, 0.1, 65_536


def pool(copies: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features, scores, and labeled rows."""
    from sklearn.linear_model import LogisticRegression

    loaded = [MNIST().load(), FashionMNIST().load()]
    pixels = torch.cat([dataset.train_inputs.flatten(1) for dataset in loaded]).float()
    classes = torch.cat([dataset.train_labels + 10 * place for place, dataset in enumerate(loaded)])
    generator = torch.Generator().manual_seed(0)
    pixels -= pixels.mean(0)
    _, directions = torch.linalg.eigh((pixels.T @ pixels).double())
    features = pixels @ directions[:, -DIRECTIONS:].float()
    noisy = [
        features + NOISE * features.std() * torch.randn(features.shape, generator=generator) for _ in range(copies)
    ]
    features, classes = torch.cat(noisy) if copies > 1 else features, classes.repeat(copies)
    labeled = torch.randperm(len(features), generator=generator)[:LABELED]
    scaled = features / features.norm(dim=1).mean()
    model = LogisticRegression(max_iter=300, C=10).fit(scaled[labeled].numpy(), classes[labeled].numpy())
    probs = torch.cat([torch.from_numpy(model.predict_proba(some.numpy())) for some in scaled.split(PART)]).float()
    return features, tn.margin(probs.log()[:, None]), labeled


class Coverage:
    """f over all unlabeled rows, in single precision."""

    def __init__(self, features: Tensor, score_N: Tensor, labeled: Tensor, k: int) -> None:
        reader = PoolReader([features])
        self.sphere = coverage._Sphere(reader, coverage._mean(reader, None))
        self.unlabeled = torch.arange(len(features))[~torch.isin(torch.arange(len(features)), labeled)]
        self.score_n = score_N[self.unlabeled].double()
        rest = (labeled, self.unlabeled, k, torch.Generator().manual_seed(0))
        self.squared_radius = coverage._squared_distance(self.sphere, *rest)
        self.covered_n = self._covered(torch.zeros(len(self.unlabeled)), labeled)

    def gain(self, rows: Tensor) -> float:
        more_n = self._covered(self.covered_n, rows) - self.covered_n
        return float((self.score_n * more_n.double()).sum())

    def _covered(self, covered_n: Float[Tensor, " n"], rows: Tensor) -> Float[Tensor, " n"]:
        chosen, parts = self.sphere.at(rows).float(), []
        for part, before in zip(self.unlabeled.split(PART), covered_n.split(PART), strict=True):
            features_n_D = self.sphere.at(part).float()
            for some in chosen.split(256):
                found = similarities.similarity(some, features_n_D, self.squared_radius)
                before = before.maximum(found.amax(0))
            parts.append(before)
        return torch.cat(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--k", default="100,1000")
    parser.add_argument("--most", default="16384,32768")
    parser.add_argument("--per-pick", default=str(coverage.PER_PICK))
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    lines = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    features, score_N, labeled = pool(words.copies)
    where = (
        f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    say(f"{len(features):,} rows, {LABELED:,} labeled, D = {DIRECTIONS}; {where}")
    say(f"{'k':>8}{'most':>10}{'looked at':>12}{'gain':>14}{'share':>9}{'CPU s':>9}{'s':>8}")
    for k in map(int, words.k.split(",")):
        judge, first, looked_at = Coverage(features, score_N, labeled, k), 0.0, 0
        for most, coverage.PER_PICK in product(*(map(int, some.split(",")) for some in (words.most, words.per_pick))):
            before, looked_at = looked_at, min(len(judge.unlabeled), max(most, coverage.PER_PICK * k))
            if looked_at == before:
                continue
            method, start, used = tn.FacilityLocation(most=most), time.perf_counter(), time.process_time()
            found = tn.select(score_N, method, k, features=features, labeled=labeled, memory=words.memory)
            seconds, cpu = time.perf_counter() - start, time.process_time() - used
            gain = judge.gain(found.rows)
            first = first or gain
            say(f"{k:8,}{most:10,}{looked_at:12,}{gain:14.1f}{gain / first:9.3f}{cpu:9.1f}{seconds:8.1f}")
        drawn = judge.unlabeled[torch.randperm(len(judge.unlabeled), generator=torch.Generator().manual_seed(1))[:k]]
        gain = judge.gain(drawn)
        say(f"{k:8,}{'uniform':>10}{k:12,}{gain:14.1f}{gain / first:9.3f}")
    if words.out:
        words.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
