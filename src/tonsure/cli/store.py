"""tonsure store: describes, verifies and makes stores of predictions and features."""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from tonsure.cli import read_arrays, row_files
from tonsure.cli.options import Command, Ids, IdsColumn, Values, check_ids_column
from tonsure.cli.output import show
from tonsure.predictions.store import Store, write_store
from tonsure.predictions.store.layout import DTYPES

BLOCK = 4096
"""The number of rows that are converted at a time."""


class Type(StrEnum):
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


Folder = Annotated[Path, typer.Argument(metavar="STORE", help="The folder of a store.")]

store_app = typer.Typer(no_args_is_help=True, help="Manage stores of predictions: info, verify, make.")


@store_app.command(cls=Command)
def info(
    store: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Describe a store and its origin, without reading the predictions."""
    described = _described(Store.open(store, verify=False))
    if as_json:
        show(json.dumps(described))
        return
    plural = "" if described["shards"] == 1 else "s"
    features = described["features"]
    lines = [
        ("shape", f"{times(described['shape'])} (rows, posterior samples, classes)"),
        ("dtype", described["dtype"]),
        ("bytes", f"{described['bytes']:,} in {described['shards']:,} shard{plural}"),
        (
            "features",
            f"{times(features['shape'])} in {features['dtype']}, {features['bytes']:,} bytes" if features else "none",
        ),
        ("items", ", ".join(described["columns"]) or "none"),
        ("created", described["created"]),
        *described["made_by"].items(),
        *described["about"].items(),
    ]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        show(f"{name:<{width}}  {value}")


def _described(store: Store) -> dict[str, Any]:
    manifest = store.manifest
    features = manifest.features
    return {
        "path": str(store.path),
        "shape": list(store.shape),
        "dtype": type_name(store.dtype),
        "bytes": manifest.layout.total_bytes,
        "shards": len(manifest.shards),
        "features": {
            "shape": [features.layout.N, features.layout.D],
            "dtype": type_name(features.layout.dtype),
            "bytes": features.layout.total_bytes,
        }
        if features
        else None,
        "columns": list(manifest.items.columns) if manifest.items else [],
        "created": manifest.created,
        "made_by": manifest.made_by,
        "about": manifest.about,
    }


@store_app.command(cls=Command)
def verify(store: Folder) -> None:
    """Read all of a store: compare its checksums, and check that its numbers are distributions and finite features."""
    opened = Store.open(store)
    opened.check()
    show(f"{len(opened):,} rows verified")


@store_app.command(
    cls=Command,
    epilog="Example: tonsure store make probs.npy --values probs --dtype float16 --features embeddings.npy --ids "
    "files.txt --out predictions",
)
def make(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="Predictions [N, K, C]: .npy .npz .pt .safetensors")
    ],
    out: Annotated[Path, typer.Option(help="The folder of the store, which must not exist.")],
    values: Annotated[Values, typer.Option(help="The kind of numbers in PREDICTIONS.")] = Values.LOG_PROBS,
    key: Annotated[str | None, typer.Option(help="The name of the array, in a file of several.")] = None,
    features: Annotated[
        Path | None, typer.Option(help="Features [N, D] of the same rows, stored too: .npy .npz .pt .safetensors")
    ] = None,
    ids: Ids = None,
    ids_column: IdsColumn = None,
    dtype: Annotated[
        Type | None,
        typer.Option(
            metavar="TYPE",
            help="The type of stored predictions: float16, bfloat16, float32. By default that of the file.",
        ),
    ] = None,
) -> None:
    """Make a store of the predictions, and features, in files."""
    numbers = read_arrays.read_numbers(predictions, key)
    feature_array = read_arrays.read_features(features) if features else None
    check_ids_column(ids, ids_column)
    item_ids = row_files.read_ids(ids, ids_column, len(numbers), tuple(numbers.shape)) if ids else None
    stored_as = DTYPES[dtype.value] if dtype else None
    log_probs = numbers if values is Values.LOG_PROBS else _converted(numbers, values)
    about = {"source": predictions.name}
    store = write_store(
        out, log_probs, features=feature_array, ids=item_ids, dtype=stored_as, about=about, rows=len(numbers)
    )
    show(f"{contents(store)} Next: tonsure select {out}")


def _converted(numbers: Tensor, values: Values) -> Iterator[Tensor]:
    # In blocks, because the file may be larger than the memory.
    for first_row in range(0, max(1, len(numbers)), BLOCK):
        yield read_arrays.as_log_probs(numbers[first_row : first_row + BLOCK], values.value, first_row)


def contents(store: Store) -> str:
    """The content of a store, in one sentence."""
    features = store.manifest.features
    also = f", and features {times((len(store), features.layout.D))}" if features else ""
    return f"{store.path}: predictions {times(store.shape)} in {type_name(store.dtype)}{also}."


def times(shape: tuple[int, ...] | list[int]) -> str:
    return " × ".join(f"{length:,}" for length in shape)


def type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
