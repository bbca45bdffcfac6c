"""Features: the penultimate activations."""

import inspect

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

    with pytest.raises(tn.InputError, match=r"Mine\(\) has no features: give Mine a method features\(inputs\) that"):
        Mine().features(items(5, 4))


@pytest.mark.parametrize(
    ("network", "inputs", "message"),
    [
        (nn.Sequential(nn.Conv1d(1, 3, 4), nn.Flatten()), items(5, 1, 4), "the network calls no nn.Linear"),
        (
            nn.Sequential(nn.Flatten(0), nn.Linear(20, 15), nn.Unflatten(0, (5, 3))),
            items(5, 4),
            r"must have the items on its first axis, found the shape \[20\] for 5 items",
        ),
        (nn.Linear(4, 3), items(0, 4), "there are no items, expected at least 1"),
    ],
)
def test_a_network_that_has_none_is_refused(network, inputs, message):
    with pytest.raises(tn.InputError, match=message):
        penultimate(network, inputs)
    assert not any(layer._forward_pre_hooks for layer in network.modules())


@pytest.mark.parametrize("block_size", [4, 1024])
@pytest.mark.parametrize("convert", [lambda inputs: inputs, lambda inputs: inputs.double().numpy()])
def test_features_of_a_network_or_a_model(convert, block_size):
    network, inputs = mlp(), items(11, 4)
    features = tn.features(network, convert(inputs), block_size=block_size)
    assert torch.equal(features, penultimate(network.eval(), inputs, block_size=block_size))
    model = tn.MCDropout(network, samples=2)
    assert torch.equal(tn.features(model, convert(inputs)), model.features(inputs))


def test_features_are_on_the_cpu_wherever_the_network_is(device):
    network = mlp().to(device)
    for where in (None, device):
        assert tn.features(network, items(5, 4), device=where).device.type == "cpu"


def test_the_mode_of_every_layer_is_restored():
    network = mlp()
    network[2].eval()
    before = [module.training for module in network.modules()]
    seen = []
    network[2].register_forward_hook(lambda module, given, found: seen.append(network.training))
    tn.features(network, items(5, 4))
    assert [module.training for module in network.modules()] == before
    assert seen == [False]
    with pytest.raises(tn.InputError, match=r"calls no nn\.Linear"):
        tn.features(nn.Sequential(nn.Dropout(), nn.Flatten()), items(5, 4))
    network[5] = nn.Identity()
    network.train()
    with pytest.raises(tn.InputError, match=r"cannot be used on a Tensor of torch.float32 and shape \(5, 3\): Runtime"):
        tn.features(network, items(5, 3))
    assert network.training


def test_features_of_something_else():
    with pytest.raises(tn.InputError, match=r"the model is 'resnet', expected a BayesianModel or a torch\.nn\.Module"):
        inspect.unwrap(tn.features)("resnet", items(5, 4))  # without the type checks of the test run


def without_linear() -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.5), nn.Conv1d(1, 3, 4), nn.Flatten())


def test_models_without_a_linear_layer_have_no_features():
    assert tn.MCDropout(mlp(), samples=2).has_features
    assert tn.MCDropout(Transformer(), samples=2).has_features
    assert not tn.MCDropout(without_linear(), samples=2).has_features
    for make, found in ((mlp, True), (without_linear, False)):
        ensemble = tn.Ensemble(make, members=2, training=SHORT)
        state = torch.get_rng_state()
        assert ensemble.has_features == found
        assert torch.equal(torch.get_rng_state(), state)
        ensemble.fit(items(9, 4) if found else items(9, 1, 4), torch.arange(9) % 3)
        assert ensemble.has_features == found


def test_predictions_of_a_model_without_a_linear_layer_are_stored_alone(tmp_path):
    model = tn.MCDropout(without_linear(), samples=2)
    assert tn.predict(model, items(5, 1, 4), out=tmp_path / "store").features is None
    with pytest.raises(tn.InputError, match=r"calls no nn\.Linear"):
        tn.features(model, items(5, 1, 4))


@pytest.mark.parametrize("make", [lambda: tn.MCDropout(mlp(), samples=3), lambda: tn.Ensemble(mlp, members=3)])
def test_stored_features_are_those_of_the_model(tmp_path, make):
    model = make()
    model.training = SHORT
    model.fit(items(9, 4), torch.arange(9) % 3)
    store = tn.predict(model, items(11, 4), rows=[10, 3, 3, 0, 1], out=tmp_path / "store", block_size=2)
    features = tn.features(model, items(11, 4)[[10, 3, 3, 0, 1]])
    torch.testing.assert_close(store.features, features)
    assert tn.predict(model, items(11, 4), rows=[10, 3, 3, 0, 1], out=tmp_path / "store").features is not None
