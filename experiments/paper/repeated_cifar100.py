"""Repeated CIFAR-100, every image four times: ensembles of ResNet-18, otherwise as cifar100.py."""

from functools import partial

from paper import ensemble, full
from resnets import early_stopped

import tonsure as tn
from tonsure.datasets import CIFAR100, Repeated
from tonsure.errors import InputError
from tonsure.networks import resnet18


def experiment(scale: str) -> list[tn.Experiment]:
    if scale == "small":
        raise InputError("repeated CIFAR-100 has no small scale: rmnist.py is the small pool that repeats itself")
    members = partial(ensemble, network=partial(resnet18, classes=100), members=5, training=early_stopped())
    dataset = Repeated(CIFAR100(), copies=4, noise=0.1)
    sizes = {"initial_labels": 5000, "k": 200, "max_labels": 10_400}
    return [full("repeated-cifar100-ensemble-200", dataset, members, validation=5000, **sizes)]
