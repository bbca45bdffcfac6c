"""tonsure select: the rows of a pool to label next."""

from pathlib import Path
from typing import Annotated

import typer

from tonsure.cli import parse, row_files
from tonsure.cli.options import (
    Candidates,
    Count,
    Device,
    Exclude,
    Features,
    IdsColumn,
    Key,
    Labels,
    LastLayer,
    Memory,
    PoolIds,
    PredictionsFile,
    Ray,
    Samples,
    Seed,
    Values,
    ValuesOption,
    Verbose,
    Verify,
    backend,
    logged,
    read_pool,
)
from tonsure.methods import METHODS
from tonsure.select import select as select_rows

EPILOG = (
    "Example: 100 images to label next, by file name, from the probabilities of 20 dropout masks in an array of shape "
    "[10000, 20, 10]:  tonsure select probs.npy --values probs -k 100 --ids files.txt --out next.csv"
)


def select(
    k: Count,
    predictions: PredictionsFile = None,
    method: Annotated[
        str | None,
        typer.Option(
            help=f"The method: {', '.join(METHODS)}. Or a class with settings, 'BatchBALD(labelings=4096)'; a score, "
            "variation_ratio; your own, my_module:MyObjective. After @ an optimizer, 'bald@PowerSample(beta=3)'. By "
            "default facility-location with features, prediction-coverage without."
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="The search for an objective: LazyGreedy, Greedy, TopK, PowerSample, StepwisePowerSample, "
            "SoftmaxSample, SoftrankSample, StochasticGreedy, Prefilter; with settings, 'PowerSample(beta=5)'."
        ),
    ] = None,
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
            help="A .csv or .jsonl file; by default CSV on standard output. Ids are written unchanged: a spreadsheet "
            "may take one that begins with =, +, - or @ for a formula."
        ),
    ] = None,
    seed: Seed = 0,
    samples: Samples = None,
    memory: Memory = None,
    device: Device = None,
    ray: Ray = None,
    verify: Verify = True,
    verbose: Verbose = False,
) -> None:
    """Choose the rows of a pool to label next.

    Writes rank, row, id (if the items have ids) and gain, in the order chosen.
    """
    row_files.check_out(
        out, predictions, features, last_layer, ids, *(labels or ()), *(candidates or ()), *(exclude or ())
    )
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
    with logged(verbose):
        selection = select_rows(
            pool.predictions,
            method,
            k,
            features=pool.features,
            last_layer=pool.last_layer,
            labeled=pool.labeled,
            labels=pool.labels,
            candidates=pool.candidates,
            optimizer=optimizer,
            seed=seed,
            samples=parse.samples(samples) if samples else None,
            memory=memory,
            device=device,
            backend=backend(ray),
        )
    row_files.write_selection(selection, pool.ids, out)
