"""The page of the docs on attacks, written from the recorded results."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stress import KINDS, ROOT
from stress.attack import Result, attack
from tonsure.durable_files import read_json_lines, write_file

PAGE = ROOT / "docs" / "stress.md"
SUMMARY = ROOT / "docs" / "stress" / "summary.jsonl"

TEXT = """\
# Attacks

What crashes, full disks, damaged files and odd inputs do to tonsure, tried many times. `python -m stress` writes this
page from [its recorded results](stress/summary.jsonl); a test compares them.

    make stress                                        # all attacks, on two cores
    .venv/bin/python -m stress kills --share 0.1       # a tenth of the cases of one of them
    .venv/bin/python -m stress kills --case 17         # one case, to repeat a failure

An attack has numbered cases, each made from the seed and its number alone. What has passed is kept in `runs/stress`:
the same command goes on after an interruption. A case fails if a result is not what it must be, if something that is
not whole is taken for whole, if an error is none of ours, or if it takes longer than five minutes. The exit status is
then 1, and the command says how to repeat it. All cases take {minutes:,.0f} minutes of one process, a tenth of them
{tenth:,.0f}; the ordinary tests run so many as fit into one, of seed 0, always the same.

| attack | what is tried | cases | counted | failed | cases in the tests | last run |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
{failures}
Flipped bits are detected by the checksums, which `Store.open` compares unless `verify=False`. Without it sizes, headers
and the manifest are still checked, and a table of items when it is read; numbers are not: {unseen}
are then not seen. Checksums are no protection against intent: anybody can compute them.
"""


def record(result: Result, of_commit: str | None) -> None:
    """Keeps a result in place of the last one of its kind, and writes the page."""
    results = {line["kind"]: line for line in read_json_lines(SUMMARY).objects}
    results[result.kind] = result.to_json(of_commit)
    SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{json.dumps(results[kind], ensure_ascii=False)}\n" for kind in KINDS if kind in results)
    write_file(SUMMARY, lambda path: path.write_text(text, encoding="utf-8"))
    write_file(PAGE, lambda path: path.write_text(page(), encoding="utf-8"))


def page() -> str:
    """The page, from the recorded results."""
    results = {line["kind"]: line for line in read_json_lines(SUMMARY).objects}
    rows = "\n".join(_row(kind, results.get(kind)) for kind in KINDS)
    failures = [
        f"- {kind}, seed {found['seed']}, case {number}: {_cell(failure)}"
        for kind, found in results.items()
        for number, failure in found["failures"].items()
    ]
    listed = "\n".join(["", "What failed:", "", *failures, ""]) if failures else ""
    flips = results.get("flips", {"counts": {}})["counts"]
    unseen = flips.get("not seen without `verify`", 0)
    minutes = sum(found["seconds"] * found["of"] / found["cases"] for found in results.values()) / 60
    of_flips = f"{unseen:,} of the {sum(flips.values()) - unseen:,} flips"
    return TEXT.format(rows=rows, failures=listed, unseen=of_flips, minutes=minutes, tenth=minutes / 10)


def _row(kind: str, found: Mapping[str, Any] | None) -> str:
    made = attack(kind)
    cells: Sequence[object] = ("not run yet", "", "", made.tests, "")
    if found is not None:
        whole = f"{found['cases']:,} of {found['of']:,}" if found["cases"] < found["of"] else f"all {found['of']:,}"
        counts = ", ".join(f"{count:,} {name}" for name, count in found["counts"].items())
        versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        of = f"{found['date']}, commit {found['commit']}, seed {found['seed']}, {found['seconds'] / 60:,.0f} min of one"
        cells = (whole, counts, len(found["failures"]), made.tests, f"{of} process; {versions}; {found['machine']}")
    return f"| {' | '.join(map(str, (kind, made.tries, *cells)))} |"


def _cell(text: str) -> str:
    return " ".join(text.split())[:300].replace("|", "\\|")
