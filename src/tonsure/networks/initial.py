"""Initial weights."""

from typing import TypeVar

from torch import nn

from tonsure.networks.forward import a_network

Network = TypeVar("Network", bound=nn.Module)

_WITH_WEIGHTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def glorot(network: Network) -> Network:
    """Draws new weights for dense and convolutional layers, in place, and sets their biases to 0.

    w ~ U(−a, a)  with  a = √(6 / (inputs + outputs)),  where the size of a kernel counts in both. Other layers keep
    their weights. Draws from torch's global generator, as the layers do; ``tonsure.Ensemble`` seeds it for its members.
    Source: Glorot & Bengio 2010.

    Returns:
        The same network.

    Raises:
        InputError: it is none.
    """
    a_network("network", network)
    for layer in network.modules():
        if isinstance(layer, _WITH_WEIGHTS):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
