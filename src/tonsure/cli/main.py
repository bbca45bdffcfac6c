"""The command line: predict, store, select, compare, run, report."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

import typer

from tonsure.cli import compare, predict, run, select
from tonsure.cli.store import store_app
from tonsure.errors import SelectionWarning, TonsureError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> bool:
    if asked:
        typer.echo(f"tonsure {version('tonsure')}")
        raise typer.Exit
    return asked


@app.callback()
def tonsure(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Choose which unlabeled examples of a pool to label next."""


app.command(epilog=predict.EPILOG)(predict.predict)
app.add_typer(store_app, name="store")
app.command(epilog=select.EPILOG)(select.select)
app.command(epilog=compare.EPILOG)(compare.compare)
app.command(epilog=run.EPILOG)(run.run)
app.command()(run.report)


def main() -> None:
    """The `tonsure` command. An error is one message on standard error, and exit status 2."""
    with _errors_in_one_line():
        app()


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
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
