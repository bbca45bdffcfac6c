from dataclasses import dataclass

import pytest
import torch

from tonsure.datasets import Dataset, Repeated
from tonsure.errors import InputError

N = 500
INPUTS = torch.rand(N, 1, 4, 4, generator=torch.Generator().manual_seed(0))
IMAGES = torch.arange(N).remainder(256).to(torch.uint8)[:, None, None].repeat(1, 4, 4)


@dataclass(frozen=True)
class Items:
    integers: bool = False

    def load(self) -> Dataset:
        inputs = (INPUTS * 1000).long() if self.integers else INPUTS
        return Dataset(
            name="items",
            train_inputs=inputs,
            train_labels=torch.arange(N) % 3,
            test_inputs=inputs[:7],
            test_labels=torch.arange(7) % 3,
            classes=("a", "b", "c"),
            description="items",
            train_images=IMAGES,
            train_texts=[str(row) for row in range(N)],
        )


def test_noise_is_gaussian_and_of_every_copy_its_own():
    data = Repeated(Items(), copies=3, noise=0.2).load()
    noise = data.train_inputs.reshape(3, N, -1) - INPUTS.reshape(N, -1)
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert float(noise.std()) == pytest.approx(0.2, rel=0.02)
    assert float(noise.abs().gt(0.4).double().mean()) == pytest.approx(0.0455, rel=0.15)
    assert torch.corrcoef(noise.flatten(1)).triu(1).abs().max() < 0.05


def test_without_noise_copies_are_exact():
    data = Repeated(Items(), copies=2, noise=0.0).load()
    assert torch.equal(data.train_inputs, torch.cat([INPUTS, INPUTS]))


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_what_belongs_to_an_item_is_repeated_with_it_and_the_test_set_is_not(noise):
    data = Repeated(Items(), copies=3, noise=noise).load()
    assert data.train_labels.tolist() == (torch.arange(N) % 3).tolist() * 3
    assert torch.equal(data.train_images, IMAGES.repeat(3, 1, 1))
    assert data.train_texts == [str(row) for row in range(N)] * 3
    assert torch.equal(data.test_inputs, INPUTS[:7])
    assert data.test_labels.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_the_original_is_left_alone():
    before = INPUTS.clone()
    Repeated(Items(), copies=1).load()
    assert torch.equal(INPUTS, before)


def test_the_seed_decides():
    inputs = lambda seed: Repeated(Items(), seed=seed).load().train_inputs  # noqa: E731
    state = torch.get_rng_state()
    assert torch.equal(inputs(0), inputs(0))
    assert not torch.equal(inputs(0), inputs(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_integers_take_no_noise():
    data = Repeated(Items(integers=True), copies=2, noise=0.0).load()
    assert data.train_inputs.dtype == torch.int64
    with pytest.raises(InputError, match=r"noise = 0\.1 cannot be added to the torch\.int64 inputs of items; noise=0"):
        Repeated(Items(integers=True)).load()


def test_it_says_what_it_is():
    repeated = Repeated(Items())
    assert repr(repeated) == "Repeated(dataset=Items(integers=False), copies=4, noise=0.1, seed=0)"
    assert repeated.load().description == "items; each for training 4 times, with Gaussian noise of 0.1, seed 0"
    assert Repeated(Items(), noise=0.0).load().description == "items; each for training 4 times, exactly"


@pytest.mark.parametrize("setting", [{"copies": 0}, {"noise": -0.1}, {"noise": float("nan")}, {"noise": float("inf")}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(InputError, match="expected copies >= 1 and a finite noise >= 0"):
        Repeated(Items(), **setting).load()
