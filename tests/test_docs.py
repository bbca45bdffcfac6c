"""The Python in the pages runs, on real digits, and their tables and links are what they say."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import tonsure as tn
from tonsure.datasets import Digits

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": 4, "CONTRIBUTING.md": 3, "docs/store.md": 1, "docs/experiments.md": 1}
"""Pages with Python, and the number of blocks."""


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def make_network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10))


@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize("page", PAGES)
def test_snippets_run(page, make_log_probs, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digits = Digits().load()
    rows = tn.balanced_rows(digits.train_labels, 20, seed=0)
    names = {
        "tn": tn,
        "network": make_network(),
        "make_network": make_network,
        "images": digits.train_inputs,
        "labeled_rows": rows,
        "labels": digits.train_labels[rows],
        "scores": torch.rand(len(digits.train_labels), generator=torch.Generator().manual_seed(0)),
        "initial_labels": {int(row): int(digits.train_labels[row]) for row in rows},
        "oracle": tn.KnownLabels(digits.train_labels),
        "test_images": digits.test_inputs,
        "test_labels": digits.test_labels,
        "log_probs_N_K_C": make_log_probs(1200, K=20, C=10),
        "log_probs_n_K_C": make_log_probs(20),
    }
    if page == "docs/store.md":
        names["model"] = tn.MCDropout(names["network"], samples=20)
    found = blocks(page)
    assert len(found) == PAGES[page]
    module = type(torch)("my_module")
    module.__dict__.update(names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "my_module", module)
        for block in found:
            exec(compile(block, page, "exec"), module.__dict__)
    if page == "README.md":
        assert len(module.rows) == len(set(module.rows) - set(rows.tolist())) == 100
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == ["20", "40", "60", "80"]
    if page == "docs/store.md":
        assert len(module.chosen) == len(module.hundred) == 100
        assert set(module.ten_more.rows.tolist()) < set(range(500, 1000))
    if page == "docs/experiments.md":
        assert set(module.experiment.methods) == {"random", "facility-location", "PowerBALD"}


def test_a_model_gets_to_rows_in_ten_lines():
    lines = [line for line in blocks("README.md")[0].splitlines() if line]
    assert len(lines) <= 10
    assert any(line.startswith("rows =") for line in lines)


def test_names_in_the_tables_of_methods_exist():
    text = (ROOT / "docs/methods/README.md").read_text()
    named = re.findall(r"^\| `(\w+)\(", text, flags=re.MULTILINE)
    assert {"LargeBatchBALD", "LazyGreedy", "FacilityLocation"} < set(named)
    for name in named:
        assert hasattr(tn, name), name
    for name in re.findall(r"`([a-z_]+)`", text):
        assert hasattr(tn, name) or name in {"corrected", "select", "compare", "rounds"}, name


def test_tables_are_as_recorded():
    """Every line of a table of large pools is one that a benchmark printed."""
    recorded = {line for path in (ROOT / "docs" / "scale").glob("*.txt") for line in path.read_text().splitlines()}
    text = (ROOT / "docs/scale.md").read_text()
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ") and not line.startswith("    tonsure ")]
    assert len(lines) >= 40
    for line in lines:
        assert line in recorded, line


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")))
def test_links_lead_somewhere(page):
    _check_links(page)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_of_the_first_pages_lead_somewhere(page):
    _check_links(page)


def _check_links(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in _anchors(file.read_text()), f"{page}: {target}"


def _anchors(text):
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
