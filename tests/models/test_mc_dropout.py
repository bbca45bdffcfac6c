import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tonsure.errors import InputError
from tonsure.models import MCDropout
from tonsure.testing import check_model
from tonsure.training import Training, TrainingError, fit

SHORT = Training(iterations=10)


@pytest.fixture(autouse=True)
def _same_initial_weights():
    torch.manual_seed(0)


def mlp(dropout: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 8),
        nn.ReLU(),
        dropout or nn.Dropout(0.5),
        nn.Linear(8, 8),
        nn.Dropout(0.3),
        nn.Linear(8, 3),
    )


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout2d(0.5), nn.ReLU()),
        nn.Conv2d(4, 4, 3),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


class Residual(nn.Module):
    """Not a sequence; one dropout layer in two places, one more below an alias."""

    def __init__(self):
        super().__init__()
        self.enter, self.hidden, self.leave = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.drop = nn.Dropout(0.5)
        self.alias = self.drop

    def forward(self, inputs):
        hidden = self.drop(self.enter(inputs).relu())
        return self.leave(hidden + self.alias(self.hidden(hidden).relu()))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5, batch_first=True)
        self.leave = nn.Linear(4, 3)

    def forward(self, inputs):
        return self.leave(self.layer(inputs).mean(dim=1))


def items(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def some_labels(n: int) -> torch.Tensor:
    return torch.arange(n) % 3


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (mlp, items(11, 4)),
        (cnn, items(11, 1, 8, 8)),
        (Residual, items(11, 4)),
        (Transformer, items(11, 5, 4)),
        (
            lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.Dropout1d(), nn.Flatten(), nn.Linear(12, 3)),
            items(11, 2, 5),
        ),
        (
            lambda: nn.Sequential(nn.Conv3d(1, 4, 2), nn.Dropout3d(), nn.Flatten(), nn.Linear(32, 3)),
            items(11, 1, 3, 3, 3),
        ),
    ],
)
def test_each_sample_is_one_function_of_an_item(network, inputs, device):
    model = MCDropout(network(), samples=5, training=Training(iterations=10, device=device))
    check_model(model, inputs)
    model.fit(inputs, some_labels(len(inputs)))
    check_model(model, inputs)
    log_probs = model.log_probs(inputs)
    assert log_probs.dtype == torch.float32
    assert log_probs.device == inputs.device
    assert (log_probs.std(dim=1) > 1e-3).any()


def test_same_as_masks_multiplied_by_hand():
    """A second source: the network written out, with the masks the model keeps."""
    network = mlp()
    model = MCDropout(network, samples=6, seed=3)
    inputs = items(7, 4)
    log_probs = model.log_probs(inputs)
    first, second = (layer for layer in model._fitted.modules() if hasattr(layer, "masks"))
    assert first.masks.shape == second.masks.shape == (6, 8)
    assert set(first.masks.unique().tolist()) == {0.0, 2.0}
    assert second.masks.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert ((first.masks > 0) & (second.masks == 0)).any()  # with the same draws, p = 0.5 keeps no unit p = 0.3 drops
    for k in range(6):
        hidden = functional.relu(inputs @ network[0].weight.T + network[0].bias) * first.masks[k]
        hidden = (hidden @ network[3].weight.T + network[3].bias) * second.masks[k]
        logits = hidden @ network[5].weight.T + network[5].bias
        torch.testing.assert_close(log_probs[:, k], logits.log_softmax(1))


def test_a_layer_in_two_places_stays_one_layer():
    model = MCDropout(Residual(), samples=2)
    network = model._fitted[0]
    assert network.alias is network.drop
    inputs = items(5, 4)
    log_probs = model.log_probs(inputs)
    for k in range(2):
        hidden = network.enter(inputs).relu() * network.drop.masks[k]
        hidden = hidden + network.hidden(hidden).relu() * network.drop.masks[k]
        torch.testing.assert_close(log_probs[:, k], network.leave(hidden).log_softmax(1))


def test_channels_are_dropped_whole():
    model = MCDropout(cnn(), samples=50)
    model.log_probs(items(2, 1, 8, 8))
    channels, units = (layer.masks for layer in model._fitted.modules() if hasattr(layer, "masks"))
    assert channels.shape == (50, 4, 1, 1)
    assert units.shape == (50, 4, 4, 4)


def test_a_unit_is_kept_as_often_as_it_should_be():
    model = MCDropout(nn.Sequential(nn.Dropout(0.2), nn.Linear(50, 2)), samples=400)
    model.log_probs(items(1, 50))
    (masks,) = (layer.masks for layer in model._fitted.modules() if hasattr(layer, "masks"))
    assert (masks > 0).float().mean() == pytest.approx(0.8, abs=0.01)
    assert masks.mean() == pytest.approx(1.0, abs=0.0125)
    assert (masks > 0).float().mean(dim=0).std() < 0.03  # each unit for itself


