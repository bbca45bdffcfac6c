"""SVHN, house numbers: the network of four convolutions under dropout and in ensembles, batches of 100.

Chosen here: first labels and batches. Small: k-means features and a dense network on them; a pool of 4,000.
"""

from functools import partial

from paper import ensemble, full, iterations, mc_dropout, small

import tonsure as tn
from tonsure.datasets import SVHN, KMeansFeatures, Subset
from tonsure.networks import cifar_network, dense_network


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        dataset = Subset(KMeansFeatures(SVHN()), train=4000, test=2000)
        network = partial(dense_network, inputs=512, classes=10, hidden=(128,))
        training = tn.Training(iterations=300, batch_size=32)
        return small("svhn", dataset, network, training, dropout=0.5)
    dropout = partial(mc_dropout, network=cifar_network, samples=100, training=iterations())
    members = partial(ensemble, network=partial(cifar_network, dropout=(0.0, 0.0)), members=10, training=iterations())
    return [
        full("svhn-dropout-100", SVHN(), dropout, initial_labels=100, k=100, max_labels=10_000),
        full("svhn-ensemble-100", SVHN(), members, initial_labels=100, k=100, max_labels=10_000),
    ]
