"""tonsure compare: what each of several methods would choose."""

import sys
from collections.abc import Iterator
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
"""Stands for the methods that are compared by default."""

WIDTH = 120
"""Columns of text that is not written to a terminal."""

ENOUGH = 10_000
"""Columns that no table needs."""

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
            help="The methods, separated by commas, by the names that tonsure select knows; all stands for those that "
            "are compared by default: 'all,BADGE,margin@TopK'."
        ),
    ] = ALL,
    features: Features = None,
    labels: Labels = None,
    candidates: Candidates = None,
    exclude: Exclude = None,
    values: ValuesOption = Values.LOG_PROBS,
    key: Key = None,
    ids: PoolIds = None,
    ids_column: IdsColumn = None,
    out: Annotated[
        Path | None, typer.Option(help="A .csv or .jsonl file for the rows and measures of every method.")
    ] = None,
    seed: Seed = 0,
    samples: Samples = None,
    memory: Memory = None,
    device: Device = None,
    ray: Ray = None,
    verify: Verify = True,
) -> None:
    """Show what each method would choose of your predictions: information, redundancy, classes, seconds.

    Which method learns most is not known before there are labels (see tonsure run).
    """
    if out is not None:
        row_files.check_ending(out)
    named = named_methods(methods, ALL)
    pool = read_pool(
        predictions,
        values=values,
        key=key,
        features=features,
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
        labeled=pool.labeled,
        labels=pool.labels,
        candidates=pool.candidates,
        seed=seed,
        samples=parse.samples(samples) if samples else None,
        memory=memory,
        device=device,
        backend=backend(ray),
    )
    if out is not None:
        row_files.write_comparison(comparison, pool.ids, out)
    _show(comparison, k)


def _show(comparison: Comparison, count: int) -> None:
    """On a terminal as wide as that is; elsewhere no table is squeezed, and text is ``WIDTH`` columns wide."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else ENOUGH, highlight=False, markup=False, emoji=False)
    for table in (_batches(comparison, count), _overlaps(comparison, count)):
        console.print(table, "")
    for line in _explanations(comparison):
        console.print(line, width=None if terminal else WIDTH)


def _batches(comparison: Comparison, count: int) -> Table:
    N, K, C = comparison.shape
    title = f"{count:,} of {N:,} rows, K = {K:,} posterior samples, C = {C:,} classes"
    table = _table(title, "method", "seconds", "information", "redundancy", "BALD", "entropy", "classes")
    for name, batch in comparison.batches.items():
        table.add_row(name, f"{batch.seconds:.2f}", *_information(batch, K), *_averages(batch.averages, K))
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
        table.add_row(f"{number} {name}", *(f"{share:.0%}"[:-1] for share in shares))
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
    """How to read the tables, and what has to be said with them."""
    K = comparison.shape[1]
    if K > 1:
        yield (
            f"information: what the labels of a batch, together, tell of the model, in nats; at most log {K} = "
            f"{comparison.ceiling:.3f}. BALD: what one label tells, on average."
        )
        yield "redundancy: how much of what an item tells another one of the batch tells too, on average over pairs."
    yield (
        "entropy: how uncertain a prediction is, on average, in nats. classes: the labels that the model expects of a "
        "batch are as mixed as of so many equally frequent classes."
    )
    full = [
        name for name, batch in comparison.batches.items() if batch.information >= SATURATED * comparison.ceiling > 0
    ]
    if len(full) > 1:
        yield (
            f"Nearly all that {K} samples can be told apart by is told by {', '.join(full)}: their information does "
            "not tell them apart. More posterior samples would, or fewer rows."
        )
    for name, reason in comparison.left_out.items():
        yield f"Left out: {name}; {reason}."
    for name, batch in comparison.batches.items():
        for warning in batch.warnings:
            yield f"{name}: {warning.partition('. ')[0].removesuffix('.')}."
