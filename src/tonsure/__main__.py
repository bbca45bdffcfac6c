"""`python -m tonsure` is the `tonsure` command."""

from tonsure.cli import main

main()
