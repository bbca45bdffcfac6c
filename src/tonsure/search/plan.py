"""The memory plan of a selection: what is kept in memory, and how many rows are read at a time."""

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tonsure.arguments import real, refusal
from tonsure.errors import InputError
from tonsure.information import WORKING_ELEMENTS
from tonsure.objectives.base import Objective
from tonsure.predictions.reader import PoolReader, as_log_probs

KEEP = 2**30
"""The largest size in bytes of prepared items if no budget is given."""

SMALL = 2**27
"""The size in bytes up to which prepared items are always kept: reading a few rows again has a cost per call."""

FIXED = 24 * 2**20
"""Bytes that do not depend on the pool: code that runs for the first time, slack of the allocator, and the rows that a
step examines."""

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


@dataclass(frozen=True)
class Plan:
    """The memory that a selection uses beyond the predictions themselves, in bytes. The plan never changes the result.

    Attributes:
        rows: the number of rows of the pool.
        notes: bytes of the notes of all rows, and of the chosen items that rows are compared with.
        kept: bytes of prepared items kept in memory; 0 if they are read and prepared again.
        kept_precisions: the number of precisions, of two, at which prepared items are kept.
        working: bytes of the intermediate tensors of one block of rows.
        block: the number of rows read at a time.
        least: the smallest budget that is accepted, in bytes.
        memory: the budget in bytes; None if none was given.
    """

    rows: int
    notes: int
    kept: int
    kept_precisions: int
    working: int
    block: int
    least: int
    memory: int | None = None

    @property
    def total(self) -> int:
        return self.notes + self.kept + self.working

    def __str__(self) -> str:
        budget = "no budget given" if self.memory is None else f"of a budget of {as_text(self.memory)}"
        kept = f"{as_text(self.kept)} prepared items" if self.kept else "items prepared again at every pass"
        return (
            f"plan for {self.rows:,} rows: {as_text(self.total)} beyond the predictions ({budget}): "
            f"{as_text(self.notes)} notes and chosen items, {kept}, {as_text(self.working)} working memory; "
            f"blocks of {self.block:,} rows"
        )


def plan(
    reader: PoolReader, objective: Objective[Any, Any], k: int, memory: int | None = None, block: int | None = None
) -> Plan:
    """The fastest plan within a budget.

    Args:
        reader: the predictions that are searched.
        objective: the objective that is searched.
        k: the number of rows to choose.
        memory: the budget in bytes, beyond the predictions themselves; None is at most 1 GiB for prepared items.
        block: the number of rows read at a time; None is chosen by device and budget.

    Raises:
        InputError: the budget is too small; the message states the minimum.
    """
    rows = len(reader)
    stored = reader.stored(torch.zeros(1, dtype=torch.int64))
    low, high = (as_log_probs(stored, dtype) for dtype in (torch.float32, torch.float64))
    quick, exact = objective.prepare(objective.coarse(low)), objective.prepare(high)
    notes = [*objective.init_notes(quick), *objective.init_notes(exact)]
    # Gain, key, noise, first gain, offset, two counters, and the mask.
    notes_bytes = rows * (sum(map(_bytes, notes)) + 3 * 8 + 2 * 4 + 2 * 4 + 1)
    if objective.updates_notes:
        # A row that has missed all chosen items is compared with a copy of them, in two layouts.
        notes_bytes += k * (_bytes(quick) + 3 * _bytes(exact))
    # Items with another shape than the stored ones are expensive to compute, so they are kept. Others are kept only if
    # they are small: reading them again costs as little.
    prepares = objective.prepares or quick.shape != stored.shape
    kept = [rows * _bytes(items) for items in (quick, exact)] if prepares else []
    if kept and quick.shape == stored.shape and kept[0] > SMALL:
        kept = []
    kept = [size for size in kept if size <= KEEP][: 2 if kept and kept[-1] <= SMALL else 1]
    # In double precision about five tensors of the size of a block of items exist at the same time.
    row_bytes = 5 * max(_bytes(high), _bytes(exact))
    elements = WORKING_ELEMENTS.get(stored.device.type, 2**24)
    fixed = FIXED + 3 * 8 * elements + objective.working_bytes(high, k)  # the second is of joint distributions
    # Even a small pool is split into blocks: reusing the memory of a block is faster than allocating new memory.
    best = min(rows, block or max(1, min(elements // stored[0].numel(), max(256, rows // 16))))
    least = notes_bytes + fixed + (best if block else 1) * row_bytes
    if memory is None:
        return Plan(rows, notes_bytes, sum(kept), len(kept), fixed + best * row_bytes, best, least)
    if memory < least:
        raise InputError(
            f"memory is {as_text(memory)}, but {objective} over {rows:,} rows of {tuple(stored.shape[1:])} needs at "
            f"least {as_text(least, up=True)} beyond the predictions: {as_text(notes_bytes)} for notes and chosen "
            f"items, and {as_text(least - notes_bytes)} working memory"
        )
    fits = best if block else min(best, (memory - notes_bytes - fixed) // row_bytes)
    working = fixed + fits * row_bytes
    while notes_bytes + working + sum(kept) > memory:
        kept.pop()
    return Plan(rows, notes_bytes, sum(kept), len(kept), working, fits, least, memory)


def as_bytes(memory: int | str) -> int:
    """Parses an amount of memory: a number of bytes, or text such as ``4GB`` (10⁹ bytes) or ``512MiB`` (2²⁰ bytes).

    Raises:
        InputError: the text has another form, or the number is not positive.
    """
    number: object = memory
    if isinstance(memory, str):
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", memory, re.ASCII)
        number = float(match[1]) * UNITS[match[2].upper()] if match and match[2].upper() in UNITS else None
    try:
        return int(real(above=0)("memory", number))
    except InputError as error:
        raise refusal("memory", memory, "a number of bytes, or text like 4GB or 512MiB") from error


def as_text(count: int, *, up: bool = False) -> str:
    """Formats a number of bytes with a unit, in powers of 1,024.

    Args:
        up: rounds up, so that a budget of this text is enough.
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
