"""Features: what the last linear layer is given."""

import pytest
import torch
from torch import nn

import tonsure as tn
from tonsure.models.features import penultimate

SHORT = tn.Training(iterations=10)


@pytest.fixture(autouse=True)
def _same_initial_weights():
    torch.manual_seed(0)


def items(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


def cnn() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(144, 3))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5, batch_first=True)
        self.leave = nn.Linear(4, 3)

    def forward(self, inputs):
        return self.leave(input=self.layer(inputs).mean(dim=1))


class Reversed(nn.Module):
    """Its last layer is the first that it has."""

    def __init__(self):
        super().__init__()
        self.last, self.first = nn.Linear(5, 3), nn.Linear(4, 5)

    def forward(self, inputs):
        return self.last(self.first(inputs).relu())


def last_layer(network: nn.Module) -> nn.Linear:
    found = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return network.last if isinstance(network, Reversed) else found[-1]


@pytest.mark.parametrize(
    ("make", "inputs"),
    [(mlp, items(11, 4)), (cnn, items(11, 1, 8, 8)), (Transformer, items(11, 5, 4)), (Reversed, items(11, 4))],
)
@pytest.mark.parametrize("block_size", [1, 4, 11, 1024])
def test_the_last_layer_makes_logits_of_them(make, inputs, block_size):
    network = make().eval()
    features = penultimate(network, inputs, block_size=block_size)
    last = last_layer(network)
    assert features.shape == (11, last.in_features)
    torch.testing.assert_close(features @ last.weight.T + last.bias, network(inputs))
    assert not any(layer._forward_pre_hooks for layer in network.modules())


def test_same_as_the_network_cut_before_its_last_layer(device):
    model = tn.MCDropout(mlp(), samples=4, training=tn.Training(iterations=10, device=device))
    model.fit(items(9, 4), torch.arange(9) % 3)
    model.log_probs(items(7, 4))  # leaves a mask in use
    features = model.features(items(7, 4).to(device))
    cut = model._fitted[0][:5].cpu()
    for layer in cut.modules():
        if hasattr(layer, "use"):
            layer.use(sample=None, items=0)
    torch.testing.assert_close(features, cut(items(7, 4)))
    assert features.device.type == "cpu"
    assert not features.requires_grad


@pytest.mark.parametrize(
    ("make", "inputs"), [(mlp, items(11, 4)), (cnn, items(11, 1, 8, 8)), (Transformer, items(11, 5, 4))]
)
def test_without_dropout(make, inputs):
    """As the network itself in evaluation mode, and predictions are as before."""
    network = make()
    model = tn.MCDropout(network, samples=4)
    before = model.log_probs(inputs)
    torch.testing.assert_close(model.features(inputs), penultimate(network.eval(), inputs))
    torch.testing.assert_close(model.features(inputs, block_size=3), model.features(inputs))
    assert torch.equal(model.log_probs(inputs), before)


def test_an_ensemble_has_those_of_all_members(device):
    ensemble = tn.Ensemble(mlp, members=3, training=tn.Training(iterations=10, device=device))
    with pytest.raises(tn.InputError, match="no members before it is fitted"):
        ensemble.features(items(5, 4))
    ensemble.fit(items(9, 4), torch.arange(9) % 3)
    features = ensemble.features(items(5, 4), block_size=2)
    assert features.shape == (5, 18)
    members = [penultimate(network, items(5, 4)) for network in ensemble._networks]
    squared = torch.stack([torch.cdist(member, member).square() for member in members]).mean(dim=0)
    torch.testing.assert_close(torch.cdist(features, features).square(), squared, atol=1e-5, rtol=1e-4)
    assert {parameter.device.type for network in ensemble._networks for parameter in network.parameters()} == {"cpu"}


def test_a_layer_that_is_given_tokens_is_flattened():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.leave = nn.Linear(4, 3)

        def forward(self, inputs):
            return self.leave(inputs).mean(dim=1)

    inputs = items(6, 5, 4)
    assert torch.equal(penultimate(Tokens(), inputs), inputs.flatten(1))


def test_a_model_without_features_says_what_to_write():
    class Mine(tn.BayesianModel):
        samples = 2

        def fit(self, inputs, labels_n, *, seed=0):
            pass

        def members(self):
            yield lambda inputs: torch.zeros(len(inputs), 2, 3).log_softmax(-1)

        def __repr__(self):
            return "Mine()"

    with pytest.raises(tn.InputError, match=r"Mine\(\) exposes no features: give Mine a method features\(inputs\)"):
        Mine().features(items(5, 4))


@pytest.mark.parametrize(
    ("network", "inputs", "message"),
    [
        (nn.Sequential(nn.Conv1d(1, 3, 4), nn.Flatten()), items(5, 1, 4), "the network calls no nn.Linear"),
        (
            nn.Sequential(nn.Flatten(0), nn.Linear(20, 15), nn.Unflatten(0, (5, 3))),
            items(5, 4),
            r"must have the items on the first axis of its input, found the shape \[20\] for 5 items",
        ),
        (nn.Linear(4, 3), items(0, 4), "there are 0 items"),
    ],
)
def test_a_network_that_has_none_is_refused(network, inputs, message):
    with pytest.raises(tn.InputError, match=message):
        penultimate(network, inputs)
    assert not any(layer._forward_pre_hooks for layer in network.modules())
