"""States of small pools, for the tests of strategies."""

import numpy as np
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
    held_out = labeled[1::2].flip(0)
    return tn.PoolState(
        labeled,
        labeled % C if labels is None else torch.tensor(labels, dtype=torch.int64),
        unlabeled,
        features_N_D,
        log_probs_N_K_C[unlabeled],
        log_probs_N_K_C[labeled],
        held_out_rows=held_out,
        held_out_log_probs_n_K_C=log_probs_N_K_C[held_out].flip(1),
    )


def random_state(N=40, m=6, D=3, *, seed=0, **options):
    """Clouds of features, some rows of which are labeled, in no order."""
    generator = torch.Generator().manual_seed(seed)
    centers = 3 * torch.randn(4, D, generator=generator)
    features = centers[torch.arange(N) % 4] + torch.randn(N, D, generator=generator)
    return state_of(features, torch.randperm(N, generator=generator)[:m].tolist(), seed=seed, **options)


def choose(strategy, view, k, seed=0):
    return strategy.choose(view, k, torch.Generator().manual_seed(seed))


def greedy_cover(state, k, squared_radius, weight_N):
    """Plain greedy search for the coverage of all rows in float64: every gain at every step; features not centered."""
    unit = state.features().double().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    similarity = np.exp(-((unit[:, None] - unit[None]) ** 2).sum(axis=2) / squared_radius)
    chosen, gains = state.labeled_rows.tolist(), []
    for _ in range(k):
        covered_N = similarity[chosen].max(axis=0) if chosen else 0
        gain_N = np.maximum(similarity - covered_N, 0) @ weight_N
        gain_N[np.isin(np.arange(len(unit)), state.choosable_rows.numpy(), invert=True)] = -1
        gain_N[chosen] = -1
        chosen.append(int((gain_N >= gain_N.max() * (1 - 1e-6)).nonzero()[0][0]))
        gains.append(gain_N[chosen[-1]])
    return chosen[-k:], gains
