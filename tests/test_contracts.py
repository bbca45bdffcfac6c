import pytest

import tonsure as tn
from cases import OBJECTIVES, OPTIMIZERS, pairs, rest
from tonsure.testing import check_objective, check_optimizer


@pytest.fixture(autouse=True, params=["small", "large"])
def as_pools_are(request, monkeypatch):
    """Large pools have bounds in float32 before what is exact; small ones do without."""
    if request.param == "large":
        monkeypatch.setattr("tonsure.search.shard.ALONE", 0)


LARGE = pytest.mark.parametrize("as_pools_are", [rest("small"), "large"], indirect=True)


@LARGE
@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_objective_keeps_the_contract(objective, impossible, make_log_probs):
    check_objective(objective, make_log_probs(16, impossible=impossible))


ALIKE = [tn.PowerSample(beta=5.0), tn.SoftmaxSample(beta=4.0), tn.SoftrankSample(), OPTIMIZERS[-1]]
"""Optimizers that take the path of another one through the search, with other keys."""


@pytest.mark.usefixtures("annotations_unchecked")
@LARGE
@pytest.mark.parametrize(("objective", "optimizer"), list(pairs(OPTIMIZERS, every=tn.LazyGreedy(), once=ALIKE)))
def test_optimizer_keeps_the_contract(objective, optimizer, make_log_probs):
    check_optimizer(optimizer, objective, make_log_probs(14).float())
