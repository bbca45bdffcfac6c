"""Fashion-MNIST: dropout with batches of 10, from 20 to 500 labels, and ensembles to 10,000.

Small: 2,000 images, 1,000 for testing, a quarter of the channels.
"""

from functools import partial

from paper import ensemble, full, iterations, mc_dropout, small_images

import tonsure as tn
from tonsure.datasets import FashionMNIST, Subset
from tonsure.networks import mnist_network


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        network = partial(mnist_network, channels=(8, 16), hidden=64)
        return small_images("fashion-mnist", Subset(FashionMNIST(), train=2000, test=1000), network)
    dropout = partial(mc_dropout, network=mnist_network, samples=100, training=iterations())
    members = partial(ensemble, network=partial(mnist_network, dropout=0.0), members=10, training=iterations())
    return [
        full("fashion-mnist-dropout-10", FashionMNIST(), dropout, initial_labels=20, k=10, max_labels=500),
        full("fashion-mnist-ensemble-100", FashionMNIST(), members, initial_labels=100, k=100, max_labels=10_000),
    ]
