"""The command that shows what each method would choose: compare."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from tonsure import array_files, names, tables
from tonsure.batch_measures import Averages
from tonsure.compare import METHODS, Batch, Comparison
from tonsure.compare import compare as compare_methods
from tonsure.options import (
    Among,
    Device,
    Exclude,
    Features,
    IdsColumn,
    Key,
    Memory,
    PoolIds,
    PredictionsFile,
    Samples,
    Verify,
    rows_among,
)
from tonsure.select import TOLD
from tonsure.store import Store
from tonsure.store_commands import Values

WIDTH = 120
"""Columns of text that is not written to a terminal."""

ENOUGH = 10_000
"""Columns that no table needs."""

UNKNOWN = "–"


def compare(
    predictions: PredictionsFile,
    count: Annotated[int, typer.Option("--count", "-k", help="How many rows each method chooses.")],
    methods: Annotated[
        str,
        typer.Option(
            help=f"Which, separated by commas: {', '.join(METHODS)}; all for those that are not too slow; or others, "
            "each an objective and, after @, its optimizer, written as for `tonsure select`: "
            "'all,BatchBALD(labelings=4096),entropy@PowerSample(beta=3)'."
        ),
    ] = names.ALL,
    features: Features = None,
    values: Annotated[Values, typer.Option(help="What the numbers are.")] = Values.LOG_PROBS,
    key: Key = None,
    ids: PoolIds = None,
    ids_column: IdsColumn = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the rows and numbers of every method: .csv or .jsonl.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    among: Among = None,
    exclude: Exclude = None,
    samples: Samples = None,
    memory: Memory = None,
    device: Device = None,
    verify: Verify = True,
) -> None:
    """Show what each method would choose of your predictions: how much it tells, how often twice, how fast.

    Nothing here says which method will learn most: that takes labels (`tonsure run`).
    """
    chosen, more = names.methods(methods)
    if out is not None:
        tables.check_ending(out)
    pool = array_files.read_predictions(predictions, values.value, key, verify=verify)
    item_ids = tables.read_ids(ids, ids_column, len(pool)) if ids else pool.ids if isinstance(pool, Store) else None
    comparison = compare_methods(
        pool,
        count,
        chosen,
        more=more,
        features_N_D=array_files.read_features(features) if features else None,
        seed=seed,
        among=rows_among(among, exclude, item_ids, len(pool)),
        samples=names.samples(samples) if samples else None,
        memory=memory,
        device=names.device(device) if device else None,
    )
    if out is not None:
        tables.write_comparison(comparison, item_ids, out)
    _show(comparison, count)


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
    full = [name for name, batch in comparison.batches.items() if batch.information >= TOLD * comparison.ceiling > 0]
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
