"""Measures of a batch that do not depend on the method that chose it.

All functions take a ``PoolReader`` of the batch, read it in blocks, and depend only on the set of rows. θ is uniform
over the K posterior samples; informations and entropies are in nats.
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
"""The number of labelings of a batch up to which the information is exact, by enumeration."""

DRAWS = 2**14
"""The approximate number of labelings drawn for a larger batch: a standard error below 0.01 nats."""

RESOLVED = 1e-3
"""Nats: if the remaining entropy of θ is below this, the remaining items are skipped."""

PAIRS = 200_000
"""The number of pairs of items up to which all pairs are used."""

TERMS = 2**27
"""The largest number of terms p log p that are summed over the pairs of a batch; a pair has C² terms."""

FEWEST = 256
"""The smallest number of pairs used, for any number of classes."""

NOTHING = 1e-9
"""Nats: a smaller sum of informations is a rounding error."""


@dataclass(frozen=True)
class Averages:
    """Averages over the items of a set.

    Attributes:
        bald: mean_i I(y_i; θ), nats: the mean information of a label about the model.
        entropy: mean_i H[y_i], nats: the mean uncertainty of the predictions.
        classes: exp H[mean_i m_i] with m_ic = mean_k p_ikc: the effective number of classes, from 1 to C. It is the
            number of equally frequent classes with the same entropy as the mean prediction.
    """

    bald: float
    entropy: float
    classes: float


def averages(reader: PoolReader) -> Averages:
    """The averages over a set, in one pass; in float32, unless the predictions are stored in float64."""
    like = reader.stored(torch.zeros(1, dtype=torch.int64))
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    bald_sum, entropy_sum, mean_C = 0.0, 0.0, torch.zeros(like.shape[2], dtype=torch.float64, device=like.device)
    for span in blocks(len(reader), like.numel(), like.device):
        probs_n_K_C = _items(reader, torch.arange(len(reader))[span], dtype).exp()
        mean_n_C = probs_n_K_C.mean(1)
        bald_sum += float(bald_of(probs_n_K_C, mean_n_C).sum(dtype=torch.float64))
        entropy_sum += float(torch.special.entr(mean_n_C).sum(dtype=torch.float64))
        mean_C += mean_n_C.sum(0, dtype=torch.float64)
    classes = float(torch.special.entr(mean_C / len(reader)).sum().exp())
    return Averages(bald_sum / len(reader), entropy_sum / len(reader), classes)


def joint_information(reader: PoolReader, seed: int = 0) -> tuple[float, float]:
    """I(y_S; θ) = log K − E_{y_S} H[θ | y_S] ≤ log K: the joint information of all labels of a batch, in nats.

    Exact, by enumeration, if the batch has at most 2¹³ labelings. Otherwise about 2¹⁴ labelings are drawn, the same
    number from every p(y_S | θ_k), with the exact H[θ | y_S] for each; the cost does not depend on the number of
    classes. If less than 1e-3 nats of log K remain, the remaining items are skipped: the result may be too small by
    that amount.

    Returns:
        The information and its standard error, in nats; the standard error is 0 if the information is exact.
    """
    like = reader.stored(torch.zeros(1, dtype=torch.int64))
    _, K, C = like.shape
    if len(reader) * math.log(C) <= math.log(LABELINGS):
        left = _left_of_all(_items(reader, torch.arange(len(reader)), torch.float64))
        return max(0.0, math.log(K) - left), 0.0
    generator = torch.Generator().manual_seed(seed)
    draws = math.ceil(DRAWS / K)  # per posterior sample
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
    """mean_{i<j} I(y_i; y_j) / mean_i I(y_i; θ): the average share of a label's information that another label carries.

    It is 0 if labels are independent of each other, for a batch of one, and for a batch without information. It is 1 if
    every label is a function of any other one, since I(y_i; y_j) ≤ min(I(y_i; θ), I(y_j; θ)). As a mean over pairs it
    does not increase with the size of the batch by itself.

    All pairs are used up to 200,000, or fewer with more than 25 classes, since a pair costs C² logarithms. For larger
    batches about that number of pairs is used: the items are shuffled and split into groups, the items of each group
    are paired with those of the next group, and both means are over these pairs.
    """
    C = reader.pieces[0].shape[2]
    shared = single = 0.0
    for some, others in _pairs(len(reader), max(FEWEST, min(PAIRS, TERMS // C**2)), seed):
        log_probs_n_K_C, log_probs_m_K_C = (_items(reader, rows, torch.float64) for rows in (some, others))
        shared_n_m = mutual_information(log_probs_n_K_C, log_probs_m_K_C)
        single_n_m = (bald(log_probs_n_K_C)[:, None] + bald(log_probs_m_K_C)) / 2
        if some is others:  # every pair counts twice in both means; an item is not paired with itself
            shared_n_m.fill_diagonal_(0)
            single_n_m.fill_diagonal_(0)
        shared += float(shared_n_m.sum())
        single += float(single_n_m.sum())
    return min(1.0, shared / single) if single > NOTHING else 0.0


def _pairs(b: int, most: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of groups of rows, ascending. If all pairs are used: one group of all rows, paired with itself."""
    rows = torch.arange(b)
    if b * (b - 1) // 2 <= most:
        return iter([(rows, rows)])
    size = max(1, most // b)
    shuffled = rows[torch.randperm(b, generator=torch.Generator().manual_seed(seed))]
    groups = [group.sort().values for group in shuffled.split(size)]
    return islice(pairwise(groups), max(1, most // size**2))


def _left_of_all(log_probs_b_K_C: Float[Tensor, "b K C"]) -> float:
    """E_{y_S} H[θ | y_S], over all C^b labelings."""
    log_joint_K_M = torch.zeros_like(log_probs_b_K_C[0, :, :1])
    for log_probs_K_C in log_probs_b_K_C:
        log_joint_K_M = (log_joint_K_M[:, :, None] + log_probs_K_C[:, None]).flatten(1)
    weight_M = log_joint_K_M.exp().mean(0)
    possible = weight_M > 0
    return float(weight_M[possible] @ torch.special.entr(log_joint_K_M[:, possible].softmax(0)).sum(0))


def _labels(log_probs_K_C: Float[Tensor, "K C"], uniform_K_m: Float[Tensor, "K m"]) -> Tensor:
    """One label for every uniform draw, by the inverse cumulative distribution; never an impossible class."""
    cumulated_K_C = log_probs_K_C.exp().cumsum(1)
    return torch.searchsorted(cumulated_K_C / cumulated_K_C[:, -1:], uniform_K_m, right=True)


def _items(reader: PoolReader, rows: Rows, dtype: torch.dtype) -> Float[Tensor, "n K C"]:
    return as_log_probs(reader.stored(rows), dtype)
