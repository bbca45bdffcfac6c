"""What a batch is, whatever chose it: measures of its items, and of the labels that they may get.

All take a ``PoolReader`` whose rows are the batch, and read it in blocks: they depend on the set of rows alone.
θ is uniform over the K posterior samples; informations and entropies are in nats.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.information import bald, bald_of, blocks, mutual_information
from tonsure.predictions.reader import PoolReader, as_log_probs
from tonsure.shapes import Rows

LABELINGS = 2**13
"""Labelings of a batch up to which all of them are gone through."""

DRAWS = 2**14
"""About how many labelings of a larger batch are drawn: a standard error of less than 0.01 nats."""

RESOLVED = 1e-3
"""Nats: when less is left to learn of θ, the rest of a batch is not looked at."""

PAIRS = 200_000
"""Pairs of items up to which all of them are gone through."""

TERMS = 2**27
"""Terms p log p that may be summed over the pairs of a batch, of which each has C²."""

FEWEST = 256
"""Pairs that are gone through however many classes there are."""

NOTHING = 1e-9
"""Nats: if all items together tell less than this, it is rounding."""


@dataclass(frozen=True)
class Averages:
    """What the items of a set are on average, each by itself.

    Attributes:
        bald: mean_i I(y_i; θ), nats: what a label tells of the model.
        entropy: mean_i H[y_i], nats: how uncertain the predictions are.
        classes: exp H[mean_i m_i] with m_ic = mean_k p_ikc, from 1 to C: so many classes, were they equally frequent,
            would be as mixed as the labels that the model expects of this set.
    """

    bald: float
    entropy: float
    classes: float


def averages(reader: PoolReader) -> Averages:
    """In one pass; in float32, unless the predictions are stored in float64."""
    like = reader.stored(torch.zeros(1, dtype=torch.int64))
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    told, uncertain, mean_C = 0.0, 0.0, torch.zeros(like.shape[2], dtype=torch.float64, device=like.device)
    for span in blocks(len(reader), like.numel(), like.device):
        probs_n_K_C = _items(reader, torch.arange(len(reader))[span], dtype).exp()
        mean_n_C = probs_n_K_C.mean(1)
        told += float(bald_of(probs_n_K_C, mean_n_C).sum(dtype=torch.float64))
        uncertain += float(torch.special.entr(mean_n_C).sum(dtype=torch.float64))
        mean_C += mean_n_C.sum(0, dtype=torch.float64)
    classes = float(torch.special.entr(mean_C / len(reader)).sum().exp())
    return Averages(told / len(reader), uncertain / len(reader), classes)


def joint_information(reader: PoolReader, seed: int = 0) -> tuple[float, float]:
    """I(y_S; θ) = log K − E_{y_S} H[θ | y_S], at most log K: what all labels of a batch tell together; nats.

    Exact where the batch has at most 2¹³ labelings: all are gone through. Otherwise 2¹⁴ labelings are drawn, as many
    from every p(y_S | θ_k), and H[θ | y_S] is exact for each; that costs the same however many classes there are.
    Once less than 1e-3 nats of log K are left, the remaining items are not looked at: so much it may be too small.

    Returns:
        the information, and its standard error, nats: 0 where all labelings were gone through.
    """
    like = reader.stored(torch.zeros(1, dtype=torch.int64))
    _, K, C = like.shape
    if len(reader) * math.log(C) <= math.log(LABELINGS):
        left = _left_of_all(_items(reader, torch.arange(len(reader)), torch.float64))
        return max(0.0, math.log(K) - left), 0.0
    generator = torch.Generator().manual_seed(seed)
    draws = math.ceil(DRAWS / K)  # of every posterior sample
    log_joint_K_M = torch.zeros(K, K * draws, dtype=torch.float64, device=like.device)
    for rows in torch.arange(len(reader)).split(64):
        for log_probs_K_C in _items(reader, rows, torch.float64):
            uniform_K_m = torch.rand(K, draws, dtype=torch.float64, generator=generator).to(like.device)
            log_joint_K_M += log_probs_K_C[:, _labels(log_probs_K_C, uniform_K_m).flatten()]
        left_M = torch.special.entr(log_joint_K_M.softmax(0)).sum(0)
        if left_M.mean() < RESOLVED:
            break
    return max(0.0, math.log(K) - float(left_M.mean())), float(left_M.std() / math.sqrt(len(left_M)))


def redundancy(reader: PoolReader, seed: int = 0) -> float:
    """mean_{i<j} I(y_i; y_j) / mean_i I(y_i; θ): of what an item tells, the share that another of the batch tells too.

    From 0, where no item tells anything of what another does (and for a batch of one, or one that tells nothing), to
    1, where every label is a function of any other one; for I(y_i; y_j) ≤ min(I(y_i; θ), I(y_j; θ)). It is the mean
    over pairs, so it does not grow with the batch by itself.

    Over all pairs where they are few: 200,000, or fewer with more than 25 classes, since a pair costs C² logarithms.
    Otherwise over about so many: the items are shuffled and cut into groups, each is paired with those of the next
    group, and both means are over these pairs.
    """
    C = reader.pieces[0].shape[2]
    shared = told = 0.0
    for some, others in _pairs(len(reader), max(FEWEST, min(PAIRS, TERMS // C**2)), seed):
        log_probs_n_K_C, log_probs_m_K_C = (_items(reader, rows, torch.float64) for rows in (some, others))
        shared_n_m = mutual_information(log_probs_n_K_C, log_probs_m_K_C)
        told_n_m = (bald(log_probs_n_K_C)[:, None] + bald(log_probs_m_K_C)) / 2
        if some is others:  # every pair twice, in both means; and no item with itself
            shared_n_m.fill_diagonal_(0)
            told_n_m.fill_diagonal_(0)
        shared += float(shared_n_m.sum())
        told += float(told_n_m.sum())
    return min(1.0, shared / told) if told > NOTHING else 0.0


def _pairs(b: int, most: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Groups of rows, ascending, that are to be paired with each other: the same one twice where it holds all rows."""
    rows = torch.arange(b)
    if b * (b - 1) // 2 <= most:
        return iter([(rows, rows)])
    size = max(1, most // b)
    shuffled = rows[torch.randperm(b, generator=torch.Generator().manual_seed(seed))]
    groups = [group.sort().values for group in shuffled.split(size)]
    return islice(pairwise(groups), max(1, most // size**2))


def _left_of_all(log_probs_b_K_C: Float[Tensor, "b K C"]) -> float:
    """E_{y_S} H[θ | y_S] over all C^b labelings."""
    log_joint_K_M = torch.zeros_like(log_probs_b_K_C[0, :, :1])
    for log_probs_K_C in log_probs_b_K_C:
        log_joint_K_M = (log_joint_K_M[:, :, None] + log_probs_K_C[:, None]).flatten(1)
    weight_M = log_joint_K_M.exp().mean(0)
    possible = weight_M > 0
    return float(weight_M[possible] @ torch.special.entr(log_joint_K_M[:, possible].softmax(0)).sum(0))


def _labels(log_probs_K_C: Float[Tensor, "K C"], uniform_K_m: Float[Tensor, "K m"]) -> Tensor:
    """One label for every uniform draw, by the inverse of the cumulated probabilities; never an impossible one."""
    cumulated_K_C = log_probs_K_C.exp().cumsum(1)
    return torch.searchsorted(cumulated_K_C / cumulated_K_C[:, -1:], uniform_K_m, right=True)


def _items(reader: PoolReader, rows: Rows, dtype: torch.dtype) -> Float[Tensor, "n K C"]:
    return as_log_probs(reader.stored(rows), dtype)
