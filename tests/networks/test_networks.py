"""What holds of every network: its size, its output, and that MCDropout and its own dropout work on it."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tonsure.errors import InputError
from tonsure.models import MCDropout
from tonsure.networks import (
    cifar_network,
    dense_network,
    emnist_network,
    fasttext_network,
    glorot,
    mnist_network,
    resnet18,
    text_convolution,
)
from tonsure.testing import check_model
from tonsure.training import Training


def images(channels: int, side: int) -> torch.Tensor:
    return torch.randn(5, channels, side, side, generator=torch.Generator().manual_seed(0))


def texts() -> torch.Tensor:
    return torch.tensor([[1, 2, 3, 4], [5, 0, 0, 0], [3, 3, 0, 0], [0, 0, 0, 0], [9, 8, 7, 0]])


MNIST_SIZE = (25 + 1) * 32 + (25 * 32 + 1) * 64 + (16 * 64 + 1) * 128 + (128 + 1) * 10
EMNIST_SIZE = (9 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128 + (9 * 128 + 1) * 512 + (512 + 1) * 47
CIFAR_CONVOLUTIONS = (27 + 1) * 32 + (9 * 32 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64
CIFAR_SIZE = CIFAR_CONVOLUTIONS + (64 * 64 + 1) * 512 + (512 + 1) * 10


def block_size(before: int, after: int) -> int:
    shortcut = 0 if before == after else before * after + 2 * after
    return 9 * before * after + 9 * after * after + 4 * after + shortcut


RESNET_BLOCKS = [(64, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
RESNET_SIZE = 27 * 64 + 2 * 64 + sum(block_size(*block) for block in RESNET_BLOCKS) + (512 + 1) * 10

FULL = {
    "mnist": (mnist_network, images(1, 28), 10, MNIST_SIZE),
    "emnist": (emnist_network, images(1, 28), 47, EMNIST_SIZE),
    "cifar": (cifar_network, images(3, 32), 10, CIFAR_SIZE),
    "resnet": (resnet18, images(3, 32), 10, RESNET_SIZE),
    "dense": (lambda: dense_network(12, 7, (20, 30)), images(3, 2), 7, 13 * 20 + 21 * 30 + 31 * 7),
    "no hidden layer": (lambda: dense_network(12, 7, ()), images(3, 2), 7, 13 * 7),
    "fasttext": (lambda: fasttext_network(10, 4), texts(), 4, 10 * 64 + 65 * 128 + 129 * 4),
    "convolution": (
        lambda: text_convolution(10, 4),
        texts(),
        4,
        10 * 64 + sum((64 * size + 1) * 64 for size in (2, 3, 4)) + (3 * 64 + 1) * 128 + 129 * 4,
    ),
}


@pytest.mark.parametrize("name", FULL)
def test_logits_and_number_of_parameters(name):
    make, inputs, classes, size = FULL[name]
    network = make().eval()
    with torch.no_grad():
        logits = network(inputs)
    assert logits.shape == (5, classes)
    assert logits.isfinite().all()
    assert sum(parameter.numel() for parameter in network.parameters()) == size


TINY = {
    "mnist": (lambda: mnist_network(3, channels=(2, 3), hidden=8), images(1, 28)),
    "emnist": (lambda: emnist_network(3), images(1, 28)),
    "cifar": (lambda: cifar_network(3), images(3, 32)),
    "resnet": (lambda: resnet18(3, dropout=0.5), images(3, 32)),
    "dense": (lambda: dense_network(12, 3, (8,)), images(3, 2)),
    "fasttext": (lambda: fasttext_network(10, 3, width=4, hidden=8), texts()),
    "convolution": (lambda: text_convolution(10, 3, width=4, filters=3, sizes=(1, 5), hidden=8), texts()),
}


@pytest.mark.parametrize("name", TINY)
def test_dropout_masks_are_posterior_samples(name):
    make, inputs = TINY[name]
    torch.manual_seed(0)
    model = MCDropout(make(), samples=3, training=Training(iterations=2))
    model.fit(inputs, torch.arange(5) % 3)
    check_model(model, inputs)
    assert (model.log_probs(inputs).std(dim=1) > 1e-4).any()


@pytest.mark.parametrize(
    ("make", "probabilities"),
    [
        (lambda: mnist_network(dropout=0.3), [0.3] * 3),
        (lambda: emnist_network(dropout=0.3), [0.3] * 4),
        (lambda: cifar_network(dropout=(0.1, 0.2)), [0.1, 0.1, 0.2]),
        (lambda: resnet18(dropout=0.3), [0.3]),
        (lambda: dense_network(4, 2, (3, 3), dropout=0.3), [0.3] * 2),
        (lambda: fasttext_network(5, 2, dropout=0.3), [0.3]),
        (lambda: text_convolution(5, 2, dropout=0.3), [0.3] * 2),
    ],
)
def test_dropout_is_where_it_was_asked_for(make, probabilities):
    assert [layer.p for layer in make().modules() if isinstance(layer, nn.Dropout)] == probabilities


@pytest.mark.parametrize("name", FULL)
def test_initial_weights_are_glorot(name):
    biases = [
        layer.bias
        for layer in FULL[name][0]().modules()
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d) and layer.bias is not None
    ]
    assert biases
    assert not any(bias.any() for bias in biases)


def test_each_doubling_of_the_residual_network_halves_the_image():
    activations = images(3, 32)[:1]
    seen = []
    with torch.no_grad():
        for layer in resnet18().eval()[:-4]:
            activations = layer(activations)
            seen.append(tuple(activations.shape[1:]))
    stages = [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert seen == [(64, 32, 32)] * 3 + [stage for stage in stages for _ in range(2)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dense_network("4", 3), "inputs is '4', expected a whole number from 1"),
        (lambda: dense_network(4, 1), "classes is 1, expected a whole number from 2"),
        (lambda: dense_network(4, 3, hidden=(5, 0)), r"hidden\[1\] is 0"),
        (lambda: dense_network(4, 3, hidden=5), "dense_network has no network with these settings: TypeError"),
        (lambda: dense_network(4, 3, dropout=math.nan), "dropout is nan, expected a finite number of at least 0 and"),
        (lambda: mnist_network(channels=(1,)), "mnist_network has no network with these settings: ValueError"),
        (lambda: cifar_network(dropout=(0.5, 1.5)), r"dropout\[1\] is 1.5"),
        (lambda: resnet18(True), "classes is True"),
        (lambda: fasttext_network(2.5, 3), "words is 2.5"),
        (lambda: glorot("network"), "network is 'network', expected an object such as torch.nn.Linear"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_settings_of_another_type_or_out_of_range(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.usefixtures("annotations_unchecked")
def test_settings_may_be_numbers_of_other_libraries():
    assert str(dense_network(np.int64(4), 3, dropout=np.float64(0.5))) == str(dense_network(4, 3))
