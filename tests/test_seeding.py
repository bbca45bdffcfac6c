import pytest
import torch

from tonsure.seeding import derive_seed, seeded

CPU = torch.device("cpu")


def test_derived_seeds_are_fixed_and_apart():
    seeds = [derive_seed(seed, member) for seed in range(30) for member in range(30)]
    assert len(set(seeds)) == 900
    assert derive_seed(1, 2) != derive_seed(2, 1)
    assert derive_seed(0, 1) == derive_seed(0, 1)


def test_inside_torch_draws_from_the_seed_and_outside_goes_on_as_before():
    before = torch.get_rng_state()
    with seeded(1, CPU):
        inside = torch.rand(3)
    assert torch.equal(inside, torch.rand(3, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_fails_inside_leaves_the_generator_as_it_was():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="shape"), seeded(1, CPU):
        torch.rand(3).reshape(2)
    assert torch.equal(torch.get_rng_state(), before)
