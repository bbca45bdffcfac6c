import pytest
import torch

from tonsure.errors import InputError
from tonsure.networks import fasttext_network, text_convolution
from tonsure.networks.text import MaxOfFilters
from tonsure.training import Training, fit

NETWORKS = {
    "fasttext": lambda: fasttext_network(10, 3, width=4, hidden=8),
    "convolution": lambda: text_convolution(10, 3, width=4, filters=6, sizes=(1, 2, 4), hidden=8),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_zeros_behind_a_text_change_nothing(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    texts = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 0, 0, 0, 0, 0], [3, 9, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    # Trained, for biases and the zeros' own vector are zero before, and would hide a fault.
    fit(network, texts, torch.tensor([0, 1, 2, 0]), Training(iterations=20, learning_rate=0.05), seed=0)
    with torch.no_grad():
        longer = torch.cat([texts, torch.zeros(4, 3, dtype=torch.int64)], dim=1)
        torch.testing.assert_close(network(longer), network(texts))
        torch.testing.assert_close(network(texts[1:3, :2]), network(texts[1:3]))
        assert not torch.isclose(network(texts[1:2]), network(texts[3:])).any()


def test_fasttext_is_the_mean_of_the_words():
    network = fasttext_network(10, 3, width=4)
    vectors = network[0].weight
    found = network[0](torch.tensor([[2, 5, 5, 0], [0, 0, 0, 0]]))
    torch.testing.assert_close(found, torch.stack([(vectors[2] + 2 * vectors[5]) / 3, torch.zeros(4)]))


def test_one_window_begins_at_each_word():
    """A second source: every window of every text written out."""
    torch.manual_seed(0)
    layer = MaxOfFilters(10, width=4, filters=3, sizes=(1, 3))
    texts = [[1, 2, 3, 4], [5, 6], [7]]
    expected = []
    for text in texts:
        found = []
        for convolution in layer.convolutions:
            size = convolution.kernel_size[0]
            words = torch.tensor([*text, *[0] * size])
            windows = [layer.vectors(words[i : i + size]).T for i in range(len(text))]
            values = [(convolution.weight * window).sum(dim=(1, 2)) + convolution.bias for window in windows]
            found.append(torch.stack(values).relu().amax(dim=0))
        expected.append(torch.cat(found))
    padded = torch.tensor([text + [0] * (4 - len(text)) for text in texts])
    torch.testing.assert_close(layer(padded), torch.stack(expected))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((), "sizes is empty, expected one or several"), ((2, 0), r"sizes\[1\] is 0, expected a whole")],
)
def test_sizes_of_no_words_are_refused(sizes, message):
    with pytest.raises(InputError, match=message):
        text_convolution(10, 3, sizes=sizes)
