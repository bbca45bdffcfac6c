"""The command line: predict, store, select, compare, run, report."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

import typer

from tonsure.cli import compare, predict, run, select
from tonsure.cli.options import Command, Interrupted
from tonsure.cli.output import show, tell
from tonsure.cli.store import store_app
from tonsure.errors import SelectionWarning, TonsureError

NOTHING_WRITTEN = "nothing was written; the same command starts again"
"""What is said of a command that is interrupted, unless it says more itself."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> bool:
    if asked:
        show(f"tonsure {version('tonsure')}")
        raise typer.Exit
    return asked


@app.callback()
def tonsure(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Choose which unlabeled examples of a pool to label next."""


app.command(cls=Command, epilog=predict.EPILOG)(predict.predict)
app.add_typer(store_app, name="store")
app.command(cls=Command, epilog=select.EPILOG)(select.select)
app.command(cls=Command, epilog=compare.EPILOG)(compare.compare)
app.command(cls=Command, epilog=run.EPILOG)(run.run)
app.command(cls=Command)(run.report)


def main() -> None:
    """The `tonsure` command. An error is one message on standard error, and exit status 2.

    A command that is interrupted says in one line what is kept; its exit status is 130 (SIGINT) or 143 (SIGTERM).
    """
    _keep_standard_descriptors()
    with _interruptible(), _ended_in_one_line(), _warnings_in_one_line():
        app()


@contextmanager
def _ended_in_one_line() -> Iterator[None]:
    try:
        yield
    except TonsureError as error:
        tell(f"error: {error}")
        sys.exit(2)
    except MemoryError as error:
        tell(f"error: there is not enough memory: {error}" if str(error) else "error: there is not enough memory")
        sys.exit(2)
    except OSError as error:  # of a file that only Python or another library knows
        tell(f"error: {error}")
        sys.exit(2)


@contextmanager
def _interruptible() -> Iterator[None]:
    """A context in which a signal to end raises ``Interrupted``, and then is said; unless it is to be ignored."""

    def interrupt(number: int, _: object) -> None:
        raise Interrupted(number)

    handlers: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # others may not
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                handlers[number] = signal.signal(number, interrupt)
    try:
        yield
    except Interrupted as interruption:
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)
        tell(f"interrupted: {getattr(interruption, '__notes__', [NOTHING_WRITTEN])[0]}")
        # Another signal, while Python ends, ends it at once, without a traceback.
        handlers = dict.fromkeys(handlers, signal.SIG_DFL)
        sys.exit(128 + interruption.number)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    def show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        tell(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", SelectionWarning)
        warnings.showwarning = show_warning
        yield


def _keep_standard_descriptors() -> None:
    """Opens those that are closed, or the next file would get their number, and what others print into it."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
