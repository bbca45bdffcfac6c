"""Progress bars: shown on a terminal, and no reason to fail where there is none."""

import io
import re
import sys
from pathlib import Path

import pytest
import torch

import tonsure as tn
from tonsure.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Broken(io.StringIO):
    def isatty(self):
        raise OSError(5, "Input/output error")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, closed(), Broken(), object(), io.StringIO()])
def test_nothing_is_shown_where_nobody_reads(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress(range(3), "count")) == [0, 1, 2]
    with progress(what="count", total=2) as bar:
        bar.update()
        bar.set_postfix_str("one")
    tn.select(torch.zeros(4, 2, 3).log_softmax(-1), "random", 2)
    assert not isinstance(stream, io.StringIO) or stream.closed or not stream.getvalue()


def test_a_terminal_shows_it(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress(range(3), "count")) == [0, 1, 2]
    assert "count" in sys.stderr.getvalue()


def test_all_bars_are_made_in_one_place():
    files = Path(tn.__file__).parent.rglob("*.py")
    assert [file.name for file in files if re.search(r"\btqdm\(", file.read_text(encoding="utf-8"))] == ["progress.py"]
