"""Convolutional networks for small images, with dropout.

All are sequences of layers, so that ``MCDropout`` runs the layers before the first dropout once for all samples.
"""

from torch import nn

from tonsure.networks.initial import glorot
from tonsure.networks.settings import checked_settings


@checked_settings
def mnist_network(
    classes: int = 10, channels: tuple[int, int] = (32, 64), hidden: int = 128, dropout: float = 0.5
) -> nn.Sequential:
    """(5 × 5 convolution, max-pool 2, ReLU, dropout) twice, (dense, ReLU, dropout), dense; for images of 28 × 28 × 1.

    From float32 [n, 1, 28, 28] to logits [n, C].
    Source: the MNIST network of Kirsch, van Amersfoort & Gal 2019 (BatchBALD).

    Args:
        classes: C.
        channels: of the two convolutions.
        hidden: units of the dense layer.
        dropout: probability of dropping a unit, after both convolutions and the dense layer.
    """
    first, second = channels
    return glorot(
        nn.Sequential(
            nn.Conv2d(1, first, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(first, second, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Dropout(dropout),
            *_dense_head(second * 4 * 4, hidden, classes, dropout),
        )
    )


@checked_settings
def emnist_network(classes: int = 47, dropout: float = 0.5) -> nn.Sequential:
    """(3 × 3 convolution, max-pool 2, ReLU, dropout) with 32, 64 and 128 channels, (dense 512, ReLU, dropout), dense.

    From float32 [n, 1, 28, 28] to logits [n, C].
    Source: after the EMNIST network of Kirsch, van Amersfoort & Gal 2019 (BatchBALD). Here the convolutions keep the
    size and all three are pooled: 28, 14, 7, 3.

    Args:
        classes: C.
        dropout: probability of dropping a unit, after every convolution and the dense layer.
    """
    layers: list[nn.Module] = []
    for before, after in ((1, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(dropout)]
    return glorot(nn.Sequential(*layers, *_dense_head(128 * 3 * 3, 512, classes, dropout)))


@checked_settings
def cifar_network(classes: int = 10, dropout: tuple[float, float] = (0.25, 0.5)) -> nn.Sequential:
    """(two 3 × 3 convolutions, max-pool 2, dropout) with 32 and 64 channels, (dense 512, ReLU, dropout), dense.

    From float32 [n, 3, 32, 32] to logits [n, C]. Every convolution keeps the size and is followed by ReLU.
    Source: the CIFAR-10 example of Keras.

    Args:
        classes: C.
        dropout: probabilities of dropping a unit after a pooling, and after the dense layer.
    """
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(after, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(dropout[0])]
    return glorot(nn.Sequential(*layers, *_dense_head(64 * 8 * 8, 512, classes, dropout[1])))


def _dense_head(inputs: int, hidden: int, classes: int, dropout: float) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes)]
