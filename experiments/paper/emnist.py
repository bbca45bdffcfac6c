"""EMNIST, digits and letters in 47 classes: ensembles with batches of 10 and 100, the network with three convolutions.

Small: 2,350 images of a subset of the ByMerge test split, not of the official balanced one, and the smaller network.
"""

from functools import partial

from paper import ensemble, full, iterations, mc_dropout, small_images

import tonsure as tn
from tonsure.datasets import EMNIST, EMNIST47, Subset
from tonsure.networks import emnist_network, mnist_network


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        network = partial(mnist_network, classes=47, channels=(8, 16), hidden=128)
        dataset = Subset(EMNIST47(), train=2350, test=1175)
        return small_images("emnist", dataset, network, initial_labels=94, many_classes=True)
    dropout = partial(mc_dropout, network=emnist_network, samples=100, training=iterations())
    members = partial(ensemble, network=partial(emnist_network, dropout=0.0), members=10, training=iterations())
    return [
        full("emnist-dropout-10", EMNIST(), dropout, initial_labels=94, k=10, max_labels=500),
        full("emnist-ensemble-100", EMNIST(), members, initial_labels=94, k=100, max_labels=10_000),
    ]
