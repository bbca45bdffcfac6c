"""Attacks on tonsure. Each has numbered cases, made from the seed alone; an interrupted command goes on.

python -m stress [KIND ...] [--share 0.1] [--seed 0] [--case N] [--jobs 2] [--folder runs/stress] [--record]

Prints one line for each kind, and how to repeat each failure; the exit status is 1 if there is one.
"""

import argparse
import sys
from pathlib import Path

from stress import KINDS, page
from stress.attack import PROCESSES, perform
from tonsure.experiments.provenance import commit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; by default all")
    parser.add_argument("--share", type=float, default=1.0, help="of all cases; 1 by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="the number of the only case to run")
    parser.add_argument("--jobs", type=int, default=1, help="the number of processes")
    parser.add_argument("--folder", type=Path, default=Path("runs/stress"), help="what is done, and what failed")
    parser.add_argument("--record", action="store_true", help="keep the results in docs/stress, and rewrite the page")
    words = parser.parse_args()
    if unknown := set(words.kinds) - set(KINDS):
        parser.error(f"there is no attack {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    PROCESSES.set_forkserver_preload(["stress.children"])
    of_commit, failures = commit(), []  # the commit now: what is recorded changes the docs
    options = {"share": words.share, "seed": words.seed, "jobs": words.jobs, "case": words.case}
    for kind in words.kinds or KINDS:
        result = perform(kind, words.folder, **options)
        print(result, flush=True)
        failures += result.repeats()
        if words.record and words.case is None:
            page.record(result, of_commit)
    for failure in failures:
        print(failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
