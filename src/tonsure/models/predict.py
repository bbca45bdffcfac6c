"""Predicts a pool block by block: into memory, or into a store on disk."""

import re
from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, SupportsIndex, overload

import torch
from jaxtyping import Float
from torch import Tensor

from tonsure.arguments import as_path, flag, optional, refusal
from tonsure.errors import InputError, StoreError
from tonsure.models.bayesian_model import BayesianModel
from tonsure.models.blocks import Blocks
from tonsure.models.examples import Inputs
from tonsure.predictions.open import Numbers
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store import Draft, FeatureLayout, Layout, Store
from tonsure.predictions.store.draft import clear_up, reject_differences
from tonsure.predictions.store.items import make_table
from tonsure.predictions.store.layout import MANIFEST
from tonsure.predictions.store.manifest import plain
from tonsure.predictions.store.sealing import check_place
from tonsure.surroundings import modeling

FEATURE_DTYPE = torch.float32
"""The type of stored features."""

FEATURE_ROUNDING = 1e-3
"""The difference that other threads, another machine or TF32 may make to a feature, relative to the largest."""


@overload
def predict(
    model: BayesianModel,
    inputs: Inputs,
    rows: Numbers | None = None,
    *,
    out: None = None,
    block_size: SupportsIndex = 1024,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "N K C"]: ...


@overload
def predict(
    model: BayesianModel,
    inputs: Inputs,
    rows: Numbers | None = None,
    *,
    out: str | PathLike[str],
    features: bool | None = None,
    ids: Iterable[object] | None = None,
    items: Any = None,
    about: Mapping[str, Any] | None = None,
    block_size: SupportsIndex = 1024,
    dtype: torch.dtype | None = None,
) -> Store: ...


@modeling()
def predict(
    model: BayesianModel,
    inputs: Inputs,
    rows: Numbers | None = None,
    *,
    out: str | PathLike[str] | None = None,
    features: bool | None = None,
    ids: Iterable[object] | None = None,
    items: Any = None,
    about: Mapping[str, Any] | None = None,
    block_size: SupportsIndex = 1024,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "N K C"] | Store:
    """Predicts log p(y = c | x_i, θ_k) in nats for the items at ``rows``: a tensor on the CPU, or a store on disk.

    The tensor holds N · K · C numbers. Apart from it, or from the files of the store, the memory needed is that of the
    model and one block. A member of the model predicts all blocks before the next member is loaded.

    A call with ``out`` that is interrupted at any time resumes when it is repeated, and gives the same bytes. The model
    must be the same: its class, its number of samples, and all that it holds, such as parameters, buffers, numbers and
    texts, whose hash the store keeps. It is taken once, at the start. An attribute that changes with use, such as a
    cache or a count of calls, makes another model, unless its class leaves it out of ``__getstate__``. The code of the
    model does not count, nor what an object of another language does not show. On a finished store the same call
    returns the store. In both cases the first block of each member is predicted again to check what a hash cannot.

    Args:
        inputs: [any number, ...], one item per row.
        rows: the items to predict, in this order, as numbers or as a mask; None is all of them.
        out: the folder of the store; None returns a tensor.
        features: for a store, whether the features of the items (``model.features``, [N, D] in float32) are stored too;
            None stores them if the model has features, and accepts a finished store with or without them. They cost
            one more forward pass of each network: a twentieth more time for 20 dropout masks, twice the time for an
            ensemble.
        ids: for a store, one name for each of ``rows``; stored as text.
        items: for a store, other data for each of ``rows``: a pyarrow table, or columns by name.
        about: for a store, data about the whole store, as plain data.
        block_size: the number of items that the model is given at a time.
        dtype: of the predictions. None is float32 for a tensor and float16 for a store, which can also hold bfloat16
            and float32.

    Raises:
        InputError: there is nothing to predict, a row is out of range, an output of the model is not [n, K, C] or not a
            distribution over C, or the features are not finite numbers [n, D]; the message names the first such row.
        InputError: an argument is of another type or out of range.
        StoreError: ``out`` holds something else, or a store of another model, pool or type; another process writes to
            it; ids are repeated or not one per row; or the disk is full.
        MissingExtraError: ids or items are given, and pyarrow is not installed.
    """
    blocks = Blocks.of(model, inputs, rows, block_size)
    features = optional(flag)("features", features)
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise refusal("dtype", dtype, "a floating-point type such as torch.float32")
    if out is not None:
        folder = as_path("out", out)
        check_place(folder)
        table, about = make_table(ids, items, len(blocks.rows)), plain("about", about or {})
        if (folder / MANIFEST).exists():
            return _same_store(folder, blocks, dtype or torch.float16, features, table, about)
        return _new_store(folder, blocks, dtype or torch.float16, stores_features(model, features), table, about)
    if features or ids is not None or items is not None or about is not None:
        raise InputError("features, ids, items and about are kept in a store: expected out, its folder, too")
    log_probs_N_K_C: Tensor | None = None
    for place, log_probs_n_K_C in blocks.predicted():
        if log_probs_N_K_C is None:
            log_probs_N_K_C = torch.empty(*blocks.shape, log_probs_n_K_C.shape[2], dtype=dtype or torch.float32)
        rows_here = slice(place.first_row, place.first_row + place.rows)
        log_probs_N_K_C[rows_here, place.first_sample : place.first_sample + place.samples] = log_probs_n_K_C
    assert log_probs_N_K_C is not None  # there are rows
    return log_probs_N_K_C


