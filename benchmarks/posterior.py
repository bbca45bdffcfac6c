"""Pools of predictions to measure with: generated ones that imitate a posterior, and real ones of MNIST.

Each is a float16 store, written block by block, so that a pool is never in memory. A generated item is a point
x ∈ R¹⁶, standard normal; the posterior samples are linear classifiers around a mean one, so that items that are
alike share their disagreement, as under a real posterior:

    logits_kc = sharpness · Σ_d x_d (W_dc + disagreement · V_dkc) / √16,    W and V standard normal.

| kind | sharpness of an item, with ε standard normal | disagreement |
| --- | --- | --- |
| ``confident`` | exp(2 + 1.5 ε) / 2: many items are decided, and some are not | 0.35 |
| ``fitted`` | exp(2.5 + 1.2 ε) / 2: BALD has nearly the quantiles that it has on ``mnist`` | 0.2 |
| ``undecided`` | 1: none is decided, and gains lie close together, which is meant to be hard for a lazy search | 0.35 |
| ``mnist`` | real: a small network with dropout, trained on 300 labels, predicts the training images | real |
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

import tonsure as tn
from tonsure.datasets import MNIST
from tonsure.predictions.reader import as_log_probs
from tonsure.predictions.store import Store, write_store

FEATURES = 16
SHAPES = {"confident": (2.0, 1.5, 0.35), "fitted": (2.5, 1.2, 0.2), "undecided": (math.log(2), 0.0, 0.35)}
"""Mean and deviation of log(2 · sharpness), and disagreement."""
BLOCK_ELEMENTS = 2**22
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Pool:
    """A pool of predictions [N, K, C] of a kind; the same numbers always."""

    kind: str
    N: int
    K: int = 20
    C: int = 10
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.N:,} {self.kind}, K = {self.K}, C = {self.C:,}"

    def path(self, folder: Path) -> Path:
        return folder / f"{self.kind}-{self.N}-{self.K}-{self.C}-seed-{self.seed}"

    def write(self, folder: Path) -> None:
        """Writes the store, where it is not there already."""
        path = self.path(folder)
        if not path.exists():
            blocks = mnist(self) if self.kind == "mnist" else generated(self)
            write_store(path, blocks, dtype=torch.float16, about={"kind": self.kind, "seed": self.seed})


def generated(pool: Pool) -> Iterator[Float[Tensor, "n K C"]]:
    """Blocks of a generated pool, float32; the rows of a smaller pool are the first of a larger one."""
    center, spread, disagreement = SHAPES[pool.kind]
    generator = torch.Generator().manual_seed(pool.seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    mean_D_1_C, deviation_D_K_C = normal(FEATURES, 1, pool.C), normal(FEATURES, pool.K, pool.C)
    classifier_D_KC = (mean_D_1_C + disagreement * deviation_D_K_C).flatten(1) / FEATURES**0.5
    step = max(1, BLOCK_ELEMENTS // (pool.K * pool.C))
    for start in range(0, pool.N, step):
        inputs_n_D, noise_n = normal(step, FEATURES), normal(step)  # whole blocks, so that N does not move the draws
        sharpness_n = torch.exp(center + spread * noise_n) / 2
        logits_n_K_C = (inputs_n_D * sharpness_n[:, None] @ classifier_D_KC).view(-1, pool.K, pool.C)
        yield logits_n_K_C[: pool.N - start].log_softmax(-1)


def has_mnist() -> bool:
    """Whether the folder that TONSURE_DATA names holds MNIST: nothing is downloaded for a benchmark."""
    folder = os.environ.get("TONSURE_DATA")
    return folder is not None and Path(folder, "mnist", "train-images-idx3-ubyte.gz").is_file()


def mnist(pool: Pool, labels: int = 300, iterations: int = 300) -> Iterator[Float[Tensor, "n K C"]]:
    """Blocks of what the network of experiments/mnist.py predicts of the first N training images."""
    from experiments.mnist import model as make_model

    data = MNIST().load()
    model = make_model()
    model.training = replace(model.training, iterations=iterations)
    rows = tn.balanced_rows(data.train_labels, labels, seed=pool.seed)
    model.fit(data.train_inputs[rows], data.train_labels[rows], seed=pool.seed)
    for inputs in data.train_inputs[: pool.N].split(1024):
        yield tn.predict(model, inputs)[:, : pool.K]


def bald_quantiles(path: Path) -> list[float]:
    """Quantiles of I(y_i; θ) over a store, nats."""
    blocks = (block for part in Store.open(path, verify=False).parts for block in part.split(2**12))
    bald_N = torch.cat([tn.bald(as_log_probs(block, torch.float32)) for block in blocks])
    at = torch.tensor(QUANTILES, dtype=torch.float64) * (len(bald_N) - 1)
    return bald_N.sort().values[at.round().long()].tolist()
