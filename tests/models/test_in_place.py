"""Networks that work in place: the same posterior as out of place, and nothing of the user's is changed."""

import numpy as np
import pytest
import torch
from torch import nn

import tonsure as tn
from tonsure.training import fit

SHORT = tn.Training(iterations=3)


class Shift(nn.Module):
    """h − 1, through a view of h."""

    def __init__(self, in_place: bool):
        super().__init__()
        self.in_place = in_place

    def forward(self, activations):
        if not self.in_place:
            return activations - 1.0
        activations.flatten(1)[:].sub_(1.0)
        return activations


class Position(nn.Module):
    """(h + w, h + w): passes a tuple on."""

    def __init__(self, in_place: bool, width: int):
        super().__init__()
        self.in_place, self.weight = in_place, nn.Parameter(torch.linspace(-1, 1, width))

    def forward(self, activations):
        if self.in_place:
            activations += self.weight
        else:
            activations = activations + self.weight
        return activations, activations + 0.0


class Second(nn.Module):
    def __init__(self, in_place: bool, dropout: nn.Module):
        super().__init__()
        self.in_place, self.dropout = in_place, dropout
        self.leave = nn.Linear(4, 3)

    def forward(self, both):
        hidden, other = both
        if self.in_place:
            hidden.add_(other)
        else:
            hidden = hidden + other
        hidden = self.dropout(hidden).flatten(1)
        logits = self.leave(hidden)
        if self.in_place and not torch.is_grad_enabled():
            hidden.zero_()  # the input of the last linear layer is the features
        return logits


def begun_by_dropout(in_place: bool) -> nn.Module:
    return nn.Sequential(nn.Dropout(0.5, inplace=in_place), Shift(in_place), nn.Flatten(), nn.Linear(4, 3))


def hook_on_dropout(in_place: bool) -> nn.Module:
    network = begun_by_dropout(False)
    change = torch.Tensor.sub_ if in_place else torch.sub
    network[0].register_forward_pre_hook(lambda layer, given: (change(given[0], 1.0),))
    return network


def tuples(in_place: bool) -> nn.Module:
    return nn.Sequential(Shift(in_place), Position(in_place, 4), Second(in_place, nn.Dropout(0.5, inplace=in_place)))


def channels(in_place: bool) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (2, 2)),
        Shift(in_place),
        nn.Unflatten(2, (2, 1)),
        nn.Dropout2d(0.5, inplace=in_place),
        Shift(in_place),
        nn.ReLU(inplace=in_place),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


class Kept(nn.Module):
    """Keeps its input for ``Around``."""

    def forward(self, activations):
        self.activations = activations
        return activations


class Around(nn.Module):
    """kept + h: a connection around the layers between the two."""

    def __init__(self, in_place: bool, kept: Kept):
        super().__init__()
        self.in_place, self.kept = in_place, kept

    def forward(self, activations):
        add = torch.Tensor.add_ if self.in_place else torch.add
        return add(self.kept.activations, activations)


def around(in_place: bool) -> nn.Module:
    kept = Kept()
    return nn.Sequential(
        nn.Linear(4, 4), kept, nn.Dropout(0.5), nn.Linear(4, 4), Around(in_place, kept), nn.Linear(4, 3)
    )


def without_dropout(in_place: bool) -> nn.Module:
    return nn.Sequential(Shift(in_place), nn.Linear(4, 6), Shift(in_place), nn.Linear(6, 3))


def items(n: int = 30) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(0))


LABELS = torch.arange(30) % 3


def model(kind: str, in_place: bool, training: tn.Training = SHORT) -> tn.BayesianModel:
    torch.manual_seed(0)
    if kind.startswith("ensemble"):
        return tn.Ensemble(lambda: without_dropout(in_place), 3, training, vectorized=kind == "ensemble together")
    return tn.MCDropout(globals()[kind](in_place), 5, training)


KINDS = ["begun_by_dropout", "hook_on_dropout", "tuples", "channels", "around", "ensemble alone", "ensemble together"]


def outputs(kind: str, in_place: bool, inputs: torch.Tensor) -> list[torch.Tensor]:
    found, made = [], model(kind, in_place)
    for fitted in (False, True):
        if fitted:
            made.fit(inputs, LABELS)
        elif kind.startswith("ensemble"):
            continue
        found += [made.log_probs(inputs), tn.predict(made, inputs, block_size=7), tn.features(made, inputs)]
    metrics = tn.all_metrics(inputs, LABELS)(made)
    return [*found, torch.tensor(list(metrics.values()))]


