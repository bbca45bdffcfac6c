"""ResNet-18 for images of 32 × 32."""

from torch import Tensor, nn

from tonsure.networks.initial import glorot
from tonsure.networks.settings import checked_settings


@checked_settings
def resnet18(classes: int = 10, dropout: float = 0.0) -> nn.Sequential:
    """3 × 3 convolution, 8 residual blocks of 2 convolutions, the mean over the image, dropout, dense.

    From float32 [n, 3, 32, 32] to logits [n, C]. Blocks have 64, 64, 128, 128, 256, 256, 512 and 512 channels; the
    image is halved with each doubling.
    Source: He, Zhang, Ren & Sun 2016, without their 7 × 7 convolution and max-pool at the input, which would reduce
    such small images to 2 × 2.

    Args:
        classes: C.
        dropout: probability of dropping one of the 512 features before the last layer. ``MCDropout`` runs all layers
            before it once for all samples.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    for before, after in ((64, 64), (64, 128), (128, 256), (256, 512)):
        layers += [ResidualBlock(before, after), ResidualBlock(after, after)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(512, classes)]
    return glorot(nn.Sequential(*layers, *head))


class ResidualBlock(nn.Module):
    """h ↦ ReLU(f(h) + g(h)): f is two 3 × 3 convolutions with batch normalization, ReLU between them.

    g is the identity. If the number of channels grows, g is a 1 × 1 convolution with batch normalization, and f and g
    halve the image.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.convolutions = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False),
                nn.BatchNorm2d(after),
            )

    def forward(self, activations: Tensor) -> Tensor:
        return nn.functional.relu(self.convolutions(activations) + self.shortcut(activations))
