"""CIFAR-100: ensembles of ResNet-18, batches of 200, from 5,000 to 10,400 labels.

Small: k-means features of all 60,000 images, learned without labels, and a dense network on them; a pool of 4,000.
Features: all 50,000 of them, and longer training, for ``full_supervision.py``: how good these features are.
"""

from functools import partial

from paper import SEEDS, ensemble, full, mc_dropout, small
from resnets import early_stopped

import tonsure as tn
from tonsure.datasets import CIFAR100, KMeansFeatures, Subset
from tonsure.networks import dense_network, resnet18

RANDOM = {"random": tn.Method(tn.Random())}


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        dataset = Subset(KMeansFeatures(CIFAR100()), train=4000, test=2000)
        network = partial(dense_network, inputs=512, classes=100, hidden=(128,))
        training = tn.Training(iterations=300, batch_size=32)
        return small("cifar100", dataset, network, training, dropout=0.5, initial_labels=200, many_classes=True)
    if scale == "features":
        training = tn.Training(iterations=8_000, batch_size=128)
        network = partial(dense_network, inputs=512, classes=100)
        models = {
            "dense": partial(mc_dropout, partial(network, hidden=(512,), dropout=0.5), samples=20, training=training),
            "linear": partial(ensemble, partial(network, hidden=()), members=1, training=training),
        }
        sizes = {"initial_labels": 5000, "k": 5000, "max_labels": 50_000}
        return [
            tn.Experiment(f"cifar100-features-{name}", KMeansFeatures(CIFAR100()), model, RANDOM, **sizes, seeds=SEEDS)
            for name, model in models.items()
        ]
    members = partial(ensemble, network=partial(resnet18, classes=100), members=5, training=early_stopped())
    sizes = {"initial_labels": 5000, "k": 200, "max_labels": 10_400}
    return [full("cifar100-ensemble-200", CIFAR100(), members, validation=5000, **sizes)]
