"""`python -m tonsure` is the `tonsure` command."""

from tonsure_command import main

main()
