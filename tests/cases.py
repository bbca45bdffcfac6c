"""The table of all objectives and all optimizers; a new one is one line here."""

import tonsure as tn

OBJECTIVES = [
    tn.LargeBatchBALD(),
    tn.LargeBatchBALD(weight=2.0),
    tn.SecondOrderLBB(),
    tn.SecondOrderLBB(weight=0.5),
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
    tn.SoftmaxSample(beta=4.0),
    tn.SoftrankSample(),
    tn.StochasticGreedy(epsilon=0.1),
    tn.Prefilter(first=100),
    tn.Prefilter(first=100, by=tn.PowerSample(beta=2.0)),
]
