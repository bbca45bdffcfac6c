"""CLINC150, what people ask an assistant for, in 150 classes: not in the paper, a text pool with many classes.

Small: the fastText kind of network; 4,500 texts.
"""

from functools import partial

from paper import ensemble, full, iterations, mc_dropout, small, text_training

import tonsure as tn
from tonsure.datasets import CLINC150, Subset
from tonsure.networks import fasttext_network

WORDS = 2_000


def experiment(scale: str) -> list[tn.Experiment]:
    dataset = CLINC150(words=WORDS, length=24)
    network = partial(fasttext_network, words=WORDS, classes=150)
    if scale == "small":
        training = text_training(300)
        subset = Subset(dataset, train=4500, test=2250)
        return small("clinc150", subset, network, training, dropout=0.3, initial_labels=300, many_classes=True)
    dropout = partial(mc_dropout, network=network, samples=100, training=iterations(4096))
    members = partial(ensemble, network=partial(network, dropout=0.0), members=10, training=iterations(4096))
    return [
        full("clinc150-dropout-100", dataset, dropout, initial_labels=300, k=100, max_labels=5000),
        full("clinc150-ensemble-100", dataset, members, initial_labels=300, k=100, max_labels=5000),
    ]
