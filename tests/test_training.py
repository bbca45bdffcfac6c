import functools
import math
from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tonsure.errors import InputError
from tonsure.training import Training, TrainingError, best_device, constant, cosine, fit


def make_network(seed: int = 0) -> nn.Module:
    network = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 2
    return network


def make_data(n: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(n, 2, generator=torch.Generator().manual_seed(1))
    return inputs, (inputs[:, 0] > inputs[:, 1]).long()


class Linear(torch.optim.SGD):
    """Notes what it is asked to do."""

    seen: list[float]

    def __init__(self, params, lr, weight_decay):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.seen = []
        Linear.last = self

    def step(self, closure=None):
        self.seen.append(self.param_groups[0]["lr"])
        super().step(closure)


class Ends(nn.Module):
    """A function, as the last layer."""

    def __init__(self, function, *more):
        super().__init__()
        self.function, self.more = function, more

    def forward(self, logits):
        return self.function(logits, *self.more)


class Recorder(nn.Module):
    """Notes the batches it is given."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 200)
        self.batches = []

    def forward(self, inputs):
        self.batches.append(inputs[:, 0].int().tolist())
        return self.linear(inputs)


def test_learns_what_can_be_learned(device):
    inputs, labels = make_data()
    network = fit(make_network(), inputs, labels, Training(iterations=300, learning_rate=0.02, device=device), seed=0)
    assert not network.training
    assert (network(inputs.to(device)).argmax(1).cpu() == labels).float().mean() > 0.95


def test_same_seed_same_weights_and_global_generators_undisturbed():
    inputs, labels = make_data()

    def weights(seed: int, noise: int) -> torch.Tensor:
        network = make_network()
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        fit(network, inputs, labels, Training(iterations=20), seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return nn.utils.parameters_to_vector(network.parameters())

    assert torch.equal(weights(0, noise=1), weights(0, noise=2))
    assert not torch.equal(weights(0, noise=1), weights(1, noise=1))
    assert not torch.backends.cudnn.deterministic


def test_the_seed_decides_the_dropout():
    def dropped(seed: int) -> torch.Tensor:
        network = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 2))
        seen = []
        network[1].register_forward_hook(lambda module, given, found: seen.append(given[0] == 0))
        fit(network, torch.ones(20, 8), torch.zeros(20, dtype=torch.int64), Training(iterations=1), seed=seed)
        return seen[0]

    assert torch.equal(dropped(0), dropped(0))
    assert not torch.equal(dropped(0), dropped(1))


def test_same_as_a_loop_written_out():
    """A second source: full batches, no dropout, so that nothing is random."""
    inputs, labels = make_data(30)
    network, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.load_state_dict(network.state_dict())
    training = Training(optimizer=torch.optim.SGD, learning_rate=0.5, weight_decay=0.1, schedule=cosine, iterations=4)
    fit(network, inputs, labels, training, seed=0)
    for factor in (1.0, 0.853553, 0.5, 0.146447):
        loss = -other(inputs).log_softmax(1)[torch.arange(30), labels].mean()
        for parameter, gradient in zip(
            other.parameters(), torch.autograd.grad(loss, list(other.parameters())), strict=True
        ):
            parameter.data -= 0.5 * factor * (gradient + 0.1 * parameter.data)
    torch.testing.assert_close(network.weight, other.weight)


def test_an_epoch_sees_every_example_once_in_even_batches():
    network = Recorder()
    fit(network, torch.arange(65.0)[:, None], torch.arange(65), Training(epochs=2, batch_size=32), seed=0)
    assert [len(batch) for batch in network.batches] == [22, 22, 21] * 2
    first, second = [*chain(*network.batches[:3])], [*chain(*network.batches[3:])]
    assert sorted(first) == sorted(second) == list(range(65))
    assert first != second != list(range(65))


def test_fewer_examples_than_a_batch_are_one_batch():
    network = Recorder()
    fit(network, torch.arange(5.0)[:, None], torch.arange(5), Training(iterations=3), seed=0)
    assert [sorted(batch) for batch in network.batches] == [[0, 1, 2, 3, 4]] * 3


def test_the_optimizer_gets_every_setting():
    inputs, labels = make_data(10)
    training = Training(Linear, learning_rate=0.5, weight_decay=0.25, schedule=cosine, epochs=4)
    fit(make_network(), inputs, labels, training, seed=0)
    assert Linear.last.seen == pytest.approx([0.5, 0.426777, 0.25, 0.073223], abs=1e-6)
    assert Linear.last.param_groups[0]["weight_decay"] == 0.25


def test_divergence_names_iteration_and_learning_rate():
    inputs, labels = make_data(10)
    training = Training(torch.optim.SGD, learning_rate=1e30, iterations=50)
    with pytest.raises(TrainingError, match=r"at iteration \d of 50, with the learning rate 1e\+30: a smaller one"):
        fit(make_network(), inputs, labels, training, seed=0)
    inputs[7, 1] = torch.nan
    with pytest.raises(TrainingError, match=r"iteration 0 of 50.*: example 7 of 10 is not finite"):
        fit(make_network(), inputs, labels, Training(iterations=50), seed=0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1]), "one label for each input, found 3 and 2"),
        (torch.tensor([0, 1, 2]), "labels must be 0 to 1, as the network has 2 classes; found 0 to 2"),
        (torch.tensor([0, 1, -100]), "found -100 to 1"),
    ],
)
def test_unusable_labels_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        fit(make_network(), torch.zeros(3, 2), labels, Training(), seed=0)


def test_nothing_to_train_on_is_refused():
    with pytest.raises(InputError, match="found 0 and 0"):
        fit(make_network(), torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), Training(), seed=0)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Flatten(0), r"found the shape \[6\] for n = 3"),
        (nn.Unflatten(1, (2, 1)), r"found the shape \[3, 2, 1\] for n = 3"),
        (nn.LSTM(2, 2), "found tuple"),
    ],
)
def test_output_that_is_no_logits_is_refused(network, message):
    network = nn.Sequential(nn.Linear(2, 2), network)
    with pytest.raises(InputError, match=message):
        fit(network, torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), Training(), seed=0)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(2, 1), r"at least two classes, found torch.float32 of shape \[3, 1\]"),
        (nn.Sequential(nn.Linear(2, 2), Ends(Tensor.to_sparse)), "layout torch.sparse_coo"),
        (nn.Sequential(nn.Linear(2, 2), Ends(Tensor.long)), "dense floating-point logits"),
        (nn.Sequential(nn.Linear(2, 2), Ends(Tensor.detach)), "the network cannot be trained: RuntimeError"),
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh(), Ends(Tensor.sub_, 1.0)), "modified by an inplace operation"),
        (nn.Sequential(nn.Linear(2, 2), Ends(dict.pop)), "the network cannot be used on a Tensor of .*: TypeError"),
        (nn.Linear(3, 2), r"cannot be used on a Tensor of torch.float32 and shape \(3, 2\): RuntimeError: mat1 and"),
        (nn.Linear(2, 2).requires_grad_(False), "has nothing to train: no parameter requires a gradient"),
        (nn.Flatten(), "has nothing to train"),
        (nn.Linear, "network is the class Linear, expected an object"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_networks_that_cannot_be_trained_are_refused(network, message):
    with pytest.raises(InputError, match=message):
        fit(network, torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), Training(iterations=2), seed=0)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (torch.zeros(3, 2).to_sparse(), torch.arange(3), "inputs of training is a Tensor"),
        (torch.zeros(3, 2, device="meta"), torch.arange(3), "inputs of training is a Tensor"),
        ([[0.0, 0.0]], torch.arange(3), "inputs of training is .*, expected a dense tensor"),
        (torch.tensor(0.0), torch.arange(3), "inputs of training is a Tensor"),
        (torch.zeros(3, 2), torch.zeros(3), "labels of training is a Tensor of torch.float32 .*, expected classes"),
        (torch.zeros(3, 2), torch.zeros(3) > 0, "labels of training is a Tensor of torch.bool"),
        (torch.zeros(3, 2), torch.zeros(3, 1).long(), r"labels of training is a Tensor of .* shape \(3, 1\)"),
        (torch.zeros(3, 2), [0, 1, 0], r"labels of training is \[0, 1, 0\]"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_examples_of_other_kinds_are_refused(inputs, labels, message):
    with pytest.raises(InputError, match=message):
        fit(make_network(), inputs, labels, Training(), seed=0)


def test_a_batch_of_one_that_batch_normalization_refuses():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    network[0].train()
    with pytest.raises(InputError, match=r"shape \(1, 2\): ValueError: Expected more than 1 value per channel"):
        fit(network, *make_data(1), Training(), seed=0)
    assert [layer.training for layer in network.modules()] == [False, True, False]  # as before


def test_the_surroundings_do_not_matter():
    def weights() -> torch.Tensor:
        network = make_network()
        fit(network, inputs, labels, Training(epochs=2, patience=1), seed=0, validation=(inputs, labels))
        return nn.utils.parameters_to_vector(network.parameters()).detach()

    inputs, labels = make_data(20)
    expected = weights()
    for surroundings in (
        torch.inference_mode(),
        torch.no_grad(),
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.device("meta"),
    ):
        network = make_network()
        with surroundings:
            fit(network, inputs, labels, Training(epochs=2, patience=1), seed=0, validation=(inputs, labels))
        assert torch.equal(nn.utils.parameters_to_vector(network.parameters()), expected), surroundings
    with torch.inference_mode():
        inputs, labels, network = *make_data(20), make_network()
    assert torch.equal(weights(), expected)  # the inputs are of inference mode
    with pytest.raises(InputError, match="the network was made in inference mode"):
        fit(network, inputs, labels, Training(), seed=0)


def test_a_last_step_to_infinity():
    training = Training(torch.optim.SGD, learning_rate=3e38, iterations=1)
    with pytest.raises(TrainingError, match="a weight is not finite after the last step"):
        fit(make_network(), 100 * make_data(10)[0], make_data(10)[1], training, seed=0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"optimizer": torch.optim.LBFGS},
            r"optimizer=torch\..*LBFGS cannot be called with parameters, lr and weight_d",
        ),
        ({"optimizer": nn.Linear}, "optimizer=torch.nn.* cannot be called with"),
        ({"optimizer": lambda *_, **__: None}, "returns is None, expected an object such as torch.optim.Adam"),
        ({"schedule": lambda done: math.nan}, r"schedule\(0\) is nan, expected a finite number of at least 0"),
        ({"schedule": lambda done: -1}, r"schedule\(0\) is -1"),
        ({"schedule": lambda done: None}, r"schedule\(0\) is None"),
        ({"schedule": lambda: 1}, "failed at 0: TypeError"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_what_settings_do_is_checked(setting, message):
    with pytest.raises(InputError, match=message):
        fit(make_network(), *make_data(10), Training(**setting), seed=0)


@pytest.mark.parametrize("seed", [-1, "1", 1.0, True, None, 2**63])
@pytest.mark.usefixtures("annotations_unchecked")
def test_seeds_that_are_none(seed):
    with pytest.raises(InputError, match=r"seed is .*, expected a whole number from 0"):
        fit(make_network(), *make_data(10), Training(), seed=seed)


@pytest.mark.usefixtures("annotations_unchecked")
def test_numbers_of_other_libraries_are_settings():
    training = Training(
        iterations=np.int64(3), batch_size=torch.tensor(4), learning_rate=np.float32(0.5), patience=np.uint8(2)
    )
    assert training == Training(iterations=3, batch_size=4, learning_rate=0.5, patience=2)
    assert repr(training) == repr(Training(iterations=3, batch_size=4, learning_rate=0.5, patience=2))
    networks = [fit(make_network(), *make_data(10), Training(iterations=2), seed=seed) for seed in (3, np.int64(3))]
    assert torch.equal(*(network[0].weight for network in networks))


def test_iterations_or_epochs():
    assert (Training().iterations, Training().epochs) == (1000, None)
    assert (Training(epochs=3).iterations, Training(epochs=3).epochs) == (None, 3)
    with pytest.raises(InputError, match="not both"):
        Training(iterations=1, epochs=1)


@pytest.mark.parametrize(
    "setting",
    [
        *(
            {name: number}
            for name in ("iterations", "epochs", "batch_size", "patience")
            for number in (0, 1.5, "3", True)
        ),
        *({"learning_rate": number} for number in (0.0, -1.0, math.nan, math.inf, "1e-3", None, True)),
        *({"weight_decay": number} for number in (-1.0, math.nan, "0")),
        *({"schedule": schedule} for schedule in (None, "cosine", 1.0, Training)),
        *({"optimizer": optimizer} for optimizer in (None, "adam", torch.optim.Adam([torch.zeros(1)]))),
        *({"device": device} for device in (None, "gpu", 1.5)),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_settings_out_of_range_or_of_another_type_are_refused(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        Training(**setting)


def test_a_training_prints_no_address():
    training = Training(functools.partial(torch.optim.SGD, momentum=0.9), schedule=cosine, epochs=2)
    assert "0x" not in repr(training)
    assert "schedule=tonsure.cosine, iterations=None, epochs=2" in repr(training)
    assert "momentum=0.9" in repr(training)
    assert training != Training(epochs=2)
    assert Training() == Training(iterations=1000)


def test_schedules():
    assert [constant(done) for done in (0.0, 0.5, 1.0)] == [1, 1, 1]
    assert [cosine(done) for done in (0.0, 0.5, 1.0)] == pytest.approx([1, 0.5, 0])


def test_best_device_exists():
    assert torch.zeros(1, device=best_device()).device.type == best_device()


def make_validation(n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(n, 2, generator=torch.Generator().manual_seed(2))
    return inputs, (inputs[:, 0] > inputs[:, 1]).long()


class Scripted(nn.Module):
    """Is right on so many of ten validation examples as a list says, look by look; counts its training steps."""

    def __init__(self, right: list[int]):
        super().__init__()
        self.linear = nn.Linear(1, 2)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.right = iter(right)
        self.looks = 0

    def forward(self, inputs):
        if self.training:
            self.steps += 1
            return self.linear(inputs)
        assert not torch.is_grad_enabled()
        self.looks += 1
        says_one = torch.arange(len(inputs)) < next(self.right)
        return torch.stack([~says_one, says_one], dim=1).float()


def fit_scripted(right: list[int], n: int = 6, **settings) -> Scripted:
    network = Scripted(right)
    training = Training(batch_size=2, learning_rate=0.1, **settings)
    validation = torch.zeros(10, 1), torch.ones(10, dtype=torch.int64)
    fit(network, torch.ones(n, 1), torch.ones(n, dtype=torch.int64), training, seed=0, validation=validation)
    assert not network.training
    return network


@pytest.mark.parametrize(
    ("right", "looks", "best"),
    [
        ([3, 5, 5, 4, 5, 9], 4, 2),  # the first of equals; nothing better in the two passes after it
        ([3, 2, 4, 1, 6, 5], 6, 5),  # one worse pass is not enough
        ([0, 0, 0], 3, 1),
    ],
)
def test_early_stopping_keeps_the_first_best_pass(right, looks, best):
    network = fit_scripted(right, epochs=6, patience=2)
    assert network.looks == looks
    assert network.steps == 3 * best  # a buffer; an epoch has three steps


def test_with_iterations_a_look_follows_every_pass_and_the_end():
    assert fit_scripted([1, 2, 3], iterations=7, patience=5).steps == 7
    assert fit_scripted([1, 3, 2], iterations=7, patience=5).steps == 6
    assert fit_scripted([1], iterations=2, patience=1).looks == 1


def test_looking_at_validation_examples_disturbs_no_training(device):
    """The weights of the best epoch are those of a training that ends with it."""
    inputs, labels = make_data()
    stopped, ended = make_network(), make_network()
    training = Training(learning_rate=0.02, epochs=30, batch_size=32, patience=4, device=device)
    epochs = []
    stopped.register_forward_hook(lambda module, given, found: epochs.append(0) if not module.training else None)
    fit(stopped, inputs, labels, training, seed=3, validation=make_validation())
    best = len(epochs) - 4
    assert 1 < len(epochs) < 30
    fit(ended, inputs, labels, Training(learning_rate=0.02, epochs=best, batch_size=32, device=device), seed=3)
    for one, other in zip(stopped.parameters(), ended.parameters(), strict=True):
        assert torch.equal(one, other)


def test_right_answers_are_counted_over_all_blocks_of_validation_examples(monkeypatch):
    monkeypatch.setattr("tonsure.training._BLOCK", 5)  # of ten, so each pass takes two looks: 6, 8 and 5 are right
    network = fit_scripted([2, 4, 5, 3, 0, 5], epochs=3, patience=3)
    assert (network.looks, network.steps) == (6, 3 * 2)


def test_patience_and_validation_need_each_other():
    with pytest.raises(
        InputError, match=r"patience=3 needs examples to stop by: fit\(..., validation=\(inputs, labels\)"
    ):
        fit(make_network(), *make_data(), Training(patience=3), seed=0)
    with pytest.raises(InputError, match=r"only serve to stop early: say when, Training\(patience"):
        fit(make_network(), *make_data(), Training(), seed=0, validation=make_validation())
    with pytest.raises(InputError, match="Training: patience is 0, expected a whole number from 1"):
        Training(patience=0)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (torch.zeros(0, 2), torch.zeros(0), "validation needs one label for each input, found 0 and 0"),
        (torch.zeros(3, 2), torch.zeros(2), "validation needs one label for each input, found 3 and 2"),
        (torch.zeros(3, 2), torch.tensor([0, 2, 1]), "validation labels must be 0 to 1, .* found 0 to 2"),
        (torch.zeros(3, 2), torch.tensor([0, -1, 1]), "validation labels must be 0 to 1, .* found -1 to 1"),
    ],
)
def test_unusable_validation_examples_are_refused(inputs, labels, message):
    training = Training(epochs=1, patience=1)
    with pytest.raises(InputError, match=message):
        fit(make_network(), *make_data(), training, seed=0, validation=(inputs, labels.long()))


def test_a_training_without_patience_prints_as_it_did():
    assert repr(Training()).endswith("batch_size=64, device='cpu')")
    assert repr(Training(patience=10)).endswith("device='cpu', patience=10)")
