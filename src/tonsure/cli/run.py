"""tonsure run and tonsure report: experiments, and one page of their results."""

import webbrowser
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tonsure.experiments import load

EPILOG = (
    "Example: tonsure run experiments/digits.py --seeds 3 && tonsure report runs/digits --open. If it is interrupted, the "
    "same command continues."
)


def run(
    file: Annotated[
        Path,
        typer.Argument(help="A Python file with an `experiment`, a list of them, or a function of the scale."),
    ],
    scale: Annotated[str, typer.Option(help="What the function of the file is called with.")] = load.FULL,
    only: Annotated[
        str | None, typer.Option(help="Only these experiments of the file, separated by commas: mnist,*-10.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="How many: the first of the experiment's, by default all, or 0, 1, …, by default 3."),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Only these, separated by commas, where an experiment has them.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="my_module:make_network, given to the experiment's model in place of its own network."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="How many runs at once, in so many processes.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder of records, by default runs/NAME; of a file of several, the folder of theirs."),
    ] = None,
) -> None:
    """Run experiments, seed by seed and method by method; go on where they were interrupted.

    A run that fails does not stop the others: what went wrong is said at the end.
    """
    from tonsure.experiments.experiment import run_several

    make = partial(load.experiments, file, scale, network)
    made = make()
    chosen = load.only(made, only) if only else made
    folder = out or Path("runs")
    alone = out is not None and len(made) == 1
    planned = [(one, folder if alone else folder / one.name, one.first_seeds(seeds)) for one in chosen]
    run_several(planned, make, methods=methods.split(",") if methods else None, jobs=jobs)
    _, first, _ = planned[0]
    if len(planned) == 1:
        typer.echo(f"The records are in {first}; `tonsure report {first}` shows them.")
    else:
        typer.echo(
            f"The records of {len(planned)} experiments are in {folder}, in a folder for each; `tonsure report "
            f"{first}` shows those of the first."
        )


def report(
    folder: Annotated[Path, typer.Argument(help="The folder of records, such as runs/digits.")],
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Make one HTML file of an experiment's records: curves, tables, and pictures of what was chosen."""
    from tonsure.report.html import write_report

    path = write_report(folder)
    typer.echo(path)
    if open_:
        webbrowser.open(path.resolve().as_uri())
