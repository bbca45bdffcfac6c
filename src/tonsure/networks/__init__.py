"""The networks of the experiments, made of torch's layers alone. Any other ``nn.Module`` can be used as well."""

from tonsure.networks.convolutional import cifar_network as cifar_network
from tonsure.networks.convolutional import emnist_network as emnist_network
from tonsure.networks.convolutional import mnist_network as mnist_network
from tonsure.networks.dense import dense_network as dense_network
from tonsure.networks.initial import glorot as glorot
from tonsure.networks.resnet import resnet18 as resnet18
from tonsure.networks.text import fasttext_network as fasttext_network
from tonsure.networks.text import text_convolution as text_convolution
