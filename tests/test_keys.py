import itertools

import pytest
import torch

from tonsure.search.ranking import TIE, largest, lowest_tie


def chosen_one_by_one(key_N, k):
    """The rule in plain loops: the lowest row among those that tie with the largest key that is left."""
    left = dict(enumerate(key_N.tolist()))
    chosen = []
    for _ in range(k):
        least = lowest_tie(max(left.values()))
        chosen.append(min(row for row, key in left.items() if key >= least))
        del left[chosen[-1]]
    return chosen


def test_the_largest_keys_in_every_order():
    # Chains of ties: a with b, b with c, but not a with c.
    keys = [0.0, 0.7 * TIE, 1.4 * TIE, 2.1 * TIE, 1.0]
    for order in itertools.permutations(keys):
        key_N = torch.tensor(order, dtype=torch.float64)
        for k in range(1, 6):
            assert largest(key_N, k) == chosen_one_by_one(key_N, k)


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_keys_of_many_that_tie(seed):
    generator = torch.Generator().manual_seed(seed)
    key_N = torch.randint(30, (200,), generator=generator).double() * TIE * 0.6 * 10.0 ** (seed - 2)
    assert largest(key_N, 150) == chosen_one_by_one(key_N, 150)


def test_large_keys_tie_relative_to_their_size():
    assert lowest_tie(5.0) == 5 - 5 * TIE
    assert lowest_tie(-5.0) == -5 - 5 * TIE
    assert lowest_tie(0.1) == 0.1 - TIE
    assert lowest_tie(-torch.inf) == -torch.inf
