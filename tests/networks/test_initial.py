import math

import torch
from torch import nn

from tonsure.networks import glorot


def test_weights_are_uniform_within_the_bound_and_biases_zero():
    network = nn.Sequential(nn.Linear(300, 100), nn.Conv2d(30, 50, (3, 5)), nn.Conv1d(20, 40, 7))
    assert glorot(network) is network
    for layer, inputs, outputs in zip(network, (300, 30 * 15, 20 * 7), (100, 50 * 15, 40 * 7), strict=True):
        bound = math.sqrt(6 / (inputs + outputs))
        weight = layer.weight.detach()
        assert 0.99 * bound < weight.abs().max() <= bound
        assert abs(weight.std() / (bound / math.sqrt(3)) - 1) < 0.03
        assert not layer.bias.any()


def test_other_layers_keep_their_weights():
    network = nn.Sequential(nn.Embedding(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, bias=False))
    before = [parameter.clone() for parameter in network.parameters()]
    glorot(network)
    same = [torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True)]
    assert same == [True, True, True, False]


def test_the_callers_seed_decides():
    def weight(seed: int) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return glorot(nn.Linear(4, 3)).weight.detach()

    assert torch.equal(weight(0), weight(0))
    assert not torch.equal(weight(0), weight(1))
