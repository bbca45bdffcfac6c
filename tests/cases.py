"""The table of all objectives and all optimizers; a new one is one line here."""

import pytest
import torch

import tonsure as tn

TARGETS = torch.randn(7, 6, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64).log_softmax(-1)
"""By as many posterior samples, of as many classes, as the items of ``make_log_probs`` have."""

OBJECTIVES = [
    tn.LargeBatchBALD(),
    tn.LargeBatchBALD(weight=2.0),
    tn.SecondOrderLBB(),
    tn.SecondOrderLBB(weight=0.5),
    tn.LargeBatchBALD(corrected=True),
    tn.LargeBatchBALD(bounded=True),
    tn.LargeBatchBALD(bounded=True, corrected=True),
    tn.SecondOrderLBB(corrected=True),
    tn.SecondOrderLBB(bounded=True),
    tn.SecondOrderLBB(bounded=True, corrected=True),
    tn.LogDet(),
    tn.Discounted(),
    tn.Discounted(tn.bald),
    tn.Discounted(tn.entropy, strength=4.0),
    tn.Spread(),
    tn.Spread(scaled=True),
    tn.EPIG(TARGETS),
    tn.SecondOrderEPIG(TARGETS),
    tn.VOptimal(TARGETS),
    tn.BatchBALD(),
    tn.BatchBALD(labelings=64, seed=1),
    *map(tn.Pointwise, (tn.bald, tn.entropy, tn.least_confidence, tn.margin, tn.variation_ratio, tn.mean_std)),
    tn.Random(),
]

OPTIMIZERS = [
    tn.TopK(),
    tn.Greedy(),
    tn.LazyGreedy(),
    tn.PowerSample(),
    tn.PowerSample(beta=5.0),
    tn.StepwisePowerSample(beta=3.0),
    tn.SoftmaxSample(beta=4.0),
    tn.SoftrankSample(),
    tn.StochasticGreedy(epsilon=0.1),
    tn.Prefilter(first=100),
    tn.Prefilter(first=100, optimizer=tn.PowerSample(beta=2.0)),
]


def kind(objective):
    """What a search may rely on: objectives that declare the same take the same paths through it."""
    declared = (objective.structure, objective.uses_state, objective.updates_notes, objective.prepares)
    return *declared, objective.coarse.__func__ is not tn.Objective.coarse


REPRESENTATIVES = list({kind(objective): objective for objective in reversed(OBJECTIVES)}.values())[::-1]
"""The first objective of each kind."""


def rest(*case):
    """A case of a test that ``make product`` runs alone."""
    return pytest.param(*case, marks=pytest.mark.product)


def pairs(optimizers, every, full=None, once=()):
    """(objective, optimizer): all objectives with ``every``, and one of each kind with the other optimizers.

    Where ``full`` is given, it is the one objective that all optimizers search; those of ``once`` search the first of
    the kinds alone. The rest of the product is marked ``product``, which ``make product`` runs.
    """
    searched = REPRESENTATIVES if full is None else [objective for objective in OBJECTIVES if objective == full]
    for objective in OBJECTIVES:
        for optimizer in optimizers:
            kinds = searched[:1] if optimizer in once else searched
            by_default = optimizer == every or any(objective is one for one in kinds)
            marks = () if by_default else pytest.mark.product
            yield pytest.param(objective, optimizer, marks=marks, id=f"{objective}-{optimizer}")
