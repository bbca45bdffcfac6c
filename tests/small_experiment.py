"""A short experiment on real digits, for the tests of running, resuming and the command line."""

from torch import nn

import tonsure as tn
from tonsure.datasets import Digits


def hidden():
    return nn.Linear(64, 32)


def network():
    return nn.Sequential(nn.Flatten(), hidden(), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))


def model():
    return tn.MCDropout(network(), samples=8, training=tn.Training(iterations=60, learning_rate=1e-2))


experiment = tn.Experiment(
    name="small",
    dataset=Digits(),
    model=model,
    methods={"random": tn.Method(tn.Random()), "PLBB": tn.Method(tn.LargeBatchBALD(), tn.PowerSample(beta=5.0))},
    initial_labels=10,
    k=10,
    max_labels=45,
)
