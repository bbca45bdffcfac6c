"""Real digits, a dropout network, batches of 40: the demo.

make demo
tonsure run experiments/digits.py --seeds 3 && tonsure report runs/digits --open
"""

from released_lbb import ReleasedLBB
from torch import nn

import tonsure as tn
from tonsure.datasets import Digits


def model() -> tn.MCDropout:
    network = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )
    return tn.MCDropout(network, samples=50, training=tn.Training(iterations=700, learning_rate=2e-3))


experiment = tn.Experiment(
    name="digits",
    dataset=Digits(),
    model=model,
    methods={
        "random": tn.Method(tn.Random()),
        "facility-location": tn.Method(tn.FacilityLocation(whitening=0.0)),
        "discounted-margin": tn.Method(tn.Discounted(strength=16.0), tn.PowerSample(beta=4.0)),
        "BALD": tn.Method(tn.Pointwise(tn.bald)),
        "PowerBALD": tn.Method(tn.Pointwise(tn.bald), tn.PowerSample()),
        "BatchBALD": tn.Method(tn.BatchBALD()),
        "LBB": tn.Method(tn.LargeBatchBALD()),
        "PLBB": tn.Method(tn.LargeBatchBALD(), tn.PowerSample(beta=5.0)),
        "released-LBB": tn.Method(ReleasedLBB()),
    },
    initial_labels=20,
    k=40,
    max_labels=180,
)
