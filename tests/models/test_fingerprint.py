"""The hash of a model: another one for every number that matters, the same in every process."""

import copy
import pickle
from collections import OrderedDict, defaultdict, deque
from functools import partial, update_wrapper
from types import MappingProxyType, SimpleNamespace

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
        lambda network: setattr(network, "calls", 5),
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
        lambda model: setattr(model, "generator", torch.Generator()),
        lambda model: setattr(model, "device", torch.device("cpu")),
        lambda model: setattr(model, "optimizer", torch.optim.Adam(model._fitted.parameters())),
    ],
)
def test_the_same_model(model, change):
    before = fingerprint(model)
    change(model)
    assert fingerprint(model) == before
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert fingerprint(copied) == before


class Held:
    def __init__(self, value):
        self.value = value


class Slots:
    __slots__ = ("empty", "value")

    def __init__(self, value):
        self.value = value


class Counting(nn.Linear):
    calls = 0

    def forward(self, inputs):
        self.calls += 1
        return super().forward(inputs)


class Uncounted(Counting):
    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "calls"}


def holding(network, value):
    network.holds = Held(value)
    return network


HOLD = {
    "itself": lambda value: value,
    "an object": Held,
    "slots": Slots,
    "a namespace": lambda value: SimpleNamespace(value=value),
    "a deque": lambda value: deque([value]),
    "a partial": lambda value: partial(torch.add, value),
    "a partial by name": lambda value: partial(torch.add, alpha=value),
    "a closure": lambda value: lambda: value,
    "a default": lambda value: lambda inputs, by=value: inputs * by,
    "a method": lambda value: Held(value).__init__,
    "a function's attribute": lambda value: update_wrapper(lambda: 0, Held(value)),
    "objects by name": lambda value: {"a": Held(value)},
    "an ordered dict": lambda value: OrderedDict(a=value),
    "a default dict": lambda value: defaultdict(list, {2: Slots(value)}),
    "a view": lambda value: MappingProxyType({"a": value}),
    "a key": lambda value: {Held(value): 1},
    "a network": lambda value: nn.Sequential(holding(nn.Identity(), value)),
    "a list of its own": lambda value: type("Listed", (list,), {})([value]),
    "an array of objects": lambda value: np.array([Held(value), None], dtype=object),
}


CHANGES = [
    (torch.ones(2), torch.ones(2) + 1e-6),
    (10_000, 10_003),
    (True, False),
    ("mean", "sum"),
    (0.1, 0.2),
    (None, 0),
]


@pytest.mark.parametrize("hold", HOLD.values(), ids=HOLD)
def test_what_objects_hold(hold):
    def found(value):
        model = Odd()
        vars(model).clear()
        model.holds = hold(value)
        return fingerprint(model)

    for one, other in CHANGES:
        assert found(one) == found(copy.deepcopy(one)) != found(other)


def test_a_compiled_network_is_what_it_was_made_of():
    model = Odd()
    vars(model).clear()
    model.compiled = torch.compile(nn.Linear(2, 3), backend="eager")
    before = fingerprint(model)
    model.compiled = torch.compile(copy.deepcopy(model.compiled._orig_mod), backend="eager")
    assert fingerprint(model) == before
    changed(model.compiled._orig_mod.weight)
    assert fingerprint(model) != before


def test_sets_have_no_order():
    found = set()
    for names in ("abcdefgh", "hgfedcba"):
        model = Odd()
        model.holds = {Held(name) for name in names}
        model.names = frozenset(names)
        found.add(fingerprint(model))
    assert len(found) == 1
    model.names = frozenset("abcdefg")
    assert fingerprint(model) not in found


def test_circles_and_what_is_deep():
    model = Odd()
    model.circle, model.deep = Held(1), None
    model.circle.value = [model.circle, {"again": model.circle}, model]
    for _ in range(5_000):
        model.deep = Held(model.deep)
    before = fingerprint(model)
    assert fingerprint(model) == before
    model.circle.value.append(2)
    assert fingerprint(model) != before


def test_a_counter_is_a_part_unless_the_state_leaves_it_out():
    """A whole number may be a setting of ``forward`` or a count of calls; which one, only the class can tell."""
    for network, counts in ((Counting(2, 3), True), (Uncounted(2, 3), False)):
        model = tn.MCDropout(nn.Sequential(nn.Dropout(), network), samples=3)
        before = fingerprint(model)
        tn.predict(model, torch.ones(5, 2))
        assert (fingerprint(model) != before) is counts


@pytest.mark.parametrize(
    "make",
    [
        lambda: tn.MCDropout(Network(), samples=3),
        lambda: tn.MCDropout(
            nn.Sequential(nn.LSTM(2, 3, batch_first=True, dropout=0.0), Last(), nn.Dropout()), samples=2
        ),
        lambda: tn.Ensemble(Network, 2, tn.Training(iterations=2)),
    ],
)
def test_use_makes_no_other_model(make, tmp_path):
    """Neither predicting nor features, nor a copy, nor a way through a file."""
    model = make()
    if isinstance(model, tn.Ensemble):
        model.fit(torch.eye(2), torch.arange(2))
        inputs = torch.ones(5, 2)
    else:
        inputs = torch.ones(5, 4, 2) if isinstance(model._fitted[0], nn.Sequential) else torch.ones(5, 2)
    before = fingerprint(model)
    tn.predict(model, inputs, out=tmp_path / "store", block_size=2)
    assert fingerprint(model) == before == fingerprint(pickle.loads(pickle.dumps(model)))
    tn.predict(model, inputs, out=tmp_path / "store", block_size=2)  # the finished store


class Last(nn.Module):
    def forward(self, found):
        return found[0][:, -1]


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
