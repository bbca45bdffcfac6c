"""How much memory a selection may take, and what it does with it."""

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tonsure.errors import InputError
from tonsure.information import WORKING_ELEMENTS
from tonsure.objectives.base import Objective
from tonsure.predictions.reader import PoolReader, as_log_probs

KEEP = 2**30
"""Bytes that prepared items may take where no budget is given."""

SMALL = 2**27
"""Bytes that it is always worth keeping, to spare the calls that it takes to read and prepare a few rows again."""

FIXED = 16 * 2**20
"""Bytes that do not depend on the pool: allocator slack, and what the search looks at in a step."""

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


@dataclass(frozen=True)
class Plan:
    """What a selection needs beyond the predictions themselves, in bytes; none of it changes the result.

    Attributes:
        rows: of the pool.
        notes: what is remembered of all rows, and the chosen items that rows are compared with.
        kept: items as the objective prepares them, in memory; 0 where they are read and prepared again.
        kept_levels: at how many of the two precisions items are kept.
        working: one block of rows at work.
        block: rows that are read at a time.
        least: the smallest budget that is accepted.
        memory: the budget; None where none was given.
    """

    rows: int
    notes: int
    kept: int
    kept_levels: int
    working: int
    block: int
    least: int
    memory: int | None = None

    @property
    def total(self) -> int:
        return self.notes + self.kept + self.working

    def __str__(self) -> str:
        budget = "no budget was given" if self.memory is None else f"of {as_text(self.memory)}"
        kept = f"{as_text(self.kept)} prepared items" if self.kept else "items prepared at every reading"
        return (
            f"plan for {self.rows:,} rows: {as_text(self.total)} beyond the predictions ({budget}): "
            f"{as_text(self.notes)} notes and chosen items, {kept}, {as_text(self.working)} at work; "
            f"{self.block:,} rows at a time"
        )


def plan(
    reader: PoolReader, objective: Objective[Any, Any], k: int, memory: int | None = None, block: int | None = None
) -> Plan:
    """The fastest way to select from a part of the pool within a budget.

    Args:
        k: how many rows are to be chosen.
        memory: in bytes, beyond the predictions themselves; None takes at most 1 GiB for prepared items.
        block: rows that are read at a time; None for what suits the device and the budget.

    Raises:
        InputError: the budget is too small; the message says how much is needed.
    """
    rows = len(reader)
    stored = reader.stored(torch.zeros(1, dtype=torch.int64))
    low, high = (as_log_probs(stored, dtype) for dtype in (torch.float32, torch.float64))
    quick, exact = objective.prepare(objective.coarse(low)), objective.prepare(high)
    notes = [*objective.init_notes(quick), *objective.init_notes(exact)]
    # Gain, key, noise, first gain, offset, two counters, and the mask.
    notes_bytes = rows * (sum(map(_bytes, notes)) + 3 * 8 + 2 * 4 + 2 * 4 + 1)
    if objective.updates_notes:
        # A row that has missed all of the chosen items is compared with a copy of them, in two layouts.
        notes_bytes += k * (_bytes(quick) + 3 * _bytes(exact))
    # Items of another shape than the stored ones are the work of several passes; many others are as well read again.
    prepares = objective.prepares or quick.shape != stored.shape
    kept = [rows * _bytes(items) for items in (quick, exact)] if prepares else []
    if kept and quick.shape == stored.shape and kept[0] > SMALL:
        kept = []
    kept = [size for size in kept if size <= KEEP][: 2 if kept and kept[-1] <= SMALL else 1]
    # In double precision some five tensors of the size of a block of items stand beside each other.
    row_bytes = 5 * max(_bytes(high), _bytes(exact))
    elements = WORKING_ELEMENTS.get(stored.device.type, 2**24)
    fixed = FIXED + 3 * 8 * elements  # of joint distributions
    # A small pool in several blocks: memory that is new to the process takes longer than to use that of a block again.
    best = block or max(1, min(elements // stored[0].numel(), max(256, rows // 16)))
    least = notes_bytes + fixed + (block or 1) * row_bytes
    if memory is None:
        return Plan(rows, notes_bytes, sum(kept), len(kept), fixed + best * row_bytes, best, least)
    if memory < least:
        raise InputError(
            f"memory is {as_text(memory)}, but {objective} over {rows:,} rows of {tuple(stored.shape[1:])} needs at "
            f"least {as_text(least, up=True)} beyond the predictions: {as_text(notes_bytes)} of notes and chosen "
            f"items, and {as_text(least - notes_bytes)} to work with"
        )
    fits = best if block else min(best, (memory - notes_bytes - fixed) // row_bytes)
    working = fixed + fits * row_bytes
    while notes_bytes + working + sum(kept) > memory:
        kept.pop()
    return Plan(rows, notes_bytes, sum(kept), len(kept), working, fits, least, memory)


def as_bytes(memory: int | str) -> int:
    """``4GB`` (10⁹ bytes each), ``512MiB`` (2²⁰) or a number of bytes.

    Raises:
        InputError: it is none of them, or not positive.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", str(memory))
    if not match or match[2].upper() not in UNITS or float(match[1]) <= 0:
        raise InputError(f"memory is {memory!r}, expected a number of bytes, or text like 4GB or 512MiB")
    return int(float(match[1]) * UNITS[match[2].upper()])


def as_text(count: int, *, up: bool = False) -> str:
    """Bytes for people, in powers of 1,024.

    Args:
        up: rounds up, so that a budget of the text is enough.
    """
    number, units = float(count), iter(("bytes", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while number >= 1024 and unit != "TiB":
        number, unit = number / 1024, next(units)
    if unit == "bytes":
        return f"{count:,} bytes"
    return f"{math.ceil(10 * number) / 10 if up else number:.1f} {unit}"


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
