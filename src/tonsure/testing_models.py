"""The contract of a Bayesian model, to be run on your own as on ours; ``tonsure.testing`` exports it."""

import torch
from torch import Tensor

from tonsure.models import BayesianModel
from tonsure.predictions import predict


def check_model(model: BayesianModel, inputs: Tensor, *, tolerance: float = 1e-5) -> None:
    """Each of the model's K samples is one function of an item, whatever stands beside it.

    Args:
        model: yours, fitted.
        inputs: some items [n, ...], at least 3; a few dozen are a thorough check.
        tolerance: what another block size may do to a log probability, in nats or relative to it; TF32 does
            more than the default allows.

    Raises:
        AssertionError: it changes its inputs, its log_probs are not [n, K, C], not constants or no
            distributions, or what it says of an item depends on the other items, their order or the block.
    """
    n = len(inputs)
    assert n >= 3, f"check_model needs at least 3 items, got {n}"
    before = inputs.clone()
    expected_n_K_C = model.log_probs(inputs)
    assert torch.equal(inputs, before), "the inputs were changed"
    _check_log_probs(expected_n_K_C, n, model.samples)

    def same(what: str, found: Tensor, expected: Tensor) -> None:
        assert found.shape == expected.shape, (
            f"{what}: log_probs have shape {tuple(found.shape)}, not {tuple(expected.shape)}"
        )
        near = (found - expected).abs() <= tolerance * expected.abs().clamp(min=1.0)
        # Two −inf are equal, though their difference is nan; beside one, every number is "near".
        far = ~((found == expected) | (near & expected.isfinite()))
        if far.any():
            at = tuple(int(index) for index in far.nonzero()[0])
            raise AssertionError(
                f"{what}: log p of (item, sample, class) {at} is {float(found[at]):.6g}, at first it was "
                f"{float(expected[at]):.6g}; a posterior sample must be one function of an item"
            )

    same("the same items a second time", model.log_probs(inputs), expected_n_K_C)
    same("the items in reverse order", model.log_probs(inputs.flip(0)).flip(0), expected_n_K_C)
    uneven = n // 2 + 1  # the last block is shorter
    same(f"in blocks of {uneven}", predict(model, inputs, block_size=uneven), expected_n_K_C.cpu())
    same("the last item alone", predict(model, inputs, rows=[n - 1]), expected_n_K_C[-1:].cpu())
    copies = inputs[:1].expand(6, *inputs.shape[1:])
    same("one item at six positions", model.log_probs(copies), expected_n_K_C[:1].expand(6, -1, -1))


def _check_log_probs(log_probs: Tensor, n: int, samples: int) -> None:
    shape = tuple(log_probs.shape)
    assert len(shape) == 3, f"log_probs have shape {shape}, expected (n, K, C)"
    assert shape[:2] == (n, samples), f"log_probs have shape {shape}, expected ({n}, {samples}, C)"
    assert log_probs.is_floating_point(), f"log_probs are {log_probs.dtype}, expected floats"
    assert not log_probs.requires_grad, "log_probs carry a graph: predict under torch.no_grad()"
    total_n_K = log_probs.double().exp().sum(dim=2)
    wrong = ~((total_n_K - 1).abs() <= 1e-4)  # so that nan is wrong
    if wrong.any():
        at = tuple(int(index) for index in wrong.nonzero()[0])
        raise AssertionError(f"exp(log_probs) of (item, sample) {at} add up to {float(total_n_K[at]):.6g}, not to 1")
