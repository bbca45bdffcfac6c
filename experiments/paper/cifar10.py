"""CIFAR-10: the network of four convolutions under dropout and in ensembles.

Chosen here: first labels and batches, taken from the paper's repeated CIFAR-10. Small: k-means features of all
available images, and a dense network on them.
"""

from functools import partial

from paper import ensemble, full, iterations, mc_dropout, small

import tonsure as tn
from tonsure.datasets import CIFAR10, KMeansFeatures, Subset
from tonsure.networks import cifar_network, dense_network


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        dataset = Subset(KMeansFeatures(CIFAR10()), train=4000, test=2000)
        network = partial(dense_network, inputs=512, classes=10, hidden=(128,))
        training = tn.Training(iterations=300, batch_size=32, weight_decay=1e-4)
        return small("cifar10", dataset, network, training, dropout=0.5)
    dropout = partial(mc_dropout, network=cifar_network, samples=100, training=iterations())
    members = partial(ensemble, network=partial(cifar_network, dropout=(0.0, 0.0)), members=10, training=iterations())
    return [
        full("cifar10-dropout-100", CIFAR10(), dropout, initial_labels=2000, k=100, max_labels=10_000),
        full("cifar10-ensemble-100", CIFAR10(), members, initial_labels=2000, k=100, max_labels=10_000),
    ]
