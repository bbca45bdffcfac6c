"""The first cases of every attack, and the page that is written of them."""

import pytest
import torch
from stress import KINDS, page
from stress.attack import PROCESSES, attack, perform
from stress.metamorphic import tied_from

PROCESSES.set_forkserver_preload(["stress.children"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_attack(kind, tmp_path):
    result = perform(kind, tmp_path, count=attack(kind).tests)
    assert not result.failures, "\n".join(result.repeats())


def test_the_page_is_that_of_the_recorded_results():
    assert page.page() == page.PAGE.read_text(encoding="utf-8")


def test_rows_that_differ_are_tied_by_the_largest_gain_and_by_their_sum():
    """In nats up to the tolerance of the search, of one nat at least; distances relative to the largest."""
    gains = torch.tensor([3e-3, 2e-3, 1e-3], dtype=torch.float64)
    off = torch.tensor([0, 5e-7, 0], dtype=torch.float64)
    assert tied_from("LBB", gains, gains + off, 1)
    assert not tied_from("CoreSet", gains, gains + off, 1)
    assert tied_from("CoreSet", gains, gains + off / 1000, 1)
    assert tied_from("CoreSet", gains, gains[[0, 2, 1]] + torch.tensor([0, 1e-3, -1e-3], dtype=torch.float64), 1)
    assert not tied_from("CoreSet", gains, gains + 1e-3 * torch.tensor([0, 0, 1], dtype=torch.float64), 1)
