"""Writes a store of predictions that exist already, as a tensor, an array or one block after the other."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.arguments import as_path, optional, refusal, whole
from tonsure.durable_files import move
from tonsure.errors import InputError, StoreError
from tonsure.predictions.arrays import as_tensor, is_array, release_mapped
from tonsure.predictions.checks import check_features, check_log_probs
from tonsure.predictions.store.blocks import bytes_of
from tonsure.predictions.store.items import make_table
from tonsure.predictions.store.layout import BLOCK_BYTES, DATA_OFFSET, DTYPES, FeatureLayout, Layout
from tonsure.predictions.store.manifest import plain
from tonsure.predictions.store.reading import Store
from tonsure.predictions.store.sealing import check_place, check_room, seal, writing_to
from tonsure.predictions.store.unfinished import remove_killed, unfinished

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
    rows: int | None = None,
    rows_per_shard: int | None = None,
) -> Store:
    """Writes a store of predictions that exist already. If it fails, nothing is left.

    Where N is known, a disk without room is refused before anything is written. A process that is killed leaves a
    hidden folder beside ``path``; the next call for the same path removes it, and logs so.

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
        rows: N, where the blocks are no list and do not tell it; None is not known.
        rows_per_shard: None is as many as fit into 1 GiB.

    Raises:
        InputError: the predictions are not log-probabilities, or the features are not finite numbers [N, D]; the
            message names the first such row.
        StoreError: ``path`` exists, ids are repeated or not one per row, or the disk is full.
        MissingExtraError: ids or items are given, and pyarrow is not installed.
    """
    path = as_path("path", path)
    dtype, rows_per_shard = _type(dtype), optional(whole(1))("rows_per_shard", rows_per_shard)
    rows = optional(whole(1))("rows", rows)
    about = plain("about", _mapping(about))
    check_place(path)
    with writing_to(path, None, _AGAIN):
        remove_killed(path)  # first, as a process may have been killed when all was in its place but the lock
    _reject_existing(path)
    features_N_D, release = _checked_features(features)
    blocks = _checked_blocks(log_probs)
    first = next(blocks, None)
    if first is None:
        raise InputError("the pool is empty: expected log-probabilities of shape [N, K, C], found no blocks")
    expected = _rows(log_probs) if rows is None else rows
    _, K, C = first.shape
    layout = Layout.of(expected or 0, K, C, dtype or _storable(first.dtype), rows_per_shard)
    feature_layout = None if features_N_D is None else _feature_layout(features_N_D, expected)
    needed = None
    if expected is not None:
        needed = layout.total_bytes + (feature_layout.total_bytes if feature_layout else 0)
        check_room(path, needed, _AGAIN)
    with ExitStack() as stack:
        with writing_to(path, needed, _AGAIN):
            temporary = stack.enter_context(unfinished(path))
        layout = _write_shards(temporary, path, replace(layout, N=0), chain([first], blocks), dtype, needed)
        if expected is not None and expected != layout.N:
            raise InputError(f"the blocks have {layout.N:,} rows, expected rows={expected:,}")
        if features_N_D is not None:
            feature_layout = _feature_layout(features_N_D, layout.N)
        with writing_to(path, needed, _AGAIN):
            if features_N_D is not None and feature_layout is not None:
                _write_features(temporary, feature_layout, features_N_D, release)
            seal(temporary, layout, feature_layout, make_table(ids, items, layout.N), {}, about)
            try:
                move(temporary, path)
            except OSError:
                _reject_existing(path)  # another process has made it meanwhile
                raise
    return Store.open(path, verify=False)


def _reject_existing(path: Path) -> None:
    if path.exists():
        raise StoreError(f"{path} exists already; a store is never overwritten")


def _rows(log_probs: Any) -> int | None:
    """N, where the predictions tell it before they are read."""
    if is_array(log_probs):
        return len(log_probs)
    if isinstance(log_probs, list | tuple) and all(map(is_array, log_probs)):
        return sum(map(len, log_probs))
    return None


def _write_shards(
    folder: Path, path: Path, layout: Layout, blocks: Iterable[Tensor], dtype: torch.dtype | None, needed: int | None
) -> Layout:
    """Fills one shard after the other; the headers are written at the end, when N is known."""
    for block in blocks:
        _, K, C = block.shape
        if (K, C, dtype or _storable(block.dtype)) != (layout.K, layout.C, layout.dtype):
            raise InputError(
                f"the block that begins at row {layout.N} has shape {list(block.shape)} and type {block.dtype}, but "
                f"those before have K = {layout.K}, C = {layout.C}, stored as {layout.dtype}"
            )
        with writing_to(path, needed, _AGAIN):
            folder.mkdir(exist_ok=True)
            layout = _append(folder, layout, block)
    with writing_to(path, needed, _AGAIN):
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


def _feature_layout(features_N_D: Float[Tensor, "N D"], rows: int | None) -> FeatureLayout:
    N, D = features_N_D.shape
    if rows is not None and rows != N:
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


def _type(dtype: object) -> torch.dtype | None:
    if dtype is None or (isinstance(dtype, torch.dtype) and dtype in DTYPES.values()):
        return dtype
    raise refusal("dtype", dtype, f"{', '.join(f'torch.{name}' for name in DTYPES)} or None")


def _mapping(about: object) -> Mapping[str, Any]:
    if about is not None and not isinstance(about, Mapping):
        raise refusal("about", about, "a dict of plain data")
    return about or {}


def _storable(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.float64 else dtype


def _checked_features(features: Any) -> tuple[Tensor | None, Callable[[], None]]:
    """The features as a tensor on the same memory, and what drops the pages of a memory map."""
    if features is None:
        return None, lambda: None
    if not is_array(features):
        raise refusal("features", features, "a tensor or an array [N, D]")
    features_N_D, release = as_tensor(features, "features"), partial(release_mapped, [features])
    check_features(features_N_D, release)
    return features_N_D, release


def _checked_blocks(log_probs: Any) -> Iterator[Tensor]:
    """The predictions in small blocks, each checked before it is returned."""
    if is_array(log_probs):
        whole = as_tensor(log_probs)
        check_log_probs([whole])
        yield from _small(whole)
        return
    if isinstance(log_probs, str | bytes | Mapping) or not isinstance(log_probs, Iterable):
        raise refusal("log_probs", log_probs, "a tensor or an array [N, K, C], or blocks [n, K, C] of it")
    first_row = 0
    for part in log_probs:
        try:
            block = as_tensor(part)
            check_log_probs([block], one_of_several=True)
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
