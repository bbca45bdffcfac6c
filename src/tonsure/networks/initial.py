"""Initial weights."""

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)

_WITH_WEIGHTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def glorot(network: Network) -> Network:
    """Draws the weights of dense and convolutional layers anew, in place, and sets their biases to 0.

    w ~ U(−a, a)  with  a = √(6 / (inputs + outputs)),  where a kernel's size counts in both. Other layers keep the
    weights they have. Drawn from torch's global generator, like the layers' own weights: who wants the same ones
    twice seeds it, as ``tonsure.Ensemble`` does for its members. Glorot & Bengio 2010.

    Returns:
        The same network.
    """
    for layer in network.modules():
        if isinstance(layer, _WITH_WEIGHTS):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