def test_the_first_samples_are_the_same_however_many_there_are():
    inputs = items(4, 4)
    network = mlp()
    few, many = MCDropout(network, samples=2), MCDropout(network, samples=7)
    torch.testing.assert_close(few.log_probs(inputs), many.log_probs(inputs)[:, :2])


def test_seeds_decide_masks_and_weights():
    inputs, labels, network = items(9, 4), some_labels(9), mlp()

    def fitted(seed: int) -> torch.Tensor:
        model = MCDropout(network, samples=4, training=SHORT)
        model.fit(inputs, labels, seed=seed)
        return model.log_probs(inputs)

    assert torch.equal(fitted(0), fitted(0))
    assert not torch.equal(fitted(0), fitted(1))
    before = [MCDropout(network, samples=4, seed=seed).log_probs(inputs) for seed in (0, 0, 1)]
    assert torch.equal(before[0], before[1])
    assert not torch.equal(before[0], before[2])


def test_a_fit_starts_anew_with_new_masks():
    inputs, labels, network = items(9, 4), some_labels(9), mlp()
    again = MCDropout(network, samples=4, training=SHORT)
    again.fit(inputs, 2 - labels, seed=1)
    other_masks = again.log_probs(inputs)
    again.fit(inputs, labels, seed=0)
    once = MCDropout(network, samples=4, training=SHORT)
    once.fit(inputs, labels, seed=0)
    assert torch.equal(again.log_probs(inputs), once.log_probs(inputs))
    assert not torch.equal(again.log_probs(inputs), other_masks)


def test_the_users_network_is_left_alone():
    network = mlp()
    before = copy.deepcopy(network.state_dict())
    model = MCDropout(network, samples=3, training=SHORT)
    model.fit(items(9, 4), some_labels(9))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert network.training
    assert isinstance(network[2], nn.Dropout)


def test_a_failed_fit_leaves_the_model_as_it_was():
    model = MCDropout(mlp(), samples=3, training=SHORT)
    inputs = items(9, 4)
    before = model.log_probs(inputs)
    with pytest.raises(TrainingError):
        model.fit(inputs * torch.nan, some_labels(9))
    assert torch.equal(model.log_probs(inputs), before)


def test_training_drops_at_random():
    """With masks kept in training too, two fits that differ only in the batch's order would agree."""
    network = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
    seen = []
    network[1].register_forward_hook(lambda module, given, found: seen.append(given[0] == 0))
    MCDropout(network, samples=2, training=Training(iterations=3)).fit(items(9, 4), some_labels(9))
    assert len(seen) == 3
    assert not torch.equal(seen[0], seen[1])
    assert not (seen[0] == seen[0][:1]).all()  # each example for itself


def test_layers_before_the_first_dropout_run_once():
    network = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))), nn.Linear(4, 3)
    )
    calls = {"before": 0, "within": 0, "after": 0}

    def count(name: str):
        return lambda module, given, found: calls.update({name: calls[name] + 1})

    network[0][0].register_forward_hook(count("before"))
    network[0][1][0].register_forward_hook(count("within"))
    network[1].register_forward_hook(count("after"))
    model = MCDropout(network, samples=7)
    model.log_probs(items(5, 4))
    assert calls == {"before": 1, "within": 1, "after": 8}  # the first sample twice: do the passes repeat?
    model.log_probs(items(5, 4))
    assert calls == {"before": 2, "within": 2, "after": 15}


def test_a_network_that_is_itself_dropout():
    model = MCDropout(nn.Dropout(0.5), samples=4)
    check_model(model, items(5, 3))


def test_everything_dropped_is_no_nan():
    model = MCDropout(nn.Sequential(nn.Dropout(1.0), nn.Linear(4, 3)), samples=2)
    assert model.log_probs(items(5, 4)).isfinite().all()


@pytest.mark.parametrize("refused", [nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5)])
def test_dropout_that_is_more_than_a_mask_is_refused(refused):
    with pytest.raises(InputError, match=rf"layer 2 is a {type(refused).__name__}"):
        MCDropout(mlp(refused), samples=2)


def test_own_kinds_of_dropout_are_refused():
    class Mine(nn.Dropout):
        pass

    with pytest.raises(InputError, match="layer 2 is a Mine"):
        MCDropout(mlp(Mine()), samples=2)


