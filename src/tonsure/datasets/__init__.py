"""Datasets for experiments. Each loader checks the files that it reads and describes what it made of them."""

from tonsure.datasets.ag_news import AGNews
from tonsure.datasets.banking77 import Banking77
from tonsure.datasets.cifar import CIFAR10, CIFAR100
from tonsure.datasets.clinc150 import CLINC150
from tonsure.datasets.dataset import Dataset, Loader
from tonsure.datasets.digits import Digits
from tonsure.datasets.emnist import EMNIST
from tonsure.datasets.emnist47 import EMNIST47
from tonsure.datasets.encoded import Encoded
from tonsure.datasets.encoders import EfficientNetLite0, Encoder, MiniLM
from tonsure.datasets.kmeans_features import KMeansFeatures
from tonsure.datasets.latent_semantics import LatentSemantics
from tonsure.datasets.long_tailed import LongTailed
from tonsure.datasets.mnist import KMNIST, MNIST, FashionMNIST
from tonsure.datasets.repeated import Repeated
from tonsure.datasets.subset import Subset
from tonsure.datasets.svhn import SVHN
from tonsure.errors import DownloadError

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "CLINC150",
    "EMNIST",
    "EMNIST47",
    "KMNIST",
    "MNIST",
    "SVHN",
    "AGNews",
    "Banking77",
    "Dataset",
    "Digits",
    "DownloadError",
    "EfficientNetLite0",
    "Encoded",
    "Encoder",
    "FashionMNIST",
    "KMeansFeatures",
    "LatentSemantics",
    "Loader",
    "LongTailed",
    "MiniLM",
    "Repeated",
    "Subset",
]
