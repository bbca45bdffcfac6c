"""The whole of Fashion-MNIST, otherwise as experiments/mnist.py, to 2,000 labels.

TONSURE_DATA=folder tonsure run experiments/fashion_mnist.py --seeds 5 --methods random,PowerBALD,LBB
"""

from dataclasses import replace

import mnist

from tonsure.datasets import FashionMNIST

experiment = replace(mnist.experiment, name="fashion-mnist", dataset=FashionMNIST(), max_labels=2000)
