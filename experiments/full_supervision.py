"""What the models of experiments reach when the whole pool is labeled: where their learning curves would end.

python experiments/full_supervision.py experiments/paper/mnist.py --scale small --seeds 5

One line for each pool and model of the files: experiments that differ only in the size of the batch share it. The
training is that of the experiment, made for few labels: more iterations would reach more.
"""

import argparse
import re
from pathlib import Path

import torch

from tonsure.experiments import load
from tonsure.experiments.data import Data, Datasets
from tonsure.experiments.experiment import Experiment
from tonsure.experiments.provenance import describe, machine
from tonsure.loop.metrics import accuracy
from tonsure.report.statistics import estimate
from tonsure.seeding import derive_seed, seeded


def accuracies(experiment: Experiment, data: Data, seeds: int) -> list[float]:
    """Of the model fitted to all of the pool, one for each seed."""
    dataset, found = data.dataset, []
    validation = {} if data.validation is None else {"validation": data.validation}
    for seed in experiment.first_seeds(seeds):
        with seeded(seed, torch.device("cpu")):
            model = experiment.model()
        fit_seed = derive_seed(seed, len(dataset.train_labels), 0)
        model.fit(dataset.train_inputs, dataset.train_labels, seed=fit_seed, **validation)
        found.append(accuracy(dataset.test_inputs, dataset.test_labels)(model)["accuracy"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--scale", default=load.FULL)
    parser.add_argument("--seeds", type=int, default=5)
    words = parser.parse_args()
    print(f"{machine()}; accuracy ± standard error over {words.seeds} seeds")
    print(f"{'all of the pool labeled':32}{'labels':>8}  accuracy")
    datasets = Datasets()
    for file in words.files:
        seen: set[tuple[str, str]] = set()
        for experiment in load.experiments(file, words.scale):
            both = describe(experiment.dataset), describe(experiment.model)
            if both in seen:
                continue
            seen.add(both)
            data = datasets(experiment.dataset, experiment.validation)
            of_seeds = estimate(accuracies(experiment, data, words.seeds))
            name = re.sub(r"-\d+(?=-|$)", "", experiment.name)  # without the size of the batch
            print(
                f"{name:32}{len(data.dataset.train_labels):8,}  {of_seeds.mean:.3f} ± {of_seeds.error:.3f}", flush=True
            )


if __name__ == "__main__":
    main()
