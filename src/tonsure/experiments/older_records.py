"""Headers of records that were written under earlier names, in the names of today.

Records on disk are never rewritten. Whatever compares or shows a header calls ``up_to_date`` first, so that a change of
a name needs a line here and nothing elsewhere.
"""

import re

from tonsure.experiments.records import Record

METHOD = re.compile(r"^methods = (.+?) = Method\(objective=(.+?), by=(.+)\)$", re.MULTILINE)
SIZES = re.compile(r"^first = (\d+)\nbatch = (\d+)\nuntil = (\d+)$", re.MULTILINE)

LIBRARY_NAME = r"tonsure\.(?:[a-z_0-9]+\.)+(?=\w)"
"""The module of a function or a class of this library, such as ``tonsure.networks.dense.`` of ``dense_network``."""

SETTING = re.compile(rf"^(\S+ = ){LIBRARY_NAME}", re.MULTILINE)
TRAINING = re.compile(r"^\S+ = Training\(.*", re.MULTILINE)
"""Where an earlier header had the module: a whole setting, or any within a ``Training``. Never inside source code."""

OBJECTIVES = (
    (r"\bCorrectedLBB\(\)", "LargeBatchBALD(weight=1.0, corrected=True, bounded=False)"),
    (r"\bSecondOrderBoundedLBB\(corrected=(\w+)\)", r"SecondOrderLBB(weight=1.0, corrected=\1, bounded=True)"),
    (r"\bBoundedLBB\(corrected=(\w+)\)", r"LargeBatchBALD(weight=1.0, corrected=\1, bounded=True)"),
    # Of the pools that records are of, all have fewer rows: then every row is looked at, as today.
    (r"(FacilityLocation\([^()]*), most=16384\)", r"\1)"),
    (r"(FacilityLocation\([^(),]*, radius=[^(),]*)\)", r"\1, whitening=0.0)"),
    (r"\b(LargeBatchBALD|SecondOrderLBB)\(weight=([^,)]+)\)", r"\1(weight=\2, corrected=False, bounded=False)"),
)
"""Objectives by their earlier representations, and by those of today."""


def up_to_date(header: Record) -> Record:
    """The header as it would be written today; one that is written so already is returned as it is."""
    if "batch" not in header:
        return header
    renamed = {"k" if key == "batch" else key: value for key, value in header.items()}
    return renamed | {"text": _text(header["text"])} if isinstance(header.get("text"), str) else renamed


def _text(text: str) -> str:
    text = SIZES.sub(r"initial_labels = \1\nk = \2\nmax_labels = \3", text)
    text = METHOD.sub(lambda found: f"methods = {found[1]} = {_method(found[2], found[3])}", text)
    text = SETTING.sub(r"\1tonsure.", text)
    return TRAINING.sub(lambda found: re.sub(f"={LIBRARY_NAME}", "=tonsure.", found[0]), text)


def _method(objective: str, optimizer: str) -> str:
    optimizer = re.sub(r"\bPrefilter\(first=(\d+), by=", r"Prefilter(first=\1, optimizer=", optimizer)
    if objective == "ReleasedLBB()":
        return f"Method(method=ReleasedLBB(optimizer={optimizer}), optimizer=None)"
    for earlier, today in OBJECTIVES:
        objective = re.sub(earlier, today, objective)
    return f"Method(method={objective}, optimizer={optimizer})"
