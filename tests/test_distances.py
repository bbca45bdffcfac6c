import pytest
import torch

from tonsure.strategies.distances import largest, on_the_sphere, squared_distances


def some(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_same_as_differences():
    features, others = 100 + some(40, 7), 100 + some(9, 7)
    expected = (features[:, None] - others).square().sum(dim=2)
    torch.testing.assert_close(squared_distances(features, others), expected, rtol=1e-8, atol=0)


def test_copies_are_at_no_distance():
    features = 100 + some(200, 37)
    assert (features @ features.T).diagonal().ne(features.square().sum(dim=1)).any()  # rounding does tell them apart
    assert squared_distances(features, features).diagonal().tolist() == [0.0] * 200


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 3.0, 3.0, 2.0], 1),
        ([3 - 1e-12, 3.0], 0),
        ([3 - 1e-8, 3.0], 1),
        ([-3 - 1e-12, -3.0], 0),
        ([-torch.inf, 1e-20, 2e-20], 2),
        ([-torch.inf, 0.0, 0.0], 1),
    ],
)
def test_ties_go_to_the_first(values, expected):
    assert largest(torch.tensor(values, dtype=torch.float64)) == expected


def test_the_sphere():
    features = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e30, 0.0], [3e-30, -4e-30]])
    expected = torch.tensor([[0.6, 0.8], [0.0, 0.0], [1.0, 0.0], [0.6, -0.8]])
    torch.testing.assert_close(on_the_sphere(features), expected)
