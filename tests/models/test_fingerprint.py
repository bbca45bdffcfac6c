"""The hash of a model: another one for every number that matters, the same in every process."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import tonsure as tn
from tonsure.models.fingerprint import fingerprint


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.norm, self.leave = nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("unsaved", torch.zeros(2), persistent=False)
        self.scale, self.temperature = torch.ones(3), 1.0

    def forward(self, inputs):
        return self.leave(self.drop(self.norm(self.enter(inputs)))) * self.scale / self.temperature


@pytest.fixture
def model():
    torch.manual_seed(0)
    return tn.MCDropout(Network(), samples=3)


def changed(tensor: torch.Tensor) -> None:
    with torch.no_grad():
        tensor.view(-1)[0] += 1e-6


@pytest.mark.parametrize(
    "change",
    [
        lambda network: changed(network.enter.weight),
        lambda network: changed(network.norm.running_mean),
        lambda network: network.norm.num_batches_tracked.add_(1),
        lambda network: changed(network.unsaved),
        lambda network: changed(network.scale),
        lambda network: setattr(network, "temperature", 1.0001),
        lambda network: setattr(network.norm, "eps", 1e-4),
        lambda network: setattr(network.drop.ordinary, "p", 0.4),
        lambda network: network.drop.forget(seed=1, samples=3),
        lambda network: network.double(),
        lambda network: setattr(network, "norm", nn.Identity()),
        lambda network: setattr(network, "extra", [{"a": (np.zeros(1),)}]),
    ],
)
def test_another_model(model, change):
    before = fingerprint(model)
    change(model._fitted[0])
    assert fingerprint(model) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.log_probs(torch.ones(5, 2)),  # draws the masks
        lambda model: model.features(torch.ones(5, 2)),
        lambda model: model._fitted.train(),
        lambda model: model._fitted.requires_grad_(False),
        lambda model: model._fitted[0].enter.register_forward_hook(print),
        lambda model: setattr(model._fitted[0].enter.weight, "grad", torch.ones(4, 2)),
        lambda model: setattr(
            model._fitted[0].enter, "weight", nn.Parameter(model._fitted[0].enter.weight.T.clone().T)
        ),
        lambda model: setattr(model, "calls", 5),
        lambda model: setattr(model, "optimizer", torch.optim.Adam(model._fitted.parameters())),
    ],
)
def test_the_same_model(model, change):
    before = fingerprint(model)
    change(model)
    assert fingerprint(model) == before
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert fingerprint(copied) == before


def test_samples_and_classes_count(model):
    assert fingerprint(tn.MCDropout(Network(), samples=4)) != fingerprint(model)
    other = type("Other", (tn.MCDropout,), {})
    same = copy.deepcopy(model)
    same.__class__ = other
    assert fingerprint(same) != fingerprint(model)


def test_an_ensemble_is_its_members():
    def fitted(seed):
        ensemble = tn.Ensemble(lambda: nn.Linear(2, 3), 2, tn.Training(iterations=2))
        ensemble.fit(torch.eye(2), torch.arange(2), seed=seed)
        return ensemble

    assert fingerprint(fitted(0)) == fingerprint(fitted(0)) != fingerprint(fitted(1))
    turned = fitted(0)
    turned._networks.reverse()
    assert fingerprint(turned) != fingerprint(fitted(0))


class Odd(tn.BayesianModel):
    """Holds all kinds of things, itself among them."""

    samples = 2

    def __init__(self):
        self.itself, self.list = self, [1.0]
        self.list.append(self.list)
        self.by_name = {1: 1.0, "1": 2j, None: np.float32(3)}
        self.objects = np.array([torch.ones(2), None, "a"], dtype=object)
        self.sparse, self.empty = torch.eye(3).to_sparse(), torch.empty(2, device="meta")
        self.half, self.turned = torch.ones(3, dtype=torch.bfloat16), (torch.ones(2) + 1j).conj()
        self.lazy, self.single, self.text = nn.LazyLinear(3), torch.tensor(1.0), np.array(["a"])
        self.generator, self.function, self.kind = torch.Generator(), lambda: 0, nn.Linear
        self.training = tn.Training()

    def fit(self, inputs, labels_n, *, seed=0):
        raise NotImplementedError

    def members(self):
        raise NotImplementedError


def test_whatever_a_model_holds():
    found = fingerprint(Odd())
    assert fingerprint(Odd()) == found
    for change in (
        lambda odd: odd.objects[0].add_(1),
        lambda odd: odd.list.insert(0, 1.0),
        lambda odd: odd.by_name.update({"1": 3j}),
        lambda odd: odd.half.add_(1),
        lambda odd: setattr(odd, "sparse", 2 * odd.sparse),
        lambda odd: setattr(odd, "training", tn.Training(learning_rate=0.1)),
    ):
        odd = Odd()
        change(odd)
        assert fingerprint(odd) != found


def test_what_a_class_leaves_out_of_its_state_is_left_out():
    class Caching(Odd):
        cache = 0.0

        def __getstate__(self):
            return {name: value for name, value in vars(self).items() if name != "cache"}

    caching = Caching()
    before = fingerprint(caching)
    caching.cache = 2.0
    assert fingerprint(caching) == before
