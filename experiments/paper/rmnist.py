"""Repeated MNIST: every image four times, with noise of 0.1, where methods that look at single items repeat themselves.

Small: four copies of 1,000 images, 1,000 for testing, a quarter of the channels.
"""

from functools import partial

from paper import ensemble, full, iterations, mc_dropout, small_images

import tonsure as tn
from tonsure.datasets import MNIST, Repeated, Subset
from tonsure.networks import mnist_network


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        network = partial(mnist_network, channels=(8, 16), hidden=64)
        dataset = Repeated(Subset(MNIST(), train=1000, test=1000), copies=4, noise=0.1)
        return small_images("rmnist", dataset, network)
    dataset = Repeated(MNIST(), copies=4, noise=0.1)
    dropout = partial(mc_dropout, network=mnist_network, samples=100, training=iterations())
    members = partial(ensemble, network=partial(mnist_network, dropout=0.0), members=10, training=iterations())
    return [
        full("rmnist-dropout-10", dataset, dropout, initial_labels=20, k=10, max_labels=500),
        full("rmnist-ensemble-10", dataset, members, initial_labels=20, k=10, max_labels=500),
        full("rmnist-ensemble-100", dataset, members, initial_labels=100, k=100, max_labels=10_000),
    ]
