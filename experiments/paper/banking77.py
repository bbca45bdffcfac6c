"""Banking77, what people ask their bank, in 77 classes: not in the paper, a text pool with many classes.

Small: the fastText kind of network; 3,850 texts.
"""

from functools import partial

from paper import ensemble, full, iterations, mc_dropout, small, text_training

import tonsure as tn
from tonsure.datasets import Banking77, Subset
from tonsure.networks import fasttext_network

WORDS = 2_000


def experiment(scale: str) -> list[tn.Experiment]:
    dataset = Banking77(words=WORDS, length=32)
    network = partial(fasttext_network, words=WORDS, classes=77)
    if scale == "small":
        training = text_training(300)
        subset = Subset(dataset, train=3850, test=1540)
        return small("banking77", subset, network, training, dropout=0.3, initial_labels=154, many_classes=True)
    dropout = partial(mc_dropout, network=network, samples=100, training=iterations(4096))
    members = partial(ensemble, network=partial(network, dropout=0.0), members=10, training=iterations(4096))
    return [
        full("banking77-dropout-100", dataset, dropout, initial_labels=154, k=100, max_labels=5000),
        full("banking77-ensemble-100", dataset, members, initial_labels=154, k=100, max_labels=5000),
    ]
