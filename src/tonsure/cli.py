"""The command line: predict · store · select · compare · run · report."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from tonsure import array_files, names, tables
from tonsure.compare_command import compare
from tonsure.errors import SelectionWarning, TonsureError
from tonsure.experiment_commands import report, run
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
    Verbose,
    Verify,
    logged,
    rows_among,
)
from tonsure.select import select as select_rows
from tonsure.shards import Backend
from tonsure.store import Store
from tonsure.store_commands import Ray, Values, predict, store_app

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> bool:
    if asked:
        typer.echo(f"tonsure {version('tonsure')}")
        raise typer.Exit
    return asked


@app.callback()
def tonsure(
    _: Annotated[bool, typer.Option("--version", help="Say it.", callback=_say_version, is_eager=True)] = False,
) -> None:
    """Which thousand of my million unlabeled examples should be labeled next?"""


app.command(
    epilog="Example: with model.py in this folder, which makes a fitted `model`:  tonsure predict model:model --inputs "
    "images.npy --out predictions --ids files.txt. Killed at any instant, the same command goes on where it stopped."
)(predict)
app.add_typer(store_app, name="store")


@app.command(
    epilog="Example: from predictions of 20 dropout masks for 10,000 images, of shape [10000, 20, 10], the hundred to "
    "label next, by file name:  tonsure select predictions.npy --values probs --count 100 --ids files.txt --out "
    "next.csv"
)
def select(
    predictions: PredictionsFile,
    count: Annotated[int, typer.Option("--count", "-k", help="How many rows to choose.")],
    objective: Annotated[
        str | None,
        typer.Option(
            help="What a batch is worth. By default 'Discounted(strength=16)' by 'PowerSample(beta=4)', best by our "
            "evidence. Others: LargeBatchBALD, SecondOrderLBB, BoundedLBB, SecondOrderBoundedLBB, "
            "CorrectedLBB, LogDet, Discounted, Spread, BatchBALD, ReleasedLBB, Random; a score of single items: "
            "bald, entropy, least_confidence, margin, variation_ratio, mean_std; or your own, "
            "my_module:MyObjective. Settings in parentheses: 'BatchBALD(labelings=4096)'."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="How it is searched for: LazyGreedy, Greedy, TopK, PowerSample, StepwisePowerSample, SoftmaxSample, "
            "SoftrankSample, StochasticGreedy, Prefilter, 'PowerSample(beta=5)'. By default what suits the objective."
        ),
    ] = None,
    features: Features = None,
    values: Annotated[Values, typer.Option(help="What the numbers are.")] = Values.LOG_PROBS,
    key: Key = None,
    ids: PoolIds = None,
    ids_column: IdsColumn = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to: .csv or .jsonl. By default CSV on the standard output.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the optimizer's draws.")] = 0,
    among: Among = None,
    exclude: Exclude = None,
    samples: Samples = None,
    memory: Memory = None,
    device: Device = None,
    ray: Ray = None,
    verify: Verify = True,
    verbose: Verbose = False,
) -> None:
    """Choose the rows of a pool to label next, from a model's predictions for it.

    Writes their rank, row, id (if there are ids) and gain, in the order chosen.
    """
    chosen_objective = names.objective(objective) if objective else None
    chosen_optimizer = names.optimizer(by) if by else None
    if out is not None:
        tables.check_ending(out)
    pool = array_files.read_predictions(predictions, values.value, key, verify=verify)
    item_ids = tables.read_ids(ids, ids_column, len(pool)) if ids else pool.ids if isinstance(pool, Store) else None
    with logged(verbose):
        selection = select_rows(
            pool,
            chosen_objective,
            count,
            by=chosen_optimizer,
            features_N_D=array_files.read_features(features) if features else None,
            seed=seed,
            among=rows_among(among, exclude, item_ids, len(pool)),
            samples=names.samples(samples) if samples else None,
            memory=memory,
            device=names.device(device) if device else None,
            backend=_backend(ray),
        )
    tables.write_selection(selection, item_ids, out)


def _backend(ray: str | None) -> Backend | None:
    if ray is None:
        return None
    from tonsure.backends import RayBackend

    return RayBackend(None if ray == "local" else ray)


app.command(
    epilog="Example: what the methods would choose of predictions of shape [10000, 20, 10]:  tonsure compare "
    "predictions.npy --count 100;  and mine.py in this folder beside them:  --methods 'all,mine:MyObjective'"
)(compare)
app.command(
    epilog="Example: tonsure run experiments/digits.py --seeds 3 && tonsure report runs/digits --open. Killed at any "
    "instant, the same command goes on where it stopped."
)(run)
app.command()(report)


def main() -> None:
    """What the `tonsure` command calls: what goes wrong is one message on the standard error, and exit status 2."""
    with _said_in_one_line():
        app()


@contextmanager
def _said_in_one_line() -> Iterator[None]:
    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        typer.echo(f"warning: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", SelectionWarning)
        warnings.showwarning = show
        try:
            yield
        except TonsureError as error:
            typer.echo(f"error: {error}", err=True)
            sys.exit(2)
