"""Relations between selections from random pools: what must change no row, except between rows that are tied."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

import test_metamorphic
import test_surroundings
import tonsure as tn
from stress.attack import Attack, Case

DRAWN = ("DIRECT", "drop-query", "stratified-power", "weighted-k-means")
"""Methods whose rows depend on the seed even where three seeds give the same: k-means begins with rows drawn."""

TIE = 1e-6
"""The difference of gains, relative to the largest, up to which rows are tied. Of objectives, relative to one nat if
all are smaller: so ``tonsure.search.ranking`` has it."""

OF_THE_UNIT = ("BADGE", "CoreSet", "LCMD")
"""Methods whose gains are distances of features."""


@dataclass(frozen=True)
class Pool:
    """The arguments of a selection, in float32, and what its gains and rows are in those of the first pool.

    Attributes:
        unit: what the features were multiplied by.
        rows_N: the row in the first pool; None is the same.
    """

    log_probs_N_K_C: Any
    features_N_D: Any
    labeled: list[int]
    labels: list[int]
    unit: float = 1.0
    rows_N: Tensor | None = None

    def select(self, name: str, k: int, seed: int) -> tuple[list[int], Tensor]:
        """Rows and gains, in those of the first pool."""
        known = {"labeled": self.labeled, "labels": self.labels}
        found = tn.select(self.log_probs_N_K_C, name, k, features=self.features_N_D, seed=seed, **known)
        rows = found.rows if self.rows_N is None else self.rows_N[found.rows]
        return rows.tolist(), found.gains / self.unit if name in OF_THE_UNIT else found.gains


def _pool(random: Random) -> Pool:
    generator = torch.Generator().manual_seed(random.getrandbits(32))
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    N, K, C, D = random.randint(20, 60), random.randint(2, 8), random.randint(2, 5), random.randint(1, 8)
    confidence = random.choice([0.1, 1.0, 3.0, 10.0])
    logits = confidence * (normal(N, 1, C) + random.choice([0.1, 1.0]) * normal(N, K, C))
    centers = random.choice([0.0, 3.0]) * normal(4, D)
    features = centers[torch.arange(N) % 4] + normal(N, D) + random.choice([0.0, 0.0, 20.0])
    if random.random() < 0.2:  # rows that are tied
        half = N // 2
        features[-half:], logits[-half:] = features[:half], logits[:half]
    labeled = random.sample(range(N), random.randint(3, 8))
    labels = [random.randrange(C) for _ in labeled]
    return Pool(logits.log_softmax(-1).float(), features.float(), labeled, labels)


def _layout(pool: Pool, _: Random) -> Pool:
    log_probs = pool.log_probs_N_K_C.movedim(0, -1).contiguous().movedim(-1, 0)
    return replace(pool, log_probs_N_K_C=log_probs, features_N_D=pool.features_N_D.T.contiguous().T)


def _foreign(pool: Pool, _: Random) -> Pool:
    """Another byte order, and from the last number to the first."""
    foreign = [
        np.flip(np.flip(array.numpy()).astype(">f4").copy()) for array in (pool.log_probs_N_K_C, pool.features_N_D)
    ]
    return replace(pool, log_probs_N_K_C=foreign[0], features_N_D=foreign[1])


def _double(pool: Pool, _: Random) -> Pool:
    return replace(pool, log_probs_N_K_C=pool.log_probs_N_K_C.double(), features_N_D=pool.features_N_D.double())


def _parts(pool: Pool, random: Random) -> Pool:
    cuts = sorted(random.sample(range(1, len(pool.log_probs_N_K_C)), 3))
    return replace(pool, log_probs_N_K_C=list(pool.log_probs_N_K_C.tensor_split(cuts)))


def _order(pool: Pool, random: Random) -> Pool:
    rows_N = torch.tensor(random.sample(range(len(pool.features_N_D)), len(pool.features_N_D)))
    place_N = rows_N.argsort()
    features = pool.features_N_D[rows_N]
    return Pool(pool.log_probs_N_K_C[rows_N], features, place_N[pool.labeled].tolist(), pool.labels, rows_N=rows_N)


def _scale(pool: Pool, factor: float) -> Pool:
    return replace(pool, features_N_D=pool.features_N_D.double() * factor, unit=factor)


def _same(pool: Pool, _: Random) -> Pool:
    return pool


@dataclass(frozen=True)
class Relation:
    """Another pool, or other surroundings, that give the same rows.

    Attributes:
        names: of the methods for which this holds; None is all.
        of_seeds: whether it holds for methods whose rows depend on the seed.
    """

    change: Callable[[Pool, Random], Pool] = _same
    surroundings: Callable[[], AbstractContextManager[object]] = nullcontext
    names: tuple[str, ...] | None = None
    of_seeds: bool = True


FREE_OF_SCALE = tuple(test_metamorphic.FREE_OF_SCALE)

RELATIONS: dict[str, Relation] = {
    "layout": Relation(_layout),
    "byte order": Relation(_foreign),
    "float64": Relation(_double),
    "parts": Relation(_parts),
    "order of the pool": Relation(_order, of_seeds=False),
    "scale by a power of 2": Relation(
        lambda pool, random: _scale(pool, 2.0 ** random.randint(-90, 90)), names=FREE_OF_SCALE
    ),
    "scale by 3.7": Relation(lambda pool, _: _scale(pool, 3.7), names=FREE_OF_SCALE),
    **{name: Relation(surroundings=enter) for name, enter in test_surroundings.SURROUNDINGS.items()},
}


def relate(case: Case) -> Mapping[str, int]:
    name = list(RELATIONS)[case.number % len(RELATIONS)]
    relation, random, counts, wrong = RELATIONS[name], case.random, Counter[str](), []
    pool = _pool(random)
    other = relation.change(pool, random)
    k = random.randint(1, 10)
    for method in relation.names or tn.METHODS:
        expected, gains = pool.select(method, k, seed=0)
        draws = method in DRAWN or tn.METHODS[method].optimizer is not None  # all optimizers with a name draw
        if not relation.of_seeds and (draws or any(pool.select(method, k, seed)[0] != expected for seed in (1, 2))):
            continue
        with relation.surroundings():
            found, its_gains = other.select(method, k, seed=0)
        apart = [place for place in range(k) if expected[place] != found[place]]
        counts["selections"] += 1
        counts["same rows"] += not apart
        if apart:
            tied = tied_from(method, gains, its_gains, apart[0])
            counts["other rows, tied"] += tied
            if not tied:
                shown = f"{expected} with {gains.tolist()}, {found} with {its_gains.tolist()}"
                wrong.append(f"{method}: {shown}")
    assert not wrong, f"{name}: {'; '.join(wrong)}"
    return counts


def tied_from(method: str, gains: Tensor, others: Tensor, place: int) -> bool:
    """Whether rows that differ from a place on were tied there, and all rows together are worth as much.

    What follows a choice among tied rows may be other rows in another order, so those gains agree in their sum alone.
    """
    in_nats = isinstance(tn.METHODS[method].method, tn.Objective | tn.Targeted)
    tie = TIE * max(1.0 if in_nats else 0.0, float(gains.abs().max()))
    apart = gains - others
    return abs(float(apart[place])) <= tie and abs(float(apart[place:].sum())) <= tie * len(gains)


ATTACK = Attack(
    "random pools, all methods that have names: layout, byte order, float64, parts, order of the pool, scale of the "
    "features (by powers of 2, and by 3.7), threads, autocast, default types and devices, and other surroundings",
    lambda: 1000,
    6,
    relate,
)
