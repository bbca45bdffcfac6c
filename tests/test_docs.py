"""The Python in the README and in the contributing page runs, on real digits."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import tonsure as tn
from tonsure.datasets import Digits

ROOT = Path(__file__).parents[1]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_snippets_run(page, make_log_probs, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digits = Digits().load()
    rows = tn.balanced_rows(digits.train_labels, 20, seed=0)
    names = {
        "log_probs_N_K_C": make_log_probs(1200, K=20, C=10),
        "features": torch.randn(1200, 8, generator=torch.Generator().manual_seed(0)),
        "log_probs_n_K_C": make_log_probs(20),
        "images": digits.train_inputs,
        "first_labels": {int(row): int(digits.train_labels[row]) for row in rows},
        "network": nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10)),
        "oracle": tn.KnownLabels(digits.train_labels),
        "test_images": digits.test_inputs,
        "test_labels": digits.test_labels,
    }
    found = blocks(page)
    assert len(found) == {"README.md": 3, "CONTRIBUTING.md": 3}[page]
    module = type(torch)("my_module")
    module.__dict__.update(names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "my_module", module)
        for block in found:
            exec(compile(block, page, "exec"), module.__dict__)
    if page == "README.md":
        assert len(module.chosen) == 10
        assert len(module.hundred) == 100
        assert set(module.ten_more.rows.tolist()) < set(range(500, 1000))
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == ["20", "40", "60", "80"]


def test_names_in_the_tables_of_methods_exist():
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"^\| `(\w+)\(", text, flags=re.MULTILINE):
        assert hasattr(tn, name), name
    for name in re.findall(r"`([a-z_]+)`", text.split("## Methods")[1].split("## Speed")[0]):
        assert hasattr(tn, name) or name in {"by", "select"}, name


@pytest.mark.parametrize(("page", "least"), [("README.md", 8), ("docs/scale.md", 40)])
def test_tables_are_as_recorded(page, least):
    """Every line of a table of large pools is one that a benchmark printed."""
    recorded = {line for path in (ROOT / "docs" / "scale").glob("*.txt") for line in path.read_text().splitlines()}
    text = (ROOT / page).read_text()
    text = text.split("## Speed")[1].split("\n## ")[0] if page == "README.md" else text
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ") and not line.startswith("    tonsure ")]
    assert len(lines) >= least
    for line in lines:
        assert line in recorded, line