@pytest.mark.parametrize("network", [nn.Linear(4, 3), nn.Sequential(nn.Dropout(0.0), nn.Linear(4, 3))])
def test_a_network_without_dropout_is_refused(network):
    with pytest.raises(InputError, match="no dropout layer"):
        MCDropout(network, samples=2)


def test_no_samples_are_refused():
    with pytest.raises(InputError, match="samples is 0, expected a whole number from 1"):
        MCDropout(mlp(), samples=0)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"samples": 1.5}, "samples is 1.5"),
        ({"samples": "3"}, "samples is '3'"),
        ({"samples": True}, "samples is True"),
        ({"seed": -1}, "seed is -1"),
        ({"training": Training}, "training is the class Training, expected an object such as Training"),
        ({"network": nn.Sequential}, "network is the class Sequential"),
        ({"network": lambda inputs: inputs}, "network is <function"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_arguments_of_other_kinds_are_refused(argument, message):
    with pytest.raises(InputError, match=message):
        MCDropout(**{"network": mlp(), "samples": 2, **argument})


@pytest.mark.usefixtures("annotations_unchecked")
def test_numbers_and_arrays_of_other_libraries_are_arguments():
    inputs, labels = items(9, 4), some_labels(9)
    model = MCDropout(mlp(), samples=np.int64(3), training=SHORT, seed=np.uint8(1))
    model.fit(inputs.numpy()[::-1], labels.flip(0).tolist(), seed=np.int64(5))
    torch.manual_seed(0)
    other = MCDropout(mlp(), samples=3, training=SHORT, seed=1)
    other.fit(inputs.flip(0), labels.flip(0), seed=5)
    assert torch.equal(model.log_probs(inputs.numpy()), other.log_probs(inputs))


def test_a_network_of_inference_mode_is_copied_out_of_it():
    with torch.inference_mode():
        network = cnn()
        model = MCDropout(network, samples=2, training=SHORT)
        model.fit(items(9, 1, 8, 8), some_labels(9))
        assert not model.log_probs(items(9, 1, 8, 8)).is_inference()


def test_masks_do_not_depend_on_the_default_type():
    network, inputs = mlp(), items(5, 4)
    expected = MCDropout(network, samples=5).log_probs(inputs)
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.equal(MCDropout(network, samples=5).log_probs(inputs), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_output_that_is_no_logits_is_refused():
    with pytest.raises(InputError, match=r"logits \[n, C\], found the shape \[5, 2, 2\] for n = 5"):
        MCDropout(nn.Sequential(nn.Dropout(), nn.Unflatten(1, (2, 2))), samples=2).log_probs(items(5, 4))


def test_items_of_another_shape_are_refused():
    model = MCDropout(nn.Sequential(nn.Dropout(), nn.Flatten(), nn.LazyLinear(3)), samples=2)
    model.log_probs(items(5, 4))
    with pytest.raises(InputError, match=r"masks for items of shape \[4\], found \[2, 2\]"):
        model.log_probs(items(5, 2, 2))


def test_items_off_the_first_axis_are_refused():
    network = nn.Sequential(nn.Flatten(0), nn.Dropout(), nn.Unflatten(0, (5, 4)))
    with pytest.raises(InputError, match=r"items on its first axis, found the shape \[20\] for 5 items"):
        MCDropout(network, samples=2).log_probs(items(5, 4))


def test_dropout_that_is_never_used_is_refused():
    class Unused(nn.Linear):
        def __init__(self):
            super().__init__(4, 3)
            self.drop = nn.Dropout(0.5)

    with pytest.raises(InputError, match="does not use its dropout layers"):
        MCDropout(Unused(), samples=2).log_probs(items(5, 4))


def test_pickles_with_its_masks():
    model = MCDropout(mlp(), samples=3, training=SHORT)
    model.fit(items(9, 4), some_labels(9))
    expected = model.log_probs(items(9, 4))
    assert torch.equal(pickle.loads(pickle.dumps(model)).log_probs(items(9, 4)), expected)
    assert repr(model).startswith("MCDropout(samples=3, training=Training(")


@pytest.mark.parametrize(("network", "inputs"), [(mlp, items(30, 4)), (Transformer, items(30, 5, 4))])
def test_early_stopping_looks_without_dropout(network, inputs):
    """As it does when the network is trained by itself."""
    labels, alone = some_labels(30), network()
    model = MCDropout(alone, samples=3, training=Training(learning_rate=0.02, epochs=20, patience=2))
    model.fit(inputs, labels, seed=4, validation=(inputs, labels))
    fit(alone, inputs, labels, model.training, seed=4, validation=(inputs, labels))
    for one, other in zip(model._fitted.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)
    check_model(model, inputs)
    with pytest.raises(InputError, match="patience=2 needs examples to stop by"):
        model.fit(inputs, labels)