@pytest.mark.parametrize("kind", KINDS)
def test_the_posterior_is_that_of_the_network_out_of_place(kind):
    inputs = items()
    for one, other in zip(outputs(kind, True, inputs), outputs(kind, False, inputs), strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(inputs, items())


@pytest.mark.parametrize("make", [begun_by_dropout, tuples, channels, without_dropout])
def test_features_of_a_network(make):
    inputs, found = items(), []
    for in_place in (True, False):
        torch.manual_seed(0)
        found.append(tn.features(make(in_place), inputs, block_size=7))
    torch.testing.assert_close(*found)
    assert torch.equal(inputs, items())


@pytest.mark.parametrize("kind", ["tuples", "ensemble alone"])
def test_early_stopping(kind):
    inputs, validation = items(), items()[:9]
    found = []
    for in_place in (True, False):
        made = model(kind, in_place, tn.Training(epochs=4, patience=1))
        made.fit(inputs, LABELS, validation=(validation, LABELS[:9]))
        found.append(made.log_probs(inputs))
    torch.testing.assert_close(*found)
    assert torch.equal(inputs, items())
    assert torch.equal(validation, items()[:9])


class Overwriting(tn.BayesianModel):
    """A model of the user that overwrites all that it is given."""

    samples = 2

    def fit(self, inputs, labels_n, *, seed=0, validation=None):
        for given in (inputs, labels_n, *validation):
            given.zero_()

    def members(self):
        for _ in range(2):
            yield lambda inputs: torch.cat([inputs.sub_(1.0), -inputs], 1)[:, None].log_softmax(2)

    def features(self, inputs):
        return inputs.mul_(2.0).clone()


@pytest.mark.parametrize("kind", ["tuples", "ensemble together", "overwriting"])
def test_rounds_overwrite_nothing(kind):
    array, labels = items().numpy(), LABELS.numpy().copy()
    made = Overwriting() if kind == "overwriting" else model(kind, True)
    validation = (array[:5], labels[:5]) if kind == "overwriting" else None
    pool = tn.Pool(array, {0: 0, 1: 1, 2: 2})
    turns = tn.rounds(
        pool,
        made,
        tn.FacilityLocation(),
        2,
        oracle=lambda rows: rows.mul_(0).tolist(),
        max_labels=6,
        validation=validation,
        metrics=tn.accuracy(array, labels),
    )
    assert [len(turn.rows) for turn in turns] == [2, 1, 0]
    assert np.array_equal(array, items().numpy())
    assert np.array_equal(labels, LABELS.numpy())
    assert pool.labels.tolist() == [0, 1, 2, 0, 0, 0]


def test_members_of_a_model_are_given_the_same_inputs():
    first, second = Overwriting().log_probs(items()).unbind(1)
    assert torch.equal(first, second)


def test_inputs_get_no_gradient():
    inputs = items().requires_grad_()
    for kind in ("tuples", "ensemble together"):
        model(kind, True).fit(inputs, LABELS)
    fit(without_dropout(True), inputs, LABELS, SHORT, seed=0)
    assert inputs.grad is None


def test_what_a_hook_does_to_a_sequence_of_layers():
    """The layers before the first dropout are not run apart then."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Sequential(nn.Linear(4, 5), nn.Tanh()), nn.Dropout(0.5), nn.Linear(5, 3))
    hooked = tn.MCDropout(network, 4)
    plain = hooked.log_probs(items())
    for add, hook in (
        (network.register_forward_hook, lambda module, given, found: 2 * found),
        (network.register_forward_pre_hook, lambda module, given: (given[0].mul_(0),)),
    ):
        handle = add(hook)
        found = tn.MCDropout(network, 4).log_probs(items())
        handle.remove()
        assert not torch.allclose(found, plain, atol=1e-3)
    torch.testing.assert_close(found, hooked.log_probs(0 * items()))


def test_hooks_of_a_dropout_layer_are_called_once_whatever_the_mode():
    network, seen = begun_by_dropout(False), []
    network[0].register_forward_hook(lambda layer, given, found: seen.append(layer.training))
    made = tn.MCDropout(network, 3, SHORT)
    made.log_probs(items())
    assert seen == [False] * 3
    made.fit(items(), LABELS)
    assert seen == [False] * 3 + [True] * 3


def test_dropout_in_place_changes_what_it_is_given():
    """As in training: h + dropout(h) is twice the dropped h."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter, self.drop, self.leave = nn.Linear(4, 5), nn.Dropout(0.5, inplace=True), nn.Linear(5, 3)

        def forward(self, inputs):
            hidden = self.enter(inputs)
            return self.leave(hidden + self.drop(hidden))

    torch.manual_seed(0)
    network = Residual()
    made = tn.MCDropout(network, 2)
    log_probs = made.log_probs(items())
    (masks,) = (layer.masks for layer in made._fitted.modules() if hasattr(layer, "masks"))
    expected = network.leave(2 * network.enter(items()) * masks[1]).log_softmax(1)
    torch.testing.assert_close(log_probs[:, 1], expected)
