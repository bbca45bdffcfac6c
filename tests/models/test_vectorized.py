from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from tonsure.errors import InputError
from tonsure.models import Ensemble, vectorized
from tonsure.networks import mnist_network, text_convolution
from tonsure.training import Training, TrainingError, cosine

MOMENTUM = partial(torch.optim.SGD, momentum=0.9, nesterov=True)


def dense(hidden: int = 8, dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 3))


def frozen() -> nn.Sequential:
    network = dense()
    network[0].requires_grad_(False)
    return network


def tied() -> nn.Sequential:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(4, 3))


def convolutional() -> nn.Sequential:
    return mnist_network(3, channels=(2, 3), hidden=8, dropout=0.0)


def items(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def weights(make, inputs: torch.Tensor, training: Training, **settings) -> torch.Tensor:
    # In float64: in single precision Adam makes much of what rounding leaves of a gradient that should be zero.
    ensemble = Ensemble(lambda: make().double(), members=3, training=training, **settings)
    ensemble.fit(inputs.double(), torch.arange(len(inputs)) % 3, seed=5)
    assert not any(network.training for network in ensemble._networks)
    parameters = [nn.utils.parameters_to_vector(network.parameters()) for network in ensemble._networks]
    return torch.stack(parameters).detach()


@pytest.mark.parametrize("optimizer", [*sorted(vectorized._ELEMENTWISE, key=str), MOMENTUM], ids=str)
def test_together_as_alone_for_every_optimizer(optimizer):
    training = Training(optimizer, 0.01, weight_decay=0.01, schedule=cosine, iterations=60, batch_size=16)
    alone = weights(dense, items(70, 4), training, vectorized=False)
    together = weights(dense, items(70, 4), training, vectorized=True)
    torch.testing.assert_close(together, alone, rtol=1e-7, atol=1e-9)
    assert not torch.isclose(alone[0], alone[1]).any()


@pytest.mark.parametrize(
    ("make", "inputs"),
    [(convolutional, items(40, 1, 28, 28)), (frozen, items(40, 4)), (tied, items(40, 4))],
)
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, MOMENTUM], ids=str)
def test_together_as_alone_for_other_networks(make, inputs, optimizer):
    training = Training(optimizer, 0.01, epochs=20, batch_size=16)  # 60 steps
    alone = weights(make, inputs, training, vectorized=False)
    torch.testing.assert_close(weights(make, inputs, training, vectorized=True), alone, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "training", "together"),
    [
        (dense, Training(iterations=2), True),
        (lambda: dense(hidden=4000), Training(iterations=2), False),
        (lambda: dense(dropout=0.5), Training(iterations=2), False),
        (lambda: nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(4, 3)), Training(iterations=2), False),
        (dense, Training(torch.optim.NAdam, iterations=2), False),
    ],
)
def test_by_default_small_dense_networks_are_trained_together(make, training, together, monkeypatch):
    calls = []
    fit_together = vectorized.fit_together
    monkeypatch.setattr(
        "tonsure.models.ensemble.fit_together",
        lambda *given, **named: calls.append(0) or fit_together(*given, **named),
    )
    inputs = items(9, 4) if type(make()[0]) is nn.Linear else items(9, 1, 4)
    Ensemble(make, members=2, training=training).fit(inputs, torch.arange(9) % 3)
    assert bool(calls) == together


class Own(nn.Module):
    def forward(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("network", "members", "device", "quicker"),
    [
        (dense(), 2, "cpu", True),
        (dense(), 1, "cpu", False),
        (dense(), 2, "cuda", False),
        (nn.Sequential(nn.Linear(2, 9_999)), 2, "cpu", True),
        (nn.Sequential(nn.Linear(2, 10_001)), 2, "cpu", False),
        (nn.Sequential(nn.Conv2d(1, 1, 1)), 2, "cpu", False),
        (nn.Sequential(Own(), nn.Linear(2, 2)), 2, "cpu", False),
    ],
)
def test_when_it_is_held_to_be_quicker(network, members, device, quicker):
    assert vectorized.is_quicker([network] * members, Training(device=device)) == quicker


@pytest.mark.parametrize(
    ("make", "training", "reason"),
    [
        (
            dense,
            Training(lambda *given, **named: torch.optim.SGD(*given, **named)),
            "not one of those known .*Adagrad, Ad",
        ),
        (dense, Training(partial(torch.optim.LBFGS)), "not one of those known to update every weight indep"),
        (lambda: dense(dropout=0.1), Training(), "the network has dropout"),
        (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1), Training(), "the network has dropout"),
        (lambda: nn.Sequential(nn.LSTM(4, 3, 2, dropout=0.1)), Training(), "the network has dropout"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), Training(), "the network has buffers"),
        (lambda: dense(int(torch.randint(1000, ()))), Training(), "the members do not have the same structure"),
        (
            lambda: [nn.Linear(4, 3), nn.Linear(4, 3).double()][torch.rand(()) > 0.5],
            Training(),
            "do not have the same structure",
        ),
    ],
)
def test_what_stands_against_it_is_refused_only_when_asked_for(make, training, reason):
    torch.manual_seed(3)
    assert vectorized.obstacle([dense(), dense()], Training()) is None
    with pytest.raises(InputError, match=rf"cannot be trained together \(vectorized=True\): .*{reason}"):
        Ensemble(make, members=6, training=training, vectorized=True).fit(items(9, 4), torch.arange(9) % 3)


def test_with_patience_members_are_trained_alone():
    assert "stops at another step" in vectorized.obstacle([dense(), dense()], Training(patience=1))


def test_a_layer_that_is_wrong_together_is_refused():
    texts = torch.tensor([[1, 2, 0], [3, 0, 0], [1, 3, 2]])
    ensemble = Ensemble(
        lambda: text_convolution(4, 3, 2, 2, hidden=4, dropout=0.0), members=2, training=Training(), vectorized=True
    )
    with pytest.raises(InputError, match=r"the gradient of 0\.vectors\.weight of member 1 would differ"):
        ensemble.fit(texts, torch.arange(3))


def test_what_tells_members_apart_but_no_weight_is_refused():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.scale = nn.Linear(4, 3), torch.rand(())

        def forward(self, inputs):
            return functional.relu(self.linear(inputs)) * self.scale

    with pytest.raises(InputError, match=r"the gradient of linear\.weight of member 1"):
        Ensemble(Scaled, members=2, vectorized=True).fit(items(9, 4), torch.arange(9) % 3)


def test_divergence_names_the_member():
    made = []

    def make() -> nn.Module:
        network = nn.Linear(4, 3)
        network.weight.data *= 1e38 if len(made) == 2 else 1.0
        made.append(network)
        return network

    with pytest.raises(TrainingError, match=r"^member 2: the loss is (inf|nan) at iteration 0 of 1000, with the lear"):
        Ensemble(make, members=4, vectorized=True).fit(100 * items(9, 4), torch.arange(9) % 3)


@pytest.mark.parametrize(
    ("make", "labels", "message"),
    [
        (dense, torch.tensor([0, 1, 3]), "labels must be 0 to 2, as the network has 3 classes; found 0 to 3"),
        (lambda: nn.Unflatten(1, (2, 2)), torch.arange(3), r"must return logits \[n, C\], found the shape \[3, 2, 2\]"),
    ],
)
def test_unusable_labels_and_outputs_are_refused(make, labels, message):
    with pytest.raises(InputError, match=message):
        Ensemble(lambda: nn.Sequential(nn.Linear(4, 4), make()), 2, vectorized=True).fit(items(3, 4), labels)
