"""Dense networks, for feature vectors and small items."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from tonsure.networks.initial import glorot
from tonsure.networks.settings import checked_settings


@checked_settings
def dense_network(inputs: int, classes: int, hidden: Sequence[int] = (256,), dropout: float = 0.5) -> nn.Sequential:
    """(dense, ReLU, dropout) for each hidden layer, then dense: a multilayer perceptron.

    From items [n, ...], which are flattened, to logits [n, C]. Without hidden layers it is multinomial logistic
    regression.

    Args:
        inputs: the number of numbers in one item.
        classes: C.
        hidden: units of each hidden layer.
        dropout: probability of dropping a unit.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    widths = [inputs, *hidden]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return glorot(nn.Sequential(*layers, nn.Linear(widths[-1], classes)))
