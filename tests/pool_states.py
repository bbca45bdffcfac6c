"""States of small pools, for the tests of strategies."""

import torch

import tonsure as tn


def state_of(features_N_D, labeled=(), *, labels=None, C=3, K=4, seed=0, log_probs_N_K_C=None):
    """The state of a pool with these features, in which the rows ``labeled`` are labeled."""
    features_N_D = torch.as_tensor(features_N_D, dtype=torch.float32)
    N = len(features_N_D)
    labeled = torch.tensor(list(labeled), dtype=torch.int64)
    unlabeled = torch.tensor([row for row in range(N) if row not in labeled.tolist()])
    if log_probs_N_K_C is None:
        log_probs_N_K_C = (2 * torch.randn(N, K, C, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)
    return tn.PoolState(
        labeled,
        labeled % C if labels is None else torch.tensor(labels, dtype=torch.int64),
        unlabeled,
        features_N_D,
        log_probs_N_K_C[unlabeled],
        log_probs_N_K_C[labeled],
    )


def random_state(N=40, m=6, D=3, *, seed=0, **options):
    """Clouds of features, some rows of which are labeled, in no order."""
    generator = torch.Generator().manual_seed(seed)
    centers = 3 * torch.randn(4, D, generator=generator)
    features = centers[torch.arange(N) % 4] + torch.randn(N, D, generator=generator)
    return state_of(features, torch.randperm(N, generator=generator)[:m].tolist(), seed=seed, **options)


def choose(strategy, view, k, seed=0):
    return strategy.choose(view, k, torch.Generator().manual_seed(seed))
