"""AG News, four topics: word embeddings and a convolution over them, under dropout; batches of 10 and 100.

Chosen here: the sizes of the network and the numbers of labels. Small: the fastText kind of network; 4,000 texts.
"""

from functools import partial

from paper import ensemble, full, iterations, mc_dropout, small, text_training

import tonsure as tn
from tonsure.datasets import AGNews, Subset
from tonsure.networks import fasttext_network, text_convolution


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        dataset = Subset(AGNews(words=5_000, length=48), train=4000, test=2000)
        network = partial(fasttext_network, words=5_000, classes=4)
        training = text_training(200)
        return small("ag-news", dataset, network, training, dropout=0.3)
    dataset = AGNews(words=10_000, length=64)
    network = partial(text_convolution, words=10_000, classes=4)
    dropout = partial(mc_dropout, network=network, samples=100, training=iterations(4096))
    members = partial(ensemble, network=partial(network, dropout=0.0), members=10, training=iterations(4096))
    return [
        full("ag-news-dropout-10", dataset, dropout, initial_labels=20, k=10, max_labels=500),
        full("ag-news-dropout-100", dataset, dropout, initial_labels=100, k=100, max_labels=5000),
        full("ag-news-ensemble-100", dataset, members, initial_labels=100, k=100, max_labels=5000),
    ]
