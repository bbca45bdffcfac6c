import pytest
import torch
from torch import nn

from tonsure.errors import InputError
from tonsure.models import Ensemble
from tonsure.seeding import derive_seed, seeded
from tonsure.testing import check_model
from tonsure.training import Training, TrainingError, fit

SHORT = Training(iterations=10)


@pytest.fixture(autouse=True)
def _same_initial_weights():
    torch.manual_seed(0)


def make_network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def items(n: int) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(0))


def fitted(seed: int = 0, members: int = 3, **settings) -> Ensemble:
    ensemble = Ensemble(make_network, members=members, training=Training(iterations=10, **settings))
    ensemble.fit(items(9), torch.arange(9) % 3, seed=seed)
    return ensemble


def test_each_member_is_one_function_of_an_item(device):
    ensemble = fitted(device=device)
    check_model(ensemble, items(11))
    log_probs = ensemble.log_probs(items(11))
    assert log_probs.shape == (11, 3, 3)
    assert not torch.allclose(log_probs[:, 0], log_probs[:, 1], atol=1e-3)


def test_seed_and_place_decide_a_member():
    torch.manual_seed(0)
    first = fitted().log_probs(items(5))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    second = fitted().log_probs(items(5))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, second)
    assert torch.equal(first[:, :2], fitted(members=2).log_probs(items(5)))
    assert not torch.isclose(first, fitted(seed=1).log_probs(items(5))).all(dim=(0, 2)).any()


def test_every_member_begins_elsewhere():
    begun: list[float] = []

    def make_and_note() -> nn.Module:
        network = make_network()
        begun.append(network[0].weight.sum().item())
        return network

    for seed in (0, 0, 1):
        Ensemble(make_and_note, members=3, training=SHORT).fit(items(9), torch.arange(9) % 3, seed=seed)
    assert begun[:3] == begun[3:6]
    assert len(set(begun)) == 6


def test_members_come_one_at_a_time_and_wait_on_the_cpu(device):
    ensemble = fitted(device=device)
    places = lambda: [next(network.parameters()).device.type for network in ensemble._networks]  # noqa: E731
    assert places() == ["cpu"] * 3
    for k, member in enumerate(ensemble.members()):
        assert places() == ["cpu"] * k + [device] + ["cpu"] * (2 - k)
        torch.testing.assert_close(member(items(5)), ensemble.log_probs(items(5))[:, k : k + 1])
        break
    assert places() == ["cpu"] * 3


def test_a_second_fit_starts_anew():
    ensemble = fitted(seed=1)
    ensemble.fit(items(9), torch.arange(9) % 3, seed=0)
    assert torch.equal(ensemble.log_probs(items(5)), fitted(seed=0).log_probs(items(5)))


def test_predicting_before_fit_is_refused():
    with pytest.raises(InputError, match="no members before it is fitted"):
        Ensemble(make_network, members=2).log_probs(items(5))


def test_a_failed_fit_leaves_the_ensemble_as_it_was():
    ensemble = fitted()
    before = ensemble.log_probs(items(5))
    with pytest.raises(TrainingError):
        ensemble.fit(items(9) * torch.nan, torch.arange(9) % 3)
    assert torch.equal(ensemble.log_probs(items(5)), before)


def test_one_network_for_all_members_is_refused():
    network = make_network()
    with pytest.raises(InputError, match="the same network twice"):
        Ensemble(lambda: network, members=2, training=SHORT).fit(items(9), torch.arange(9) % 3)


def test_no_members_are_refused():
    with pytest.raises(InputError, match="members is 0, expected a whole number from 1"):
        Ensemble(make_network, members=0)


def test_repr_shows_the_settings():
    assert repr(Ensemble(make_network, members=2, training=SHORT)).startswith("Ensemble(members=2, training=Tr")
    assert Ensemble(make_network, members=2).samples == 2


def test_each_member_stops_when_it_is_best():
    inputs, labels = items(30), torch.arange(30) % 3
    make = lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))  # noqa: E731
    ensemble = Ensemble(make, members=3, training=Training(learning_rate=0.02, epochs=9, patience=1))
    ensemble.fit(inputs, labels, validation=(inputs, labels))
    for member, network in enumerate(ensemble._networks):
        with seeded(derive_seed(0, member, 0), torch.device("cpu")):
            alone = make()
        fit(alone, inputs, labels, ensemble.training, seed=derive_seed(0, member, 1), validation=(inputs, labels))
        assert torch.equal(alone[0].weight, network[0].weight)
    with pytest.raises(InputError, match="patience=1 needs examples to stop by"):
        ensemble.fit(inputs, labels)


def test_validation_without_patience_is_refused_however_it_is_trained():
    make = lambda: nn.Linear(4, 3)  # noqa: E731
    for vectorized in (None, False, True):
        with pytest.raises(InputError, match="only serve to stop early"):
            Ensemble(make, 2, SHORT, vectorized).fit(
                items(9), torch.arange(9) % 3, validation=(items(3), torch.arange(3))
            )


def test_repr_shows_a_choice_of_how_it_is_trained():
    assert repr(Ensemble(make_network, 2, SHORT, vectorized=False)).endswith("), vectorized=False)")
    assert repr(Ensemble(make_network, 2, SHORT)).endswith("device='cpu'))")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"members": "3"}, "members is '3'"),
        ({"members": 1.5}, "members is 1.5"),
        ({"make_network": nn.Linear(4, 3)}, "make_network is .*, expected a function that returns a new network"),
        ({"make_network": None}, "make_network is None"),
        ({"training": Training}, "training is the class Training"),
        ({"vectorized": "no"}, "vectorized is 'no', expected True or False"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_arguments_of_other_kinds_are_refused(argument, message):
    with pytest.raises(InputError, match=message):
        Ensemble(**{"make_network": make_network, "members": 2, **argument})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nn.Linear, "make_network failed: TypeError"),
        (lambda: None, "what make_network returns is None, expected an object such as torch.nn"),
        (lambda: nn.Linear, "what make_network returns is the class Linear"),
        (nn.Flatten, "has nothing to train"),
    ],
)
@pytest.mark.parametrize("vectorized", [False, True])
@pytest.mark.usefixtures("annotations_unchecked")
def test_what_makes_no_networks_is_refused(make, message, vectorized):
    with pytest.raises(InputError, match=message):
        Ensemble(make, 2, SHORT, vectorized).fit(items(9), torch.arange(9) % 3)
