"""Writes a store of predictions that exist already, as a tensor, an array or one block after the other."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.durable_files import move
from tonsure.errors import InputError, StoreError
from tonsure.predictions.arrays import as_tensor, release_mapped
from tonsure.predictions.checks import check_features, check_log_probs
from tonsure.predictions.store.blocks import bytes_of
from tonsure.predictions.store.items import make_table
from tonsure.predictions.store.layout import BLOCK_BYTES, DATA_OFFSET, FeatureLayout, Layout
from tonsure.predictions.store.manifest import plain
from tonsure.predictions.store.reading import Store
from tonsure.predictions.store.sealing import seal, writing_to

_AGAIN = "nothing was kept, so the same call starts again"


def write_store(
    path: str | PathLike[str],
    log_probs: Any,
    *,
    features: Any = None,
    ids: Iterable[object] | None = None,
    items: Any = None,
    dtype: torch.dtype | None = None,
    about: Mapping[str, Any] | None = None,
    rows_per_shard: int | None = None,
) -> Store:
    """Writes a store of predictions that exist already. If it fails, nothing is left.

    Args:
        path: the folder, which must not exist.
        log_probs: log p(y = c | x_i, θ_k) in nats: a tensor or an array [N, K, C], or an iterable of blocks
            [n, K, C], which together are the pool in order. One block of an iterable is held at a time.
        features: a tensor or an array [N, D] of features of the same rows; a memory-mapped array is read in blocks.
            Kept in the type given (float32 for float64).
        ids: one name for each row; stored as text.
        items: other data for each row: a pyarrow table, or columns by name.
        dtype: of the predictions: float16, bfloat16 or float32; None is the type given (float32 for float64).
        about: data about the whole store, as plain data.
        rows_per_shard: None is as many as fit into 1 GiB.

    Raises:
        InputError: the predictions are not log-probabilities, or the features are not finite numbers [N, D]; the
            message names the first such row.
        StoreError: ``path`` exists, ids are repeated or not one per row, or the disk is full.
        MissingExtraError: ids or items are given, and pyarrow is not installed.
    """
    path = Path(path)
    about = plain("about", about or {})
    if path.exists():
        raise StoreError(f"{path} exists already; a store is never overwritten")
    features_N_D, release = _checked_features(features)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        layout = _write_shards(temporary, path, _checked_blocks(log_probs), dtype, rows_per_shard)
        feature_layout = None if features_N_D is None else _feature_layout(features_N_D, layout.N)
        needed = layout.total_bytes + (feature_layout.total_bytes if feature_layout else 0)
        with writing_to(path, needed, _AGAIN):
            if features_N_D is not None and feature_layout is not None:
                _write_features(temporary, feature_layout, features_N_D, release)
            seal(temporary, layout, feature_layout, make_table(ids, items, layout.N), {}, about)
            move(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return Store.open(path, verify=False)


def _write_shards(
    folder: Path, path: Path, blocks: Iterator[Tensor], dtype: torch.dtype | None, rows_per_shard: int | None
) -> Layout:
    """Fills one shard after the other; the headers are written at the end, when N is known."""
    layout: Layout | None = None
    for block in blocks:
        stored_as = dtype or _storable(block.dtype)
        _, K, C = block.shape
        if layout is None:
            layout = Layout.of(0, K, C, stored_as, rows_per_shard)
        if layout != Layout.of(layout.N, K, C, stored_as, rows_per_shard):
            raise InputError(
                f"the block that begins at row {layout.N} has shape {list(block.shape)} and type {block.dtype}, but "
                f"those before have K = {layout.K}, C = {layout.C}, stored as {layout.dtype}"
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
    """Writes the rows of a block; returns the layout with them."""
    longer = replace(layout, N=layout.N + len(log_probs_n_K_C))
    for span in longer.spans(layout.N, len(log_probs_n_K_C)):
        rows = slice(max(0, span.first_row - layout.N), span.first_row + span.rows - layout.N)
        with (folder / span.file).open("ab") as file:
            if span.first_row >= layout.N:
                file.write(bytes(DATA_OFFSET))
            file.write(bytes_of(log_probs_n_K_C[rows].to(layout.dtype)))
    return longer


def _feature_layout(features_N_D: Float[Tensor, "N D"], rows: int) -> FeatureLayout:
    N, D = features_N_D.shape
    if rows != N:
        raise InputError(f"features has {N} rows, but the predictions have {rows}")
    return FeatureLayout.of(N, D, _storable(features_N_D.dtype))


def _write_features(
    folder: Path, layout: FeatureLayout, features_N_D: Float[Tensor, "N D"], release: Callable[[], None]
) -> None:
    (span,) = layout.spans()
    with (folder / span.file).open("wb") as file:
        file.write(layout.header(span.rows))
        for block in _small(features_N_D):
            file.write(bytes_of(block.to(layout.dtype)))
            release()


def _storable(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.float64 else dtype


def _checked_features(features: Any) -> tuple[Tensor | None, Callable[[], None]]:
    """The features as a tensor on the same memory, and what drops the pages of a memory map."""
    if features is None:
        return None, lambda: None
    if not isinstance(features, Tensor | np.ndarray):
        raise InputError(f"features is of type {type(features).__name__}, expected a tensor or an array [N, D]")
    features_N_D, release = as_tensor(features, "features"), partial(release_mapped, [features])
    check_features(features_N_D, release)
    return features_N_D, release


def _checked_blocks(log_probs: Any) -> Iterator[Tensor]:
    """The predictions in small blocks, each checked before it is returned."""
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


def _small(rows: Tensor) -> Iterator[Tensor]:
    # Blocks are converted in memory before they are written, and the whole may be a map of a large file.
    row_bytes = rows[:1].nbytes
    yield from rows.split(max(1, BLOCK_BYTES // row_bytes))
