"""Options that several commands share, and what becomes of them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from tonsure.cli import read_arrays, row_files
from tonsure.errors import InputError
from tonsure.predictions.arrays import Array
from tonsure.predictions.store import Store
from tonsure.search.backend import Backend


class Command(TyperCommand):
    """A command that refuses an option that is given twice, unless its values add up; typer would take the last one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        for parameter in given:
            count = given.count(parameter)
            if count > 1 and not parameter.multiple:
                name = next(iter(parameter.opts + parameter.secondary_opts))
                ctx.fail(f"{name} is given {count} times, expected once")
        return super().parse_args(ctx, args)


class Interrupted(BaseException):
    """A signal to end; raised wherever the command is.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def when_interrupted(kept: str) -> Iterator[None]:
    """A context in which an interruption leaves something; ``kept`` says what, and which command goes on."""
    try:
        yield
    except Interrupted as interruption:
        interruption.add_note(kept)
        raise


class Values(StrEnum):
    LOG_PROBS = "log-probs"
    PROBS = "probs"
    LOGITS = "logits"


SEVERAL = "May be given several times: the files add up."

PredictionsFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="PREDICTIONS",
        help="Predictions [N, K, C] of N items, K posterior samples and C classes, or scores [N]: .npy .npz .pt "
        ".safetensors, or the folder of a store. Optional with --features.",
        show_default=False,
    ),
]
Count = Annotated[int, typer.Option("-k", "--k", help="The number of rows to choose.", show_default=False)]
ValuesOption = Annotated[
    Values, typer.Option(metavar="<kind>", help="The kind of numbers in PREDICTIONS: log-probs, probs or logits.")
]
Features = Annotated[
    Path | None,
    typer.Option(
        help="Features [N, D], for example penultimate activations. By default those of the store, if it has any."
    ),
]
LastLayer = Annotated[
    Path | None,
    typer.Option(
        help="Penultimate activations [N, D] of the model, where --features are those of an encoder: the default "
        "compares items by both. By default those of the store, if it has any."
    ),
]
Labels = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="<path>",
        help="The labeled rows: a .csv, .tsv or .jsonl file with a column id or row, and a column label for methods "
        "that use labels; or a .txt file with one id or row per line. They are not chosen, and what is near them "
        f"counts as covered. {SEVERAL}",
    ),
]
Candidates = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="<path>",
        help="The rows that may be chosen: a .txt file with one id or row per line, or a .csv, .tsv or .jsonl file "
        f"with a column id or row. By default all that are not labeled. {SEVERAL}",
    ),
]
Exclude = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="<path>",
        help="Rows that may not be chosen, for example an earlier --out, in the form of --candidates. They do not "
        f"count as labeled. {SEVERAL}",
    ),
]
Key = Annotated[str | None, typer.Option(help="The name of the array, in a file of several.")]
PoolIds = Annotated[
    Path | None,
    typer.Option(
        help="Names of the items: a .txt file with one per line, or a column of a .csv, .tsv or .jsonl file. By "
        "default those of the store."
    ),
]
Ids = Annotated[
    Path | None,
    typer.Option(help="Names of the items: a .txt file with one per line, or a column of a .csv, .tsv or .jsonl file."),
]
IdsColumn = Annotated[
    str | None, typer.Option(help="The column of the ids in a file of several; by default id, or its only one.")
]
Samples = Annotated[str | None, typer.Option(help="The posterior samples to use, from 0: 0-9,12.")]
Memory = Annotated[
    str | None, typer.Option(help="The memory to hold beyond the inputs: 4GB, 512MiB. Does not change the result.")
]
Device = Annotated[str | None, typer.Option(help="Where the work is done: cpu, cuda, cuda:1.")]
Ray = Annotated[
    str | None,
    typer.Option(help="Run on a Ray cluster: its address, or local for one on this machine."),
]
Seed = Annotated[int, typer.Option(help="The seed of all random choices, from 0.")]
Verify = Annotated[bool, typer.Option("--verify/--no-verify", help="Compare the checksums of a store first.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the memory plan.")]


class PoolFiles(NamedTuple):
    """What the files of a command hold: the inputs of a selection."""

    predictions: Array | Store | None
    features: Array | None
    last_layer: Array | None
    ids: list[str] | None
    labeled: list[int] | None
    labels: list[int] | None
    candidates: list[int] | None


def read_pool(
    predictions: Path | None,
    *,
    values: Values,
    key: str | None,
    features: Path | None,
    last_layer: Path | None,
    ids: Path | None,
    ids_column: str | None,
    labels: Sequence[Path] | None,
    candidates: Sequence[Path] | None,
    exclude: Sequence[Path] | None,
    verify: bool,
) -> PoolFiles:
    """The files that the options name.

    Raises:
        InputError, StoreError, FileError: a file cannot be read, names a row that does not exist, or no row is left.
    """
    check_ids_column(ids, ids_column)
    if predictions is None and (values is not Values.LOG_PROBS or key is not None):
        raise InputError("--values and --key are about PREDICTIONS, which are not given")
    pool = None if predictions is None else read_arrays.read_predictions(predictions, values.value, key, verify=verify)
    arrays = read_arrays.read_features(features) if features else None
    last = read_arrays.read_features(last_layer) if last_layer else None
    if pool is None and arrays is None:
        raise InputError("expected a file of predictions, or --features, or both")
    total = len(pool) if pool is not None else len(arrays)  # type: ignore[arg-type]  # one of them is there
    shape = () if pool is None else tuple(pool.shape)
    names = row_files.read_ids(ids, ids_column, total, shape) if ids else pool.ids if isinstance(pool, Store) else None
    labeled, classes = row_files.read_labels(labels, names, total) if labels else (None, None)
    return PoolFiles(
        pool, arrays, last, names, labeled, classes, _candidate_rows(candidates, exclude, labeled or [], names, total)
    )


def check_ids_column(ids: Path | None, ids_column: str | None) -> None:
    """Raises InputError if there is a column of ids, but no file."""
    if ids_column is not None and ids is None:
        raise InputError(f"--ids-column {ids_column} names a column of the file of --ids, which is not given")


def _candidate_rows(
    candidates: Sequence[Path] | None,
    exclude: Sequence[Path] | None,
    labeled: list[int],
    ids: list[str] | None,
    total: int,
) -> list[int] | None:
    """The rows that may be chosen; None is all that are not labeled."""
    if not candidates and not exclude:
        return None
    excluded = {*labeled, *(row_files.read_rows(exclude, ids, total) if exclude else ())}
    rows = row_files.read_rows(candidates, ids, total) if candidates else range(total)
    left = [row for row in rows if row not in excluded]
    if not left:
        raise InputError(f"--candidates, --exclude and --labels leave none of the {total} rows to choose from")
    return left


def backend(ray: str | None) -> Backend | None:
    """The backend that --ray names."""
    if ray is None:
        return None
    from tonsure.backends import RayBackend

    return RayBackend(None if ray == "local" else ray)


@contextmanager
def logged(verbose: bool) -> Iterator[None]:
    """Shows on the standard error what the library logs, if ``verbose``."""
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
