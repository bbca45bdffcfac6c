"""Checks of contracts: of objectives, optimizers, strategies and models.

Each check raises an ``AssertionError`` that states the violation and its size.
"""

import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.errors import InputError, SelectionWarning
from tonsure.models import BayesianModel
from tonsure.models.predict import predict
from tonsure.objectives.base import Objective, Structure
from tonsure.optimizers import Greedy, LazyGreedy, Optimizer, TopK
from tonsure.predictions.reader import PoolReader
from tonsure.selection import Selection, search
from tonsure.strategies import PoolState, Strategy

ROUNDING = 1e-5
"""The error of a gain due to the order of a sum, relative to the largest gain or in nats."""


SEEN = ("labeled_rows", "labels_m", "unlabeled_rows", "features_N_D", "log_probs_n_K_C", "labeled_log_probs_m_K_C")
"""The attributes of a pool state that a strategy may read."""

HELD_OUT = ("held_out_rows", "held_out_log_probs_n_K_C")
"""Those that it may read if it declares that it needs them."""


def check_objective(objective: Objective[Any, Any], log_probs_n_K_C: Float[Tensor, "n K C"]) -> None:
    """Checks that an objective is a set function of items that can be computed in blocks, in any order, and lazily.

    Args:
        objective: the objective to check.
        log_probs_n_K_C: at least 12 items in float64; with impossible classes (−inf) if the objective supports them.

    Raises:
        AssertionError: the objective modifies its arguments; its notes are not a NamedTuple of tensors with one row per
            item; a gain is nan, or depends on the block or the order of the pool; updating with m chosen items at once
            differs from updating one by one; gains change against the declared structure; gains of coarse items
            decrease faster; a value exceeds the ceiling; float32 changes a gain by more than ``rounding``; or lazy
            greedy search differs from greedy search.
    """
    n = len(log_probs_n_K_C)
    assert n >= 12, f"check_objective needs at least 12 items, got {n}"
    assert pickle.loads(pickle.dumps(objective)) == objective, f"{objective} is not the same after pickling"
    given = log_probs_n_K_C.clone()
    items = objective.prepare(log_probs_n_K_C)
    assert len(items) == n, f"prepare gave {len(items)} rows for {n} items"
    before = items.clone()
    _check_notes(objective, items)
    gains = _gains_while_choosing(objective, items, items[: n // 3])
    assert torch.equal(items, before), "the items were changed"
    _check_structure(objective.structure, gains)
    _check_declarations(objective, items)
    _check_cuts(objective, items, items[: n // 3], gains[-1])
    _check_rounding(objective, log_probs_n_K_C, gains)
    if objective.structure is Structure.SUBMODULAR:
        _check_coarse(objective, log_probs_n_K_C, gains)
    _check_greedy(objective, log_probs_n_K_C)
    assert torch.equal(log_probs_n_K_C, given), "the log-probabilities were changed"


def check_optimizer(
    optimizer: Optimizer, objective: Objective[Any, Any], log_probs_n_K_C: Float[Tensor, "n K C"]
) -> None:
    """Checks that an optimizer chooses distinct rows, which do not depend on blocks, shards or the storage type.

    Args:
        optimizer: the optimizer to check.
        objective: the objective to search.
        log_probs_n_K_C: at least 12 items in float32.

    Raises:
        AssertionError: a row is chosen twice; the input is modified; the same seed gives other rows; the rows depend on
            the block size, the shards or the storage type; or, for greedy optimizers, the gains depend on the order of
            the pool.
    """
    items, n = log_probs_n_K_C, len(log_probs_n_K_C)
    assert n >= 12, f"check_optimizer needs at least 12 items, got {n}"
    before = items.clone()

    def rows(pool: Any, k: int = n // 2, **options: Any) -> list[int]:
        return _search(pool, objective, k, optimizer, **options).rows.tolist()

    expected = rows(items)
    assert len(set(expected)) == n // 2, f"a row was chosen twice: {expected}"
    assert sorted(rows(items, n)) == list(range(n)), "k = N does not choose every row once"
    assert rows(items) == expected, "the same seed gave other rows"
    if optimizer.nested:
        assert rows(items, n // 4) == expected[: n // 4], "a smaller batch is not the beginning of a larger one"
    for block in (1, 5, n):
        assert rows(items, block=block) == expected, f"blocks of {block} gave other rows"
    assert rows(items.double()) == expected, "storing float32 as float64 gave other rows"
    half = items.half()
    assert rows(half) == rows(half.float().log_softmax(-1)), "reading from float16 gave other rows than float32"
    assert rows([items[:5], items[5:6], items[6:]]) == expected, "three shards gave other rows than one"
    if isinstance(optimizer, Greedy | LazyGreedy | TopK):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(items.device)
        gains, turned = (  # not the rows, which may tie
            _search(pool, objective, n // 2, optimizer).gains for pool in (items, items[order])
        )
        _close(gains, turned, "gains of the pool, and of the same rows in another order")
    assert torch.equal(items, before), "the items were changed"


def check_strategy(strategy: Strategy, state: PoolState) -> None:
    """Checks that a strategy chooses k distinct unlabeled rows, and draws random numbers from its generator only.

    Args:
        strategy: the strategy to check.
        state: a state with some labeled and at least 12 unlabeled rows, and with features and predictions; with
            held-out predictions if the strategy needs them.

    Raises:
        AssertionError: a row is chosen twice, is labeled or is not in the pool; the number of rows is not k; the state
            is modified; the same seed gives other rows; a global generator has an influence or is used; an input that
            the strategy does not declare has an influence; or a k out of range or a missing input raises no InputError.
    """
    n = len(state.unlabeled_rows)
    assert n >= 12, f"check_strategy needs at least 12 unlabeled rows, got {n}"
    assert pickle.loads(pickle.dumps(strategy)) == strategy, f"{strategy} is not the same after pickling"
    held_out = HELD_OUT if strategy.needs_held_out_predictions or state.held_out_rows is not None else ()
    before = {name: getattr(state, name) for name in (*SEEN, *held_out)}
    missing = sorted(name for name, tensor in before.items() if tensor is None)
    assert not missing, f"check_strategy needs a state with everything, but {', '.join(missing)} are None"
    copies = {name: tensor.clone() for name, tensor in before.items()}

    def choose(k: int, seen: PoolState = state) -> Selection:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SelectionWarning)
            return strategy.choose(seen, k, torch.Generator().manual_seed(3))

    for k in (1, n // 2, n):
        _check_selection(choose(k), state, k)
    some = replace(state, candidate_rows=state.unlabeled_rows[::2])
    for k in (1, len(some.choosable_rows)):
        _check_selection(choose(k, some), some, k)
    expected = choose(n // 2)
    numpy_state = _numpy_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch.default_generator.initial_seed() + 1)
        drawn_from = torch.get_rng_state()
        again = choose(n // 2)
        assert torch.equal(torch.get_rng_state(), drawn_from), "torch's global generator was used"
    assert _numpy_state() == numpy_state, "NumPy's global generator was used"
    assert torch.equal(again.rows, expected.rows), "the same seed gave other rows"
    assert torch.equal(again.gains, expected.gains), "the same seed gave other gains"
    needs = {
        "features_N_D": strategy.needs_features,
        "log_probs_n_K_C": strategy.needs_predictions,
        "labeled_log_probs_m_K_C": strategy.needs_labeled_predictions,
    }
    not_needed = [name for name, needed in needs.items() if not needed]
    bare = _without(state, *not_needed, *(() if strategy.needs_held_out_predictions else HELD_OUT))
    assert torch.equal(choose(n // 2, bare).rows, expected.rows), "what is not needed has an influence"
    for name, needed in needs.items():
        if needed:
            _check_refused(partial(choose, 1, _without(state, name)), f"a state without {name}")
    if strategy.needs_held_out_predictions:
        _check_refused(partial(choose, 1, _without(state, *HELD_OUT)), "a state without held-out predictions")
    for k in (0, n + 1):
        _check_refused(partial(choose, k), f"k = {k} of {n} unlabeled rows")
    for name, tensor in before.items():
        assert torch.equal(tensor, copies[name]), f"{name} was changed"


def check_model(model: BayesianModel, inputs: Tensor, *, tolerance: float = 1e-5) -> None:
    """Checks that each of the K samples of a model is one function of an item, independent of the other items.

    Args:
        model: the fitted model to check.
        inputs: at least 3 items [n, ...]; a few dozen make a thorough check.
        tolerance: the largest allowed change of a log-probability with the block size, in nats or relative to it; the
            errors of TF32 exceed the default.

    Raises:
        AssertionError: the model modifies its inputs; its log_probs are not [n, K, C], require gradients or are no
            distributions; or the log_probs of an item depend on the other items, their order or the block.
    """
    n = len(inputs)
    assert n >= 3, f"check_model needs at least 3 items, got {n}"
    before = inputs.clone()
    expected_n_K_C = model.log_probs(inputs)
    assert torch.equal(inputs, before), "the inputs were changed"
    _check_log_probs(expected_n_K_C, n, model.samples)

    def same(what: str, found: Tensor, expected: Tensor) -> None:
        assert found.shape == expected.shape, (
            f"{what}: log_probs have shape {tuple(found.shape)}, not {tuple(expected.shape)}"
        )
        near = (found - expected).abs() <= tolerance * expected.abs().clamp(min=1.0)
        # Two −inf are equal, but their difference is nan; and the tolerance relative to −inf is infinite.
        far = ~((found == expected) | (near & expected.isfinite()))
        if far.any():
            at = tuple(int(index) for index in far.nonzero()[0])
            raise AssertionError(
                f"{what}: log p of (item, sample, class) {at} is {float(found[at]):.6g}, at first it was "
                f"{float(expected[at]):.6g}; a posterior sample must be one function of an item"
            )

    same("the same items a second time", model.log_probs(inputs), expected_n_K_C)
    same("the items in reverse order", model.log_probs(inputs.flip(0)).flip(0), expected_n_K_C)
    uneven = n // 2 + 1  # the last block is shorter
    same(f"in blocks of {uneven}", predict(model, inputs, block_size=uneven), expected_n_K_C.cpu())
    same("the last item alone", predict(model, inputs, rows=[n - 1]), expected_n_K_C[-1:].cpu())
    copies = inputs[:1].expand(6, *inputs.shape[1:])
    same("one item at six positions", model.log_probs(copies), expected_n_K_C[:1].expand(6, -1, -1))


def _check_selection(selection: Selection, state: PoolState, k: int) -> None:
    rows, gains = selection.rows.tolist(), selection.gains
    assert len(rows) == len(gains) == k, f"{len(rows)} rows with {len(gains)} gains were chosen, not {k}"
    assert len(set(rows)) == k, f"a row was chosen twice: {rows}"
    wrong = sorted(set(rows) - set(state.choosable_rows.tolist()))
    assert not wrong, f"row {wrong[0]} was chosen, which is none of the rows that may be chosen"


def _without(state: PoolState, *names: str) -> PoolState:
    nothing: dict[str, Any] = dict.fromkeys(names)
    return replace(state, **nothing)


def _numpy_state() -> str:
    return pickle.dumps(np.random.get_state()).hex()


def _check_refused(attempt: Callable[[], object], what: str) -> None:
    try:
        attempt()
    except InputError:
        return
    raise AssertionError(f"{what} is no InputError")


def _check_notes(objective: Objective[Any, Any], items: Tensor) -> None:
    notes = objective.init_notes(items)
    assert hasattr(notes, "_fields"), f"the notes are a {type(notes).__name__}, expected a NamedTuple of tensors"
    for name, column in zip(notes._fields, notes, strict=True):
        assert len(column) == len(items), f"the notes' {name} has {len(column)} rows for {len(items)} items"
    before = [column.clone() for column in notes]
    objective.update_notes(notes, items, items[:2])
    assert all(map(torch.equal, notes, before)), "update_notes changed the notes that it was given"
    gain_n = objective.gain(objective.init_state(items[:1]), notes, items)
    assert gain_n.shape == (len(items),), f"gain has shape {tuple(gain_n.shape)}, expected ({len(items)},)"


def _gains_while_choosing(objective: Objective[Any, Any], items: Tensor, chosen: Tensor) -> list[Tensor]:
    """The gains of all items before anything is chosen, and after each item of ``chosen``, in order."""
    state, notes = objective.init_state(items[:1]), objective.init_notes(items)
    gains = [objective.gain(state, notes, items)]
    for item in chosen.split(1):
        state, notes = objective.update_state(state, item), objective.update_notes(notes, items, item)
        gains.append(objective.gain(state, notes, items))
    for gain_n in gains:
        assert not gain_n.isnan().any(), f"the gain of item {int(gain_n.isnan().nonzero()[0])} is nan"
    return gains


def _check_structure(structure: Structure, gains: list[Tensor]) -> None:
    rise = max(float((after - before).max()) for before, after in pairwise(gains))
    move = max(float((after - gains[0]).abs().max()) for after in gains)
    if structure is Structure.SUBMODULAR:
        assert rise <= ROUNDING, f"structure is SUBMODULAR, but a gain increased by {rise:.3g}"
    if structure in (Structure.MODULAR, Structure.CONSTANT):
        assert move <= ROUNDING, f"structure is {structure.name}, but a gain changed by {move:.3g}"
    if structure is Structure.CONSTANT:
        assert gains[0].unique().numel() == 1, f"structure is CONSTANT, but gains differ: {gains[0].unique().tolist()}"


def _check_declarations(objective: Objective[Any, Any], items: Tensor) -> None:
    """Checks that a state or notes declared as constant do not change."""
    state, notes = objective.init_state(items[:1]), objective.init_notes(items)
    if not objective.uses_state:
        gain_n = objective.gain(objective.update_state(state, items[:1]), notes, items)
        assert torch.equal(gain_n, objective.gain(state, notes, items)), "uses_state is False, but the state changed"
    if not objective.updates_notes:
        updated = objective.update_notes(notes, items, items[:2])
        assert all(map(torch.equal, notes, updated)), "updates_notes is False, but the notes changed"


def _check_cuts(objective: Objective[Any, Any], items: Tensor, chosen: Tensor, expected_n: Tensor) -> None:
    """Checks gains after an update with all of ``chosen`` at once: of the pool, in two blocks, and in reverse order."""
    state = objective.init_state(items[:1])
    for item in chosen.split(1):
        state = objective.update_state(state, item)

    def gain(part: Tensor) -> Tensor:
        return objective.gain(state, objective.update_notes(objective.init_notes(part), part, chosen), part)

    half = len(items) // 2
    _close(expected_n, gain(items), f"gains after {len(chosen)} chosen items one by one, and at once")
    _close(expected_n, torch.cat([gain(items[:half]), gain(items[half:])]), "gains of the pool, and in two blocks")
    _close(expected_n, gain(items.flip(0)).flip(0), "gains of the pool, and in reverse order")


def _check_rounding(objective: Objective[Any, Any], log_probs_n_K_C: Tensor, expected: list[Tensor]) -> None:
    """Checks that float32 changes no gain by more than ``rounding`` allows: bounds in float32 rely on it."""
    items = objective.prepare(log_probs_n_K_C.float())
    found = _gains_while_choosing(objective, items, items[: len(expected) - 1])
    for step, (double_n, single_n) in enumerate(zip(expected, found, strict=True)):
        apart = float(((single_n.double() - double_n).abs() / double_n.abs().clamp_min(1)).max())
        allowed = objective.rounding * (1 + step)
        assert apart <= allowed, f"float32 moves a gain by {apart:.3g} after {step} chosen items, not by {allowed:.3g}"


def _check_coarse(objective: Objective[Any, Any], log_probs_n_K_C: Tensor, expected: list[Tensor]) -> None:
    """Checks that gains of coarse items decrease no faster than gains of the items."""
    items = objective.prepare(objective.coarse(log_probs_n_K_C))
    found = _gains_while_choosing(objective, items, items[: len(expected) - 1])
    for gain_n, coarse_n in zip(expected, found, strict=True):
        faster = float(((found[0] - coarse_n) - (expected[0] - gain_n)).max())
        assert faster <= ROUNDING, f"on coarse items a gain falls by {faster:.3g} more than on the items themselves"


def _check_greedy(objective: Objective[Any, Any], items: Tensor) -> None:
    greedy, lazy = (_search(items, objective, len(items), optimizer) for optimizer in (Greedy(), LazyGreedy()))
    assert greedy.rows.tolist() == lazy.rows.tolist(), (
        f"lazy greedy chose {lazy.rows.tolist()}, greedy {greedy.rows.tolist()}"
    )
    most, ceiling = float(greedy.gains.cumsum(0).max()), objective.ceiling(objective.prepare(items[:1]))
    assert most <= ceiling + ROUNDING, f"a batch is worth {most}, above the ceiling {ceiling}"


def _search(
    pool: Tensor | list[Tensor], objective: Objective[Any, Any], k: int, optimizer: Optimizer, block: int | None = None
) -> Selection:
    return search(PoolReader(pool if isinstance(pool, list) else [pool]), objective, k, optimizer, block=block)


def _close(expected: Tensor, found: Tensor, what: str) -> None:
    tolerance = ROUNDING * max(1.0, float(expected.abs().max()))
    apart = float((expected - found).abs().max())
    assert apart <= tolerance, f"{what} differ by {apart:.3g}"


def _check_log_probs(log_probs: Tensor, n: int, samples: int) -> None:
    shape = tuple(log_probs.shape)
    assert len(shape) == 3, f"log_probs have shape {shape}, expected (n, K, C)"
    assert shape[:2] == (n, samples), f"log_probs have shape {shape}, expected ({n}, {samples}, C)"
    assert log_probs.is_floating_point(), f"log_probs are {log_probs.dtype}, expected floats"
    assert not log_probs.requires_grad, "log_probs carry a graph: predict under torch.no_grad()"
    total_n_K = log_probs.double().exp().sum(dim=2)
    wrong = ~((total_n_K - 1).abs() <= 1e-4)  # so that nan is wrong
    if wrong.any():
        at = tuple(int(index) for index in wrong.nonzero()[0])
        raise AssertionError(f"exp(log_probs) of (item, sample) {at} add up to {float(total_n_K[at]):.6g}, not to 1")
