"""Repeated CIFAR-10, every image four times: ResNet-18, batches of 100, from 2,000 to 10,000 labels.

Trained in the paper's second way: up to 50 epochs, momentum, 5,000 images for validation, the best epoch restored.
"""

from functools import partial

from paper import ensemble, full
from resnets import early_stopped

import tonsure as tn
from tonsure.datasets import CIFAR10, Repeated
from tonsure.errors import InputError
from tonsure.networks import resnet18


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        raise InputError("repeated CIFAR-10 has no small scale: rmnist.py is the small pool that repeats itself")
    members = partial(ensemble, network=resnet18, members=5, training=early_stopped())
    dataset = Repeated(CIFAR10(), copies=4, noise=0.1)
    sizes = {"initial_labels": 2000, "k": 100, "max_labels": 10_000}
    return [full("repeated-cifar10-ensemble-100", dataset, members, validation=5000, **sizes)]