def stores_features(model: BayesianModel, features: bool | None) -> bool:
    """Whether a store gets features: as asked, or else if the model has them.

    Raises:
        InputError: they are asked for, and the model has none.
    """
    if features and not model.has_features:
        raise InputError(f"features is True, but {model!r} has no features: expected features=False or None")
    return model.has_features if features is None else features


def _new_store(
    out: Path, blocks: Blocks, dtype: torch.dtype, features: bool, items: Any, about: Mapping[str, Any]
) -> Store:
    """Begins a store, or resumes one."""
    fingerprint = {**blocks.fingerprint(), "block_size": blocks.block_size}
    draft: Draft
    with (
        closing(blocks.predicted(finished=lambda place: draft.finished(place))) as predicted,
        closing(blocks.features(finished=lambda place: draft.finished(place))) as featured,
    ):
        first_features = [next(featured)] if features else []  # D is known then
        first = next(predicted)  # C is known then
        feature_layout = (
            FeatureLayout.of(len(blocks.rows), first_features[0][1].shape[1], FEATURE_DTYPE) if features else None
        )
        with Draft(out, Layout.of(*blocks.shape, first[1].shape[2], dtype), fingerprint, feature_layout) as draft:
            for place, log_probs_n_K_C in chain([first], predicted):
                if draft.finished(place):
                    reject_other_model(out, draft.read(place), log_probs_n_K_C)
                else:
                    draft.write(place.first_row, place.first_sample, log_probs_n_K_C)
            for feature_place, features_n_D in chain(first_features, featured) if features else ():
                if draft.finished(feature_place):
                    reject_other_features(out, draft.read(feature_place), features_n_D)
                else:
                    draft.write_features(feature_place.first_row, features_n_D)
            return draft.finish(items=items, about=about)


def _same_store(
    out: Path, blocks: Blocks, dtype: torch.dtype, features: bool | None, items: Any, about: Mapping[str, Any]
) -> Store:
    """A finished store, if this call would make the same."""
    store = Store.open(out)
    N, K, _ = store.shape
    found = {
        "N": N,
        "K": K,
        "dtype": str(store.dtype),
        "features": store.features is not None,
        "about": store.manifest.about,
        **store.manifest.made_by,
    }
    if "model" in found:  # earlier stores name a function of this library with its module
        found["model"] = re.sub(r"\btonsure\.(?:[a-z_0-9]+\.)+(?=\w)", "tonsure.", found["model"])
    expected = {"N": blocks.shape[0], "K": blocks.shape[1], "dtype": str(dtype), **blocks.fingerprint()}
    if "weights" not in found:  # earlier stores keep no hash of them: their predictions are compared below
        del expected["weights"]
    if features is not None:
        expected["features"] = features
    if about:
        expected["about"] = about
    reject_differences(
        f"{out} is a finished store of another model or pool, or with other options",
        {name: found.get(name) for name in expected},
        expected,
    )
    if items is not None and not items.equals(store.items()):
        raise StoreError(f"{out} is a finished store with other ids or items than those of this call")
    with closing(blocks.predicted(finished=lambda _: True)) as predicted:
        for place, log_probs_n_K_C in predicted:
            stored_n_K_C = PoolReader(store.parts).stored(torch.arange(place.rows))
            reject_other_model(out, stored_n_K_C[:, place.first_sample :][:, : place.samples], log_probs_n_K_C)
    if store.features is not None:
        with closing(blocks.features()) as featured:
            feature_place, features_n_D = next(featured)
            reject_other_features(out, store.features[: feature_place.rows], features_n_D)
    clear_up(out)  # if the process that finished it was killed before
    return store


def reject_other_model(out: Path, stored_n_K_C: Float[Tensor, "n K C"], log_probs_n_K_C: Tensor) -> None:
    """Compares stored predictions with those of the model now.

    Raises:
        StoreError: they differ by more than a rounding step of the stored type.
    """
    # Not bit by bit: with other threads, or on another machine, the same model rounds its sums differently.
    found = log_probs_n_K_C.to("cpu", stored_n_K_C.dtype)
    rounding = max(2 * torch.finfo(stored_n_K_C.dtype).eps, 1e-4)
    if found.shape != stored_n_K_C.shape or not torch.allclose(
        found.float(), stored_n_K_C.float(), rtol=rounding, atol=rounding
    ):
        raise StoreError(
            f"{out} is of another model with the same settings: the predictions for its first items differ; nothing "
            "was changed"
        )


def reject_other_features(out: Path, stored_n_D: Float[Tensor, "n D"], features_n_D: Tensor) -> None:
    """Compares stored features with those of the model now.

    Raises:
        StoreError: they differ by more than rounding, relative to the largest of them.
    """
    found = features_n_D.to("cpu", stored_n_D.dtype).float()
    largest = float(stored_n_D.float().abs().max())
    if found.shape != stored_n_D.shape or not torch.allclose(
        found, stored_n_D.float(), rtol=FEATURE_ROUNDING, atol=FEATURE_ROUNDING * largest
    ):
        raise StoreError(
            f"{out} is of another model with the same settings: the features of its first items differ; nothing was "
            "changed"
        )
