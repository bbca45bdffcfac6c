"""Data sets to measure methods on. Each loader checks what it reads and says what it made of it."""

from tonsure.datasets.dataset import Dataset
from tonsure.datasets.digits import Digits
from tonsure.datasets.files import DownloadError
from tonsure.datasets.mnist import MNIST, FashionMNIST

__all__ = ["MNIST", "Dataset", "Digits", "DownloadError", "FashionMNIST"]
