"""MNIST: deep ensembles with batches of 10 and 100 to 10,000 labels, and dropout to 500, as the paper's images.

Chosen here: the numbers of labels of dropout, taken from the paper's Fashion-MNIST.

Small: 2,000 images, 1,000 for testing, a quarter of the channels.
"""

from functools import partial

from paper import ensemble, full, iterations, mc_dropout, small_images

import tonsure as tn
from tonsure.datasets import MNIST, Subset
from tonsure.networks import mnist_network


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        network = partial(mnist_network, channels=(8, 16), hidden=64)
        return small_images("mnist", Subset(MNIST(), train=2000, test=1000), network)
    dropout = partial(mc_dropout, network=mnist_network, samples=100, training=iterations())
    members = partial(ensemble, network=partial(mnist_network, dropout=0.0), members=10, training=iterations())
    return [
        full("mnist-dropout-10", MNIST(), dropout, initial_labels=20, k=10, max_labels=500),
        full("mnist-ensemble-10", MNIST(), members, initial_labels=20, k=10, max_labels=500),
        full("mnist-ensemble-100", MNIST(), members, initial_labels=100, k=100, max_labels=10_000),
    ]
