"""KMNIST, cursive Japanese characters: ensembles with batches of 10 and 100.

Small: 2,000 images, 1,000 for testing, a quarter of the channels.
"""

from functools import partial

from paper import ensemble, full, iterations, small_images

import tonsure as tn
from tonsure.datasets import KMNIST, Subset
from tonsure.networks import mnist_network


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        network = partial(mnist_network, channels=(8, 16), hidden=64)
        return small_images("kmnist", Subset(KMNIST(), train=2000, test=1000), network)
    members = partial(ensemble, network=partial(mnist_network, dropout=0.0), members=10, training=iterations())
    return [
        full("kmnist-ensemble-10", KMNIST(), members, initial_labels=20, k=10, max_labels=500),
        full("kmnist-ensemble-100", KMNIST(), members, initial_labels=100, k=100, max_labels=10_000),
    ]
