"""tonsure compare: the batches that several methods would choose."""

import sys
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from tonsure.cli import parse, row_files
from tonsure.cli.options import (
    Candidates,
    Device,
    Exclude,
    Features,
    IdsColumn,
    Key,
    Labels,
    LastLayer,
    Memory,
    PoolIds,
    Ray,
    Samples,
    Seed,
    Values,
    ValuesOption,
    Verify,
    backend,
    read_pool,
)
from tonsure.cli.output import check_open, printable, show_formatted
from tonsure.comparison.compare import Batch, Comparison
from tonsure.comparison.compare import compare as compare_methods
from tonsure.comparison.measures import Averages
from tonsure.methods import named_methods
from tonsure.selection import SATURATED

EPILOG = (
    "Example, with predictions of shape [10000, 20, 10], and mine.py in this folder:  tonsure compare predictions.npy "
    "-k 100 --methods 'all,mine:MyObjective'"
)

ALL = "all"
"""The name that stands for the methods compared by default."""

WIDTH = 120
"""The width in columns of text that is not written to a terminal."""

ENOUGH = 10_000
"""A width in columns that is larger than any table."""

UNKNOWN = "–"


def compare(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="Predictions [N, K, C]: .npy .npz .pt .safetensors, or the folder of a store."
        ),
    ],
    k: Annotated[int, typer.Option("-k", "--k", help="The number of rows each method chooses.", show_default=False)],
    methods: Annotated[
        str,
        typer.Option(
            help="The methods, separated by commas, in the form of tonsure select --method; all stands for the methods "
            "compared by default. Example: 'all,BADGE,margin@TopK'."
        ),
    ] = ALL,
    features: Features = None,
    last_layer: LastLayer = None,
    labels: Labels = None,
    candidates: Candidates = None,
    exclude: Exclude = None,
    values: ValuesOption = Values.LOG_PROBS,
    key: Key = None,
    ids: PoolIds = None,
    ids_column: IdsColumn = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the rows and measures of every method to this .csv or .jsonl file, with ids as tonsure select."
        ),
    ] = None,
    seed: Seed = 0,
    samples: Samples = None,
    memory: Memory = None,
    device: Device = None,
    ray: Ray = None,
    verify: Verify = True,
) -> None:
    """Compare the batches of several methods: information, redundancy, classes, seconds.

    No labels are used, so the comparison does not show which method gives the best model (see tonsure run).
    """
    inputs = (predictions, features, last_layer, ids, *(labels or ()), *(candidates or ()), *(exclude or ()))
    row_files.check_out(out, *inputs)
    named = named_methods(methods, ALL)
    pool = read_pool(
        predictions,
        values=values,
        key=key,
        features=features,
        last_layer=last_layer,
        ids=ids,
        ids_column=ids_column,
        labels=labels,
        candidates=candidates,
        exclude=exclude,
        verify=verify,
    )
    assert pool.predictions is not None  # the argument is required
    comparison = compare_methods(
        pool.predictions,
        k,
        None if ALL in named else named,
        more={name: method for name, method in named.items() if name != ALL} if ALL in named else None,
        features=pool.features,
        last_layer=pool.last_layer,
        labeled=pool.labeled,
        labels=pool.labels,
        candidates=pool.candidates,
        seed=seed,
        samples=parse.samples(samples) if samples else None,
        memory=memory,
        device=device,
        backend=backend(ray),
    )
    try:
        if out is not None:
            row_files.write_comparison(comparison, pool.ids, out)
    finally:  # also if the disk is full: what was computed is not lost
        _show(comparison, k)


def _show(comparison: Comparison, count: int) -> None:
    """Prints tables and explanations at the width of the terminal; elsewhere tables in full, and text in ``WIDTH``."""
    check_open()
    terminal = sys.stdout.isatty()
    # Not at once: what cannot be written is an error of ours.
    shown = TextIOWrapper(BytesIO(), sys.stdout.encoding, "backslashreplace", newline="")
    width = None if terminal else ENOUGH
    console = Console(file=shown, force_terminal=terminal, width=width, highlight=False, markup=False, emoji=False)
    for table in (_batches(comparison, count), _overlaps(comparison, count)):
        console.print(table, "")
    for line in _explanations(comparison):
        console.print(printable(line), width=None if terminal else WIDTH)
    shown.seek(0)
    show_formatted(shown.read())


def _batches(comparison: Comparison, count: int) -> Table:
    N, K, C = comparison.shape
    title = f"{count:,} of {N:,} rows, K = {K:,} posterior samples, C = {C:,} classes"
    table = _table(title, "method", "seconds", "information", "redundancy", "BALD", "entropy", "classes")
    for name, batch in comparison.batches.items():
        table.add_row(printable(name), f"{batch.seconds:.2f}", *_information(batch, K), *_averages(batch.averages, K))
    table.add_section()
    table.add_row("all rows", "", "", "", *_averages(comparison.pool, K))
    return table


def _information(batch: Batch, K: int) -> tuple[str, str]:
    if K == 1:
        return UNKNOWN, UNKNOWN
    error = f" ± {batch.standard_error:.3f}" if batch.standard_error >= 0.0005 else ""
    return f"{batch.information:.3f}{error}", f"{batch.redundancy:.1%}"


def _averages(averages: Averages, K: int) -> tuple[str, str, str]:
    return UNKNOWN if K == 1 else f"{averages.bald:.3f}", f"{averages.entropy:.3f}", f"{averages.classes:.1f}"


def _overlaps(comparison: Comparison, count: int) -> Table:
    numbers = range(1, len(comparison.batches) + 1)
    table = _table(f"% of the {count:,} rows shared", "method", *map(str, numbers))
    for number, name in zip(numbers, comparison.batches, strict=True):
        shares = (comparison.overlap(name, other) for other in comparison.batches)
        table.add_row(f"{number} {printable(name)}", *(f"{share:.0%}"[:-1] for share in shares))
    return table


def _table(title: str, first: str, *numbers: str) -> Table:
    # Two columns between numbers, and nothing around the table: it fits a terminal of 80.
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE, show_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="left" if name == "information" else "right", no_wrap=True)
    return table


def _explanations(comparison: Comparison) -> Iterator[str]:
    """Explanations of the columns, and notes on saturation, on methods left out, and warnings."""
    K = comparison.shape[1]
    if K > 1:
        yield (
            f"information: the joint information of all labels of a batch about the model, in nats; at most log {K} = "
            f"{comparison.ceiling:.3f}. BALD: the information of one label, on average, in nats."
        )
        yield "redundancy: the share of a label's information that another label carries too, averaged over pairs."
    yield (
        "entropy: the uncertainty of a prediction, on average, in nats. classes: the effective number of classes, "
        "exp of the entropy of the mean prediction."
    )
    full = [
        name for name, batch in comparison.batches.items() if batch.information >= SATURATED * comparison.ceiling > 0
    ]
    if len(full) > 1:
        yield (
            f"The batches of {', '.join(full)} carry nearly all information that {K} posterior samples can carry "
            f"(log {K} nats). Use more posterior samples, or fewer rows, to compare them."
        )
    for name, reason in comparison.left_out.items():
        yield f"Left out: {name}; {reason}."
    for name, batch in comparison.batches.items():
        for warning in batch.warnings:
            yield f"{name}: {warning.partition('. ')[0].removesuffix('.')}."
