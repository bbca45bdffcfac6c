"""The tables of docs/complexity.md are what the benchmark printed, and its pictures are there."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_tables_are_as_recorded():
    recorded = (DOCS / "complexity" / "complexity.txt").read_text().splitlines()
    page = (DOCS / "complexity.md").read_text()
    lines = [line[4:] for line in page.splitlines() if line.startswith("    ")]
    assert len(lines) >= 60
    for line in lines:
        assert line in recorded, line


def test_files_it_points_to_exist():
    pointed = re.findall(r"\]\(([^)#:]+)\)", (DOCS / "complexity.md").read_text())
    assert {"complexity/growth.png", "complexity/information.png"} <= set(pointed)
    for path in pointed:
        assert (DOCS / path).is_file(), path
