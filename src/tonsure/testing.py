"""The contracts that objectives, optimizers and models keep, to be run on your own as on ours.

Each raises an ``AssertionError`` that says what was broken and by how much.
"""

import pickle
import warnings
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.errors import SelectionWarning
from tonsure.objective import Gains, Objective
from tonsure.optimizers import Greedy, LazyGreedy, Optimizer, TopK
from tonsure.select import Selection, select
from tonsure.testing_models import check_model as check_model

ROUNDING = 1e-5
"""What float32 may do to a gain, relative to the largest or in nats."""


def check_objective(objective: Objective[Any, Any], log_probs_n_K_C: Float[Tensor, "n K C"]) -> None:
    """The objective is a set function of items that can be run in blocks, on any order of them, and lazily.

    Args:
        objective: yours.
        log_probs_n_K_C: some items in float64, at least 12; with impossible classes (−inf), if it shall bear them.

    Raises:
        AssertionError: it changes what it is given, its notes are no NamedTuple of one row per item, a gain is nan
            or depends on the block or the order of the pool, m chosen items at once are not m one by one, gains do
            not move as promised, a total passes the ceiling, float32 changes it, or lazy greedy differs from greedy.
    """
    items = log_probs_n_K_C
    n = len(items)
    assert n >= 12, f"check_objective needs at least 12 items, got {n}"
    assert pickle.loads(pickle.dumps(objective)) == objective, f"{objective} is not the same after pickling"
    before = items.clone()
    chosen = items[: n // 3]

    state, notes = objective.first_state(items[:1]), objective.first_notes(items)
    assert hasattr(notes, "_fields"), (
        f"the notes are a {type(notes).__name__}, expected a NamedTuple of tensors"
    )
    for name, column in zip(notes._fields, notes, strict=True):
        assert len(column) == n, f"the notes' {name} has {len(column)} rows for {n} items"
    copies = [column.clone() for column in notes]
    first_n = objective.gain(state, notes, items)
    assert first_n.shape == (n,), f"gain has shape {tuple(first_n.shape)}, expected ({n},)"

    gains = [first_n]
    one_by_one = notes
    for item in chosen.split(1):
        state = objective.next_state(state, item)
        one_by_one = objective.next_notes(one_by_one, items, item)
        gains.append(objective.gain(state, one_by_one, items))
    for gain_n in gains:
        assert not gain_n.isnan().any(), f"the gain of item {int(gain_n.isnan().nonzero()[0])} is nan"
    at_once_n = objective.gain(state, objective.next_notes(notes, items, chosen), items)
    _close(gains[-1], at_once_n, f"gains after {len(chosen)} chosen items one by one, and at once")
    assert torch.equal(items, before), "the items were changed"
    assert all(map(torch.equal, notes, copies)), "next_notes changed the notes that it was given"

    if objective.block is None:
        half = n // 2
        parts = [objective.first_notes(part) for part in (items[:half], items[half:])]
        parts = [
            objective.next_notes(note, part, chosen)
            for note, part in zip(parts, (items[:half], items[half:]), strict=True)
        ]
        split = [
            objective.gain(state, note, part)
            for note, part in zip(parts, (items[:half], items[half:]), strict=True)
        ]
        _close(gains[-1], torch.cat(split), "gains of the whole pool, and in two blocks")
        order = torch.arange(n).flip(0)
        turned = objective.next_notes(objective.first_notes(items[order]), items[order], chosen)
        _close(
            gains[-1][order], objective.gain(state, turned, items[order]), "gains of the pool turned round"
        )

    rises = max(float((after - before_).max()) for before_, after in zip(gains, gains[1:], strict=False))
    moves = max(float((after - first_n).abs().max()) for after in gains)
    if objective.gains is Gains.FALLING:
        assert rises <= ROUNDING, f"gains are promised to fall, but one rose by {rises:.3g}"
    if objective.gains in (Gains.FIXED, Gains.EQUAL):
        assert moves <= ROUNDING, f"gains are promised to be fixed, but one moved by {moves:.3g}"
    if objective.gains is Gains.EQUAL:
        assert first_n.unique().numel() == 1, (
            f"gains are promised to be equal, but are {first_n.unique().tolist()}"
        )

    greedy = _quiet_select(items, objective, n, Greedy())
    most = float(greedy.gains.cumsum(0).max())
    ceiling = objective.ceiling(items[:1])
    assert most <= ceiling + ROUNDING, f"a batch is worth {most}, above the ceiling {ceiling}"
    lazy = _quiet_select(items, objective, n, LazyGreedy())
    assert greedy.rows.tolist() == lazy.rows.tolist(), (
        f"lazy greedy chose {lazy.rows.tolist()}, greedy {greedy.rows.tolist()}"
    )
    single = objective.first_notes(items.float())
    single_n = objective.gain(objective.first_state(items[:1].float()), single, items.float())
    _close(first_n, single_n.double(), "gains in float64, and in float32")


def check_optimizer(
    optimizer: Optimizer, objective: Objective[Any, Any], log_probs_n_K_C: Float[Tensor, "n K C"]
) -> None:
    """The optimizer chooses distinct rows, and the same ones however the pool is cut, stored or asked again.

    Args:
        optimizer: yours.
        objective: what it searches for.
        log_probs_n_K_C: some items in float32, at least 12.

    Raises:
        AssertionError: a row is chosen twice, the input is changed, the same seed gives other rows, the rows depend
            on the block size, on shards or on the storage type, or the gains (of greedy ones) on the order of the pool.
    """
    items = log_probs_n_K_C
    n = len(items)
    assert n >= 12, f"check_optimizer needs at least 12 items, got {n}"
    before = items.clone()

    def rows(pool: Any, k: int = n // 2, **options: Any) -> list[int]:
        return _quiet_select(pool, objective, k, optimizer, **options).rows.tolist()

    expected = rows(items)
    assert len(set(expected)) == n // 2, f"a row was chosen twice: {expected}"
    assert sorted(rows(items, n)) == list(range(n)), "k = N does not choose every row once"
    assert torch.equal(items, before), "the items were changed"
    assert rows(items) == expected, "the same seed gave other rows"
    assert rows(items, n // 4) == expected[: n // 4], "a smaller batch is not the beginning of a larger one"
    for block in (1, 5, n):
        assert rows(items, block=block) == expected, f"blocks of {block} gave other rows"
    assert rows(items.double()) == expected, "storing float32 as float64 gave other rows"
    half = items.half()
    assert rows(half) == rows(half.float().log_softmax(-1)), (
        "reading from float16 gave other rows than float32"
    )
    if objective.block is None:
        assert rows([items[:5], items[5:6], items[6:]]) == expected, "three shards gave other rows than one"
        if isinstance(optimizer, Greedy | LazyGreedy | TopK):
            order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(items.device)
            pools = (items, items[order])
            gains = [
                _quiet_select(pool, objective, n // 2, optimizer).gains for pool in pools
            ]  # rows may tie
            _close(*gains, "gains of the pool, and of the same rows in another order")


def _quiet_select(
    pool: Any, objective: Objective[Any, Any], k: int, by: Optimizer, **options: Any
) -> Selection:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SelectionWarning)
        return select(pool, objective, k, by=by, **options)


def _close(expected: Tensor, found: Tensor, what: str) -> None:
    tolerance = ROUNDING * max(1.0, float(expected.abs().max()))
    apart = float((expected - found).abs().max())
    assert apart <= tolerance, f"{what} differ by {apart:.3g}"
