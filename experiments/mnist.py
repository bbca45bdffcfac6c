"""The whole of MNIST, a small convolutional network with dropout, batches of 100, from 100 labels to 1,000.

TONSURE_DATA=folder tonsure run experiments/mnist.py --seeds 5 --methods random,PowerBALD,LBB

Minutes per method and seed on two cores; on a GPU where there is one.
"""

from released_lbb import ReleasedLBB
from torch import nn

import tonsure as tn
from tonsure.datasets import MNIST


def model() -> tn.MCDropout:
    # Dropout after the convolutions only: they see every image once, and the rest once per posterior sample.
    network = nn.Sequential(
        nn.Conv2d(1, 16, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(512, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )
    return tn.MCDropout(network, samples=50, training=tn.Training(iterations=1000, device=tn.best_device()))


experiment = tn.Experiment(
    name="mnist",
    dataset=MNIST(),
    model=model,
    methods={
        "random": tn.Method(tn.Random()),
        "BALD": tn.Method(tn.Pointwise(tn.bald)),
        "PowerBALD": tn.Method(tn.Pointwise(tn.bald), tn.PowerSample()),
        "BatchBALD": tn.Method(tn.BatchBALD()),
        "LBB": tn.Method(tn.LargeBatchBALD()),
        "PLBB": tn.Method(tn.LargeBatchBALD(), tn.PowerSample(beta=5.0)),
        "released-LBB": tn.Method(ReleasedLBB()),
        "released-PLBB": tn.Method(ReleasedLBB(tn.PowerSample(beta=5.0))),
    },
    initial_labels=100,
    k=100,
    max_labels=1000,
    device=tn.best_device(),
)
