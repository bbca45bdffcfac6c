"""The predictions for a whole pool, block by block: in memory, or into a store on disk."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, overload

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.errors import InputError, StoreError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.models.blocks import Blocks
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store import Draft, Layout, Store
from tonsure.predictions.store.draft import clear_up, refuse_differences
from tonsure.predictions.store.items import make_table
from tonsure.predictions.store.layout import MANIFEST
from tonsure.predictions.store.manifest import plain


@overload
def predict(
    model: BayesianModel,
    inputs: Tensor,
    rows: Sequence[int] | Tensor | None = None,
    *,
    out: None = None,
    block_size: int = 1024,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "N K C"]: ...


@overload
def predict(
    model: BayesianModel,
    inputs: Tensor,
    rows: Sequence[int] | Tensor | None = None,
    *,
    out: str | PathLike[str],
    ids: Iterable[object] | None = None,
    items: Any = None,
    about: Mapping[str, Any] | None = None,
    block_size: int = 1024,
    dtype: torch.dtype | None = None,
) -> Store: ...


def predict(
    model: BayesianModel,
    inputs: Tensor,
    rows: Sequence[int] | Tensor | None = None,
    *,
    out: str | PathLike[str] | None = None,
    ids: Iterable[object] | None = None,
    items: Any = None,
    about: Mapping[str, Any] | None = None,
    block_size: int = 1024,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "N K C"] | Store:
    """log p(y = c | x_i, θ_k) in nats for the items at ``rows``, as a tensor on the CPU or as a store on disk.

    The tensor holds N · K · C numbers; beside it, or beside the store, stands what the model needs for one block. A
    member of the model sees all blocks before the next one is loaded.

    Killed at any instant, the same call goes on where it stopped, to the same bytes. If the store is complete, the
    same call returns it. Each member then predicts its first block again, to see whether it is the model that it was.

    Args:
        inputs: [any number, ...], one item per row.
        rows: which items, in this order; None is all of them.
        out: the folder of the store; None gives a tensor.
        ids: for a store, one name for each of ``rows``; kept as text.
        items: for a store, what else to keep of each of ``rows``: a pyarrow table, or columns by name.
        about: for a store, whatever is to be kept of the whole, as plain data.
        block_size: how many items the model is given at once.
        dtype: None is float32 for a tensor and float16 for a store, which may also hold bfloat16 or float32.

    Raises:
        InputError: there is nothing to predict, a row is not among the inputs, or what the model gives is not
            [n, K, C], or holds nan or a row over C that is no distribution; the message names the first.
        StoreError: ``out`` is of another model, pool or type, or holds something else; another process writes it;
            ids are twice or not one per row; or the disk is full.
        MissingExtraError: ids or items are given, and pyarrow is not installed.
    """
    blocks = Blocks(model, inputs, torch.arange(len(inputs)) if rows is None else torch.as_tensor(rows), block_size)
    if out is not None:
        table, about = make_table(ids, items, len(blocks.rows)), plain("about", about or {})
        make = _same_store if (Path(out) / MANIFEST).exists() else _new_store
        return make(Path(out), blocks, dtype or torch.float16, table, about)
    if ids is not None or items is not None or about is not None:
        raise InputError("ids, items and about are kept in a store, expected out, its folder, as well")
    log_probs_N_K_C: Tensor | None = None
    for place, log_probs_n_K_C in blocks.predicted():
        if log_probs_N_K_C is None:
            log_probs_N_K_C = torch.empty(*blocks.shape, log_probs_n_K_C.shape[2], dtype=dtype or torch.float32)
        rows_here = slice(place.first_row, place.first_row + place.rows)
        log_probs_N_K_C[rows_here, place.first_sample : place.first_sample + place.samples] = log_probs_n_K_C
    assert log_probs_N_K_C is not None  # there are rows
    return log_probs_N_K_C


def _new_store(out: Path, blocks: Blocks, dtype: torch.dtype, items: Any, about: Mapping[str, Any]) -> Store:
    """Begins a store, or goes on with one."""
    fingerprint = {**blocks.fingerprint(), "block_size": blocks.block_size}
    draft: Draft
    with closing(blocks.predicted(finished=lambda place: draft.finished(place))) as predicted:
        first = next(predicted)  # which says how many classes there are
        with Draft(out, Layout.of(*blocks.shape, first[1].shape[2], dtype), fingerprint) as draft:
            for place, log_probs_n_K_C in chain([first], predicted):
                if draft.finished(place):
                    refuse_another(out, draft.read(place), log_probs_n_K_C)
                else:
                    draft.write(place.first_row, place.first_sample, log_probs_n_K_C)
            return draft.finish(items=items, about=about)


def _same_store(out: Path, blocks: Blocks, dtype: torch.dtype, items: Any, about: Mapping[str, Any]) -> Store:
    """A complete store, if it is what this call would make."""
    store = Store.open(out)
    N, K, _ = store.shape
    there = {"N": N, "K": K, "dtype": str(store.dtype), "about": store.manifest.about, **store.manifest.made_by}
    asked = {"N": blocks.shape[0], "K": blocks.shape[1], "dtype": str(dtype), **blocks.fingerprint()}
    if about:
        asked["about"] = about
    refuse_differences(
        f"{out} is a finished store of another model or pool, or otherwise",
        {name: there.get(name) for name in asked},
        asked,
    )
    if items is not None and not items.equals(store.items()):
        raise StoreError(f"{out} is a finished store with other ids or items than those of this call")
    with closing(blocks.predicted(finished=lambda _: True)) as predicted:
        for place, log_probs_n_K_C in predicted:
            stored_n_K_C = PoolReader(store.parts).stored(torch.arange(place.rows))
            refuse_another(out, stored_n_K_C[:, place.first_sample :][:, : place.samples], log_probs_n_K_C)
    clear_up(out)  # in case that it was killed before it could
    return store


def refuse_another(out: Path, stored_n_K_C: Float[Tensor, "n K C"], log_probs_n_K_C: Tensor) -> None:
    """Compares what is stored with what the model gives now.

    Raises:
        StoreError: they differ by more than a rounding step of the stored type.
    """
    # Not bit by bit: with other threads, or on another machine, the same model rounds its sums otherwise.
    found = log_probs_n_K_C.to("cpu", stored_n_K_C.dtype)
    rounding = max(2 * torch.finfo(stored_n_K_C.dtype).eps, 1e-4)
    if found.shape != stored_n_K_C.shape or not torch.allclose(
        found.float(), stored_n_K_C.float(), rtol=rounding, atol=rounding
    ):
        raise StoreError(
            f"{out} is of another model, though it is called the same: for the first items, this one predicts "
            "otherwise; nothing was changed"
        )
