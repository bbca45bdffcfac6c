"""The table of all objectives and all optimizers; a new one is one line here."""

import torch

import tonsure as tn

TARGETS = torch.randn(7, 6, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64).log_softmax(-1)
"""By as many posterior samples, of as many classes, as the items of ``make_log_probs`` have."""

OBJECTIVES = [
    tn.LargeBatchBALD(),
    tn.LargeBatchBALD(weight=2.0),
    tn.SecondOrderLBB(),
    tn.SecondOrderLBB(weight=0.5),
    tn.CorrectedLBB(),
    tn.BoundedLBB(),
    tn.BoundedLBB(corrected=False),
    tn.SecondOrderBoundedLBB(),
    tn.SecondOrderBoundedLBB(corrected=False),
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
    tn.ReleasedLBB(),
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
