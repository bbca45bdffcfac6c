"""A store of predictions that are there already, as a tensor, an array or one block after the other."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.errors import InputError, StoreError
from tonsure.predictions.arrays import as_tensor
from tonsure.predictions.checks import check_log_probs
from tonsure.predictions.store.blocks import bytes_of
from tonsure.predictions.store.items import make_table
from tonsure.predictions.store.layout import BLOCK_BYTES, DATA_OFFSET, Layout
from tonsure.predictions.store.manifest import plain
from tonsure.predictions.store.reading import Store
from tonsure.predictions.store.sealing import seal, writing_to

_AGAIN = "nothing of it was kept, so the same call begins again"


def write_store(
    path: str | PathLike[str],
    log_probs: Any,
    *,
    ids: Iterable[object] | None = None,
    items: Any = None,
    dtype: torch.dtype | None = None,
    about: Mapping[str, Any] | None = None,
    rows_per_shard: int | None = None,
) -> Store:
    """Makes a store of predictions that are there already. What fails leaves none.

    Args:
        path: the folder, which must not exist.
        log_probs: log p(y = c | x_i, θ_k), nats: a tensor or an array [N, K, C], or an iterable of such blocks,
            which together are the pool, in this order. Of an iterable, one block is held at a time.
        ids: one name for each row; kept as text.
        items: what else to keep per row: a pyarrow table, or columns by name.
        dtype: float16, bfloat16 or float32; None is the type given (float32 for float64).
        about: whatever is to be kept of the whole, as plain data.
        rows_per_shard: by default what fits into 1 GiB.

    Raises:
        InputError: the predictions are no log-probabilities; the message names the first offending row.
        StoreError: there is something at ``path``, ids are twice or not one per row, or the disk is full.
        MissingExtraError: ids or items are given, and pyarrow is not installed.
    """
    path = Path(path)
    about = plain("about", about or {})
    if path.exists():
        raise StoreError(f"{path} exists already; a store is never written over")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        layout = _write_shards(beside, path, _checked_blocks(log_probs), dtype, rows_per_shard)
        with writing_to(path, layout.total_bytes, _AGAIN):
            seal(beside, layout, make_table(ids, items, layout.N), {}, about)
            beside.rename(path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return Store.open(path, verify=False)


def _write_shards(
    folder: Path, path: Path, blocks: Iterator[Tensor], dtype: torch.dtype | None, rows_per_shard: int | None
) -> Layout:
    """Fills shard after shard; when N is known, their headers are put before the numbers."""
    layout: Layout | None = None
    for block in blocks:
        stored_as = dtype or (torch.float32 if block.dtype == torch.float64 else block.dtype)
        _, K, C = block.shape
        if layout is None:
            layout = Layout.of(0, K, C, stored_as, rows_per_shard)
        if layout != Layout.of(layout.N, K, C, stored_as, rows_per_shard):
            raise InputError(
                f"the block that begins at row {layout.N} has shape {list(block.shape)} and type {block.dtype}, but "
                f"those before have K = {layout.K}, C = {layout.C}, kept as {layout.dtype}"
            )
        with writing_to(path, (layout.N + len(block)) * layout.row_bytes, _AGAIN):
            folder.mkdir(parents=True, exist_ok=True)
            layout = _append(folder, layout, block)
    if layout is None:
        raise InputError("the pool is empty: expected log-probabilities of shape [N, K, C], found no blocks")
    for span in layout.spans():
        with (folder / span.file).open("r+b") as file:
            file.write(layout.header(span.rows))
    return layout


def _append(folder: Path, layout: Layout, log_probs_n_K_C: Float[Tensor, "n K C"]) -> Layout:
    """The layout with the rows of a block, which are written."""
    longer = replace(layout, N=layout.N + len(log_probs_n_K_C))
    for span in longer.spans(layout.N, len(log_probs_n_K_C)):
        rows = slice(max(0, span.first_row - layout.N), span.first_row + span.rows - layout.N)
        with (folder / span.file).open("ab") as file:
            if span.first_row >= layout.N:
                file.write(bytes(DATA_OFFSET))
            file.write(bytes_of(log_probs_n_K_C[rows].to(layout.dtype)))
    return longer


def _checked_blocks(log_probs: Any) -> Iterator[Tensor]:
    """The predictions, small blocks after each other, each checked before it is given."""
    if isinstance(log_probs, Tensor | np.ndarray):
        whole = as_tensor(log_probs)
        check_log_probs([whole])
        yield from _small(whole)
        return
    first_row = 0
    for part in log_probs:
        block = as_tensor(part)
        try:
            check_log_probs([block])
        except InputError as error:
            raise InputError(
                f"in the block that begins at row {first_row}, rows counted from there: {error}"
            ) from error
        yield from _small(block)
        first_row += len(block)


def _small(log_probs_n_K_C: Float[Tensor, "n K C"]) -> Iterator[Tensor]:
    # What is written is first converted, in memory; the whole may be a map of a large file.
    row_bytes = log_probs_n_K_C[:1].nbytes
    yield from log_probs_n_K_C.split(max(1, BLOCK_BYTES // row_bytes))
