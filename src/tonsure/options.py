"""What several commands are asked in the same words, and what it becomes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tonsure import tables
from tonsure.errors import InputError

PredictionsFile = Annotated[
    Path,
    typer.Argument(
        help="[N, K, C] for N items, K posterior samples, C classes: .npy .npz .pt .safetensors, or the folder of a "
        "store"
    ),
]
Features = Annotated[
    Path | None,
    typer.Option(
        help="[N, D], what the last layer of the model is given: for FacilityLocation, best of all methods by our "
        "evidence. What --exclude names counts as labeled."
    ),
]
Key = Annotated[str | None, typer.Option(help="Which array of a file that holds several.")]
PoolIds = Annotated[
    Path | None,
    typer.Option(
        help="Names of the items: one a line, or a column of a CSV file with a header. By default the store's."
    ),
]
IdsColumn = Annotated[str | None, typer.Option(help="The column of the CSV file; by default its only one.")]
Among = Annotated[
    Path | None,
    typer.Option(
        help="Choose only among these: a file of ids, or of rows where there are no ids, one a line; or a CSV file "
        "with a column id or row, such as this command writes."
    ),
]
Exclude = Annotated[Path | None, typer.Option(help="Choose none of these, such as an earlier --out.")]
Samples = Annotated[str | None, typer.Option(help="Use only these posterior samples, from 0: 0-9,12.")]
Memory = Annotated[
    str | None, typer.Option(help="What may be held beside the predictions: 4GB, 512MiB. It changes no result.")
]
Device = Annotated[str | None, typer.Option(help="Where the work is done: cpu, cuda, cuda:1.")]
Verify = Annotated[bool, typer.Option(help="Compare the checksums of a store first.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what is planned.")]


def rows_among(among: Path | None, exclude: Path | None, ids: list[str] | None, total: int) -> list[int] | None:
    """The rows that may be chosen; None is all of them.

    Raises:
        InputError: a file cannot be read or names what is not there, or no row is left.
    """
    if among is None and exclude is None:
        return None
    excluded = set(tables.read_rows(exclude, ids, total)) if exclude else set()
    rows = tables.read_rows(among, ids, total) if among else range(total)
    left = [row for row in rows if row not in excluded]
    if not left:
        raise InputError(f"--among and --exclude leave none of the {total} rows to choose from")
    return left


@contextmanager
def logged(verbose: bool) -> Iterator[None]:
    """Shows on the standard error what the library logs, if that is wanted."""
    logger, handler = logging.getLogger("tonsure"), logging.StreamHandler()
    level = logger.level
    if verbose:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
