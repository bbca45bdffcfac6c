"""The commands ``tonsure run`` and ``tonsure report``."""

import webbrowser
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tonsure.cli.options import when_interrupted
from tonsure.cli.output import show
from tonsure.durable_files import folder_to_make
from tonsure.experiments import load

EPILOG = (
    "Example: tonsure run experiments/digits.py --seeds 3 && tonsure report runs/digits --open. The same "
    "command resumes an interrupted run."
)


def run(
    file: Annotated[
        Path,
        typer.Argument(help="A Python file with an `experiment`, a list of them, or a function of the scale."),
    ],
    scale: Annotated[str, typer.Option(help="The argument of the function of the file.")] = load.FULL,
    only: Annotated[
        str | None, typer.Option(help="Run only these experiments of the file, separated by commas: mnist,*-10.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="The number of seeds: the first ones of the experiment (default: all), or 0, 1, … (default: 3)."
        ),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Run only these methods, separated by commas, in the experiments that have them.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="my_module:make_network: replaces the network of the model of the experiment."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="The number of runs at a time, each in its own process.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder of records (default: runs/NAME); for several experiments, the folder of their folders."
        ),
    ] = None,
) -> None:
    """Run experiments, seed by seed and method by method, and resume interrupted runs.

    A run that fails does not stop the others; failures are listed at the end.
    """
    from tonsure.experiments.experiment import run_several

    make = partial(load.experiments, file, scale, network)
    made = make()
    chosen = load.only(made, only) if only else made
    folder = out or Path("runs")
    alone = out is not None and len(made) == 1
    planned = [(one, folder if alone else folder / one.name, one.first_seeds(seeds)) for one in chosen]
    for _, place, _ in planned:
        folder_to_make(place)
    _, first, _ = planned[0]
    records = first if len(planned) == 1 else folder
    with when_interrupted(f"the finished rounds are kept in {records}; the same command continues from there"):
        run_several(planned, make, methods=methods.split(",") if methods else None, jobs=jobs)
    if len(planned) == 1:
        show(f"The records are in {first}; `tonsure report {first}` shows them.")
    else:
        show(
            f"The records of {len(planned)} experiments are in {folder}, one subfolder per experiment; `tonsure report "
            f"{first}` shows the first."
        )


def report(
    folder: Annotated[Path, typer.Argument(help="The folder of records, such as runs/digits.")],
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write an HTML report of the records of an experiment: curves, tables, and pictures of the selected items."""
    from tonsure.report.html import write_report

    path = write_report(folder)
    show(str(path))
    if open_:
        webbrowser.open(path.resolve().as_uri())
