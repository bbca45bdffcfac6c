"""Small inputs of every command, and the commands."""

from pathlib import Path

import numpy as np
import torch

MODEL = """
import torch, tonsure as tn
torch.manual_seed(0)
layers = [torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(8, 3)]
model = tn.MCDropout(torch.nn.Sequential(*layers), samples=4)
"""

EXPERIMENT = """
import torch, tonsure as tn
from tonsure.datasets import Dataset


class Squares:
    def __repr__(self):
        return "Squares()"

    def load(self):
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (40, 4, 4), dtype=torch.uint8, generator=generator)
        inputs, labels = images.float().flatten(1) / 255, torch.arange(40) % 3
        halves = inputs[:30], labels[:30], inputs[30:], labels[30:]
        return Dataset("squares", *halves, ("a", "b", "c"), "40 random squares", images[:30])


class Means(tn.BayesianModel):
    samples = 4

    def fit(self, inputs, labels_n, *, seed=0):
        means_C_D = torch.stack([inputs[labels_n == label].mean(0) for label in range(3)])
        self.means_K_C_D = means_C_D + 0.1 * torch.randn(4, 3, 16, generator=torch.Generator().manual_seed(seed))

    def members(self):
        yield lambda inputs: (-(inputs[:, None, None] - self.means_K_C_D).square().sum(-1)).log_softmax(-1)


methods = {"random": tn.Method("random"), "LBB": tn.Method("LBB")}
experiment = tn.Experiment("squares", Squares(), Means, methods, initial_labels=3, k=3, max_labels=9)
"""

COMMANDS: dict[str, tuple[object, ...]] = {
    "predict": (
        *("predict", "my_model:model", "--inputs", "inputs.npy", "--ids", "ids.txt", "--block-size", 7),
        *("--out", "out/store"),
    ),
    "store make": (
        *("store", "make", "probs.npy", "--values", "probs", "--features", "features.npy", "--ids", "ids.txt"),
        *("--out", "out/store"),
    ),
    "run": ("run", "squares.py", "--seeds", 1, "--out", "out/records"),
    "select": (
        *("select", "probs.npy", "--values", "probs", "--features", "features.npy", "--ids", "ids.txt"),
        *("--method", "coverage", "-k", 20, "--out", "out/rows.csv"),
    ),
    "compare": (
        *("compare", "probs.npy", "--values", "probs", "--methods", "random,margin", "-k", 20),
        *("--out", "out/rows.csv"),
    ),
    "report": ("report", "out/records"),
}
"""Commands that write, each into the folder ``out``."""


def make(folder: Path, N: int = 24) -> None:
    """Writes the inputs of all commands, of N rows, and the folder ``out``."""
    generator = np.random.default_rng(0)
    np.save(folder / "inputs.npy", generator.normal(size=(N, 4)).astype(np.float32))
    logits = torch.from_numpy(generator.normal(size=(N, 4, 3)))
    np.save(folder / "probs.npy", logits.softmax(-1).numpy())
    np.save(folder / "features.npy", generator.normal(size=(N, 2)))
    (folder / "ids.txt").write_text("".join(f"item {row}\n" for row in range(N)))
    (folder / "my_model.py").write_text(MODEL)
    (folder / "squares.py").write_text(EXPERIMENT)
    (folder / "out").mkdir()
