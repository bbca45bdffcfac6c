"""Common settings of the paper's experiments: methods, seeds, posteriors, and their small versions.

Rubashevskii, Kotova, Panov: Scalable Batch Acquisition for Deep Bayesian Active Learning, SDM 2023, arXiv 2301.05490.
Settings are those of the authors' code where it states them; each file lists the settings chosen here.

Every experiment file in this folder runs at full scale, for a GPU, or at a small scale, for two CPU cores:

tonsure run experiments/paper/mnist.py --scale small --seeds 5 --jobs 2
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tonsure as tn
from tonsure.datasets import Loader

sys.path.append(str(Path(__file__).parents[1]))  # experiments/, which holds released_lbb.py
from released_lbb import ReleasedLBB

SEEDS = (42, 227, 346, 684, 920)


def methods(labelings: int | None) -> dict[str, tn.Method]:
    """The paper's, BatchBALD with so many labelings or without it, and what their released code computes."""
    chosen = {
        "random": tn.Method(tn.Random()),
        "MaxProb": tn.Method(tn.Pointwise(tn.least_confidence)),
        "entropy": tn.Method(tn.Pointwise(tn.entropy)),
        "BALD": tn.Method(tn.Pointwise(tn.bald)),
        "PowerBALD": tn.Method(tn.Pointwise(tn.bald), tn.PowerSample(beta=5.0)),
        "BatchBALD": tn.Method(tn.BatchBALD(labelings=labelings or 2048)),
        "LBB": tn.Method(tn.LargeBatchBALD()),
        "PLBB": tn.Method(tn.LargeBatchBALD(), tn.PowerSample(beta=5.0)),
        "released-LBB": tn.Method(ReleasedLBB()),
        "released-PLBB": tn.Method(ReleasedLBB(tn.PowerSample(beta=5.0))),
    }
    if labelings is None:
        del chosen["BatchBALD"]
    return chosen


def mc_dropout(network: Callable[[], nn.Module], samples: int, training: tn.Training) -> tn.BayesianModel:
    return tn.MCDropout(network(), samples=samples, training=training)


def ensemble(network: Callable[[], nn.Module], members: int, training: tn.Training) -> tn.BayesianModel:
    return tn.Ensemble(network, members=members, training=training)


def iterations(number: int = 24_576) -> tn.Training:
    """The paper's first way to train: so many batches of 64, however many labels there are."""
    return tn.Training(iterations=number, batch_size=64, device=tn.best_device())


def text_training(iterations: int) -> tn.Training:
    """For the small text networks: few steps at a high rate; the fused Adam, since most weights are word vectors."""
    adam = partial(torch.optim.Adam, fused=True)
    return tn.Training(optimizer=adam, iterations=iterations, batch_size=32, learning_rate=1e-2)


def full(
    name: str,
    dataset: Loader,
    model: Callable[[], tn.BayesianModel],
    *,
    initial_labels: int,
    k: int,
    max_labels: int,
    validation: int = 0,
) -> tn.Experiment:
    """One experiment at the paper's size; BatchBALD where its authors' implementation could finish too."""
    return tn.Experiment(
        name=name,
        dataset=dataset,
        model=model,
        methods=methods(labelings=100_000 if k <= 10 else None),
        initial_labels=initial_labels,
        k=k,
        max_labels=max_labels,
        seeds=SEEDS,
        validation=validation,
        device=tn.best_device(),
    )


def small(
    pool: str,
    dataset: Loader,
    network: Callable[..., nn.Module],
    training: tn.Training,
    *,
    dropout: float,
    members_training: tn.Training | None = None,
    initial_labels: int = 20,
    many_classes: bool = False,
) -> list[tn.Experiment]:
    """Dropout and ensembles with batches of 10, 50 and 200, each from the same first labels: minutes on two cores.

    Args:
        network: called with ``dropout``, which is 0 for the members of an ensemble.
        members_training: of the members of an ensemble; None is that of dropout.
        initial_labels: how many labels to begin with; the curves end 60, 200 and 600 labels later.
        many_classes: then BatchBALD is left out of the batches of 50: its cost grows with the number of classes.
    """
    posteriors = {
        "dropout": partial(mc_dropout, network=partial(network, dropout=dropout), samples=20, training=training),
        "ensemble": partial(
            ensemble, network=partial(network, dropout=0.0), members=5, training=members_training or training
        ),
    }
    return [
        tn.Experiment(
            name=f"{pool}-{posterior}-{k}-small",
            dataset=dataset,
            model=model,
            methods=methods(labelings=2048 if k <= (10 if many_classes else 50) else None),
            initial_labels=initial_labels,
            k=k,
            max_labels=initial_labels + added,
            seeds=SEEDS,
        )
        for posterior, model in posteriors.items()
        for k, added in ((10, 60), (50, 200), (200, 600))
    ]


def small_images(
    pool: str,
    dataset: Loader,
    network: Callable[..., nn.Module],
    *,
    initial_labels: int = 20,
    many_classes: bool = False,
) -> list[tn.Experiment]:
    """The same for images of 28 × 28: a quarter of the paper's channels, 150 iterations in place of 24,576.

    For a member of an ensemble 75, at a higher rate: without dropout they are enough, and there are five to train.
    """
    training = tn.Training(iterations=150, batch_size=32, learning_rate=3e-3)
    members_training = tn.Training(iterations=75, batch_size=32, learning_rate=5e-3)
    sizes: dict[str, Any] = {"initial_labels": initial_labels, "many_classes": many_classes}
    return small(pool, dataset, network, training, dropout=0.25, members_training=members_training, **sizes)
