"""`python -m tonsure` is the `tonsure` command."""

from tonsure.cli.main import main

main()
