"""The commands that make and look after a store of predictions: predict · store info · store verify · store make."""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor

from tonsure.cli import read_arrays, row_files
from tonsure.cli.options import Values
from tonsure.predictions.store import Store, write_store
from tonsure.predictions.store.layout import DTYPES

BLOCK = 4096
"""Rows that are converted at a time."""


class Type(StrEnum):
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


Ids = Annotated[
    Path | None, typer.Option(help="Names of the items: one a line, or a column of a CSV file with a header.")
]
IdsColumn = Annotated[str | None, typer.Option(help="The column of the CSV file; by default its only one.")]
Folder = Annotated[Path, typer.Argument(metavar="STORE", help="The folder of a store.")]

store_app = typer.Typer(no_args_is_help=True, help="Look after predictions on disk: info · verify · make.")


@store_app.command()
def info(
    store: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say what a store holds and what made it, without reading the predictions."""
    told = _similarity(Store.open(store, verify=False))
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    plural = "" if told["shards"] == 1 else "s"
    lines = [
        ("shape", f"{times(told['shape'])} (rows, posterior samples, classes)"),
        ("dtype", told["dtype"]),
        ("bytes", f"{told['bytes']:,} in {told['shards']:,} shard{plural}"),
        ("items", ", ".join(told["columns"]) or "none"),
        ("created", told["created"]),
        *told["made_by"].items(),
        *told["about"].items(),
    ]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        typer.echo(f"{name:<{width}}  {value}")


def _similarity(store: Store) -> dict[str, Any]:
    manifest = store.manifest
    return {
        "path": str(store.path),
        "shape": list(store.shape),
        "dtype": str(store.dtype).removeprefix("torch."),
        "bytes": manifest.layout.total_bytes,
        "shards": len(manifest.shards),
        "columns": list(manifest.items.columns) if manifest.items else [],
        "created": manifest.created,
        "made_by": manifest.made_by,
        "about": manifest.about,
    }


@store_app.command()
def verify(store: Folder) -> None:
    """Read all of a store once and compare its checksums."""
    typer.echo(f"{len(Store.open(store)):,} rows verified")


@store_app.command(
    epilog="Example: tonsure store make probs.npy --values probs --dtype float16 --ids files.txt --out predictions"
)
def make(
    predictions: Annotated[Path, typer.Argument(help="[N, K, C]: .npy .npz .pt .safetensors")],
    out: Annotated[Path, typer.Option(help="The folder of the store; there must be none yet.")],
    values: Annotated[Values, typer.Option(help="What the numbers are.")] = Values.LOG_PROBS,
    key: Annotated[str | None, typer.Option(help="Which array of a file that holds several.")] = None,
    ids: Ids = None,
    ids_column: IdsColumn = None,
    dtype: Annotated[Type | None, typer.Option(help="What the numbers are kept as; by default as they are.")] = None,
) -> None:
    """Make a store of predictions that are in a file."""
    numbers = read_arrays.read_numbers(predictions, key)
    item_ids = row_files.read_ids(ids, ids_column, len(numbers)) if ids else None
    kept_as = DTYPES[dtype.value] if dtype else None
    log_probs = numbers if values is Values.LOG_PROBS else _converted(numbers, values)
    store = write_store(out, log_probs, ids=item_ids, dtype=kept_as, about={"source": predictions.name})
    typer.echo(f"The predictions are in {out}: {times(store.shape)}; `tonsure select {out}` chooses.")


def _converted(numbers: Tensor, values: Values) -> Iterator[Tensor]:
    # A block at a time, for the file may be larger than the memory.
    for first_row in range(0, max(1, len(numbers)), BLOCK):
        yield read_arrays.as_log_probs(numbers[first_row : first_row + BLOCK], values.value, first_row)


def times(shape: tuple[int, ...] | list[int]) -> str:
    return " × ".join(f"{length:,}" for length in shape)
