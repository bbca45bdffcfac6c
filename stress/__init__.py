"""Attacks on tonsure: what a crash, a full disk, damage or an odd input does to it. See ``python -m stress``."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

sys.path.append(str(ROOT / "tests"))  # attacks run the properties of the tests, more often

KINDS = ("kills", "disks", "flips", "processes", "command_lines", "selections", "metamorphic")
"""The attacks, which are modules."""
