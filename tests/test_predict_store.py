"""Predicting into a store: killed at any instant, the same call goes on to the same bytes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from test_predictions import Featured, Table, make_features, make_table
from tonsure import durable_files
from tonsure.errors import InputError, StoreError
from tonsure.models.features import penultimate
from tonsure.models.predict import predict
from tonsure.predictions.store import Store, draft, sealing, writing

WIDTHS = (1, 2, 1)
INPUTS = torch.arange(10)
IDS = [f"item {row}" for row in range(10)]


def make_store(out, *, table=None, inputs=INPUTS, widths=WIDTHS, model=Table, **more):
    """Three members, four blocks, two shards."""
    made = model(make_table() if table is None else table, widths)
    return predict(made, inputs, out=out, **{"ids": IDS, "block_size": 3, **more}), made.calls


def contents(folder):
    return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


@pytest.fixture(autouse=True)
def same_time_and_two_shards(monkeypatch):
    freeze(monkeypatch.setattr)


def freeze(setattr):
    setattr(sealing, "now", lambda: "2026-01-01T00:00:00+00:00")
    setattr(sys.modules["tonsure.predictions.store.layout"], "SHARD_BYTES", 7 * 4 * 3 * 2)


# What writes to the disk, and what else happens to it. A block that lies in two shards is mapped twice.
WRITES = [
    *((draft, name) for name in ("append_json_line", "_allocate")),
    *((sealing, name) for name in ("write_file", "write_table", "sync")),
    (durable_files, "sync"),
    *((Path, name) for name in ("mkdir", "touch", "write_text")),
]
HALVES = {
    "append_json_line": lambda journal, line, **_: journal.open("ab", 0).write(b'{"first_row": 0, "ro'),
    "write_text": lambda path, text: path.write_bytes(text[:100].encode()),
    "write_table": lambda table, path: path.write_bytes(b"PAR1"),
}
STEPS = [*WRITES, (np, "memmap"), (draft, "clear_up"), (Path, "replace"), (Path, "unlink")]


def stop_at(instant, stop, steps, setattr=setattr):
    """Has ``stop`` called in place of the step of this number; at a half, after half of it.

    Gives the list of the steps that are taken from now on.
    """
    taken = []
    for owner, name in steps:
        original = getattr(owner, name)

        def step(*args, name=name, original=original, **more):
            taken.append(name)
            if len(taken) - 1 == int(instant):
                if instant % 1:
                    HALVES[name](*args)
                stop()
            return original(*args, **more)

        setattr(owner, name, step)
    return taken


def in_a_process(work):
    """Its exit status; nothing of what it changes is left in this process, which must have no threads."""
    process = os.fork()
    if process == 0:
        freeze(setattr)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_at(folder, instant):
    stop_at(instant, lambda: os._exit(7), STEPS)
    make_store(folder / f"killed at {instant}", model=Featured)


def list_steps(folder):
    taken = stop_at(-1, None, STEPS)
    make_store(folder / "steps", model=Featured)
    (folder / "steps.txt").write_text(" ".join(taken))


def killed_at_every_step(folder):
    """Run by the test below, in a process of its own."""
    assert in_a_process(lambda: list_steps(folder)) == 0
    steps = (folder / "steps.txt").read_text().split()
    halves = [number + 0.5 for number, name in enumerate(steps) if name in HALVES]
    for instant in (*range(len(steps)), *halves):
        assert in_a_process(lambda instant=instant: killed_at(folder, instant)) == 7


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be forked there")
def test_killed_at_any_instant_it_goes_on_to_the_same_bytes(tmp_path):
    code = f"from test_predict_store import *; killed_at_every_step(Path({str(tmp_path)!r}))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=environment)
    make_store(tmp_path / "whole", model=Featured)
    whole = contents(tmp_path / "whole")
    shards = ["log_probs-00000.safetensors", "log_probs-00001.safetensors"]
    assert sorted(whole) == ["features.safetensors", "items.parquet", *shards, "manifest.json"]
    killed = sorted(tmp_path.glob("killed*"))
    torn, unfinished = 0, 0
    assert len(killed) > 50
    for folder in killed:
        journal = folder / "journal.jsonl"
        torn += journal.exists() and not journal.read_bytes().endswith(b"\n")
        if (folder / "manifest.json").exists():
            Store.open(folder)
        else:
            unfinished += 1
            with pytest.raises(StoreError, match=r"was not finished|is not a store"):
                Store.open(folder)
        store, _ = make_store(folder, model=Featured)
        store.verify()
        assert contents(folder) == whole, folder
    assert torn == 17  # the first line, and one for each block
    assert unfinished > 50


def test_the_store_holds_what_predict_gives(tmp_path):
    rows = [7, 0, 7, 9]
    for dtype in (None, torch.bfloat16, torch.float32):
        store, calls = make_store(tmp_path / f"{dtype}", rows=rows, ids=None, dtype=dtype)
        assert store.dtype == dtype or torch.float16
        assert torch.equal(torch.cat(store.parts), make_table()[rows].to(store.dtype))
        assert calls == [(member, items) for member in range(3) for items in ([7, 0, 7], [9])]


def test_only_what_is_missing_is_predicted(tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        stop_at(7, stop, [(draft, "append_json_line")], patch.setattr)
        with pytest.raises(KeyboardInterrupt):
            make_store(tmp_path / "store")
    # Six blocks are in the journal: all of the first member, two of the second. The first of each comes again.
    store, calls = make_store(tmp_path / "store")
    assert calls == [
        (0, [0, 1, 2]),
        *((1, items) for items in ([0, 1, 2], [6, 7, 8], [9])),
        *((2, items) for items in ([0, 1, 2], [3, 4, 5], [6, 7, 8], [9])),
    ]
    assert torch.equal(torch.cat(store.parts), make_table().half())
    again, calls = make_store(tmp_path / "store")
    assert calls == [(member, [0, 1, 2]) for member in range(3)]
    assert again.ids == IDS


@pytest.mark.parametrize("rows", [None, [7, 0, 7, 9]])
@pytest.mark.parametrize("features", [None, True])
def test_features_are_stored_beside_the_predictions(tmp_path, rows, features):
    store, calls = make_store(tmp_path / "store", model=Featured, rows=rows, features=features, ids=None)
    kept = range(10) if rows is None else rows
    assert torch.equal(torch.cat(store.parts), make_table()[kept].half())
    assert torch.equal(store.features, make_features()[kept])
    assert [items for member, items in calls if member == "features"] == [
        list(kept[start : start + 3]) for start in range(0, len(kept), 3)
    ]
    before = contents(tmp_path / "store")
    again, calls = make_store(tmp_path / "store", model=Featured, rows=rows, features=features, ids=None)
    assert calls == [*((member, list(kept[:3])) for member in range(3)), ("features", list(kept[:3]))]
    assert torch.equal(again.features, store.features)
    assert contents(tmp_path / "store") == before


def test_features_are_optional(tmp_path):
    store, calls = make_store(tmp_path / "without", model=Featured, features=False)
    assert store.features is None
    assert all(member != "features" for member, _ in calls)
    assert make_store(tmp_path / "none", features=False)[0].features is None  # the model has none
    make_store(tmp_path / "with", model=Featured)
    with pytest.raises(StoreError, match="features is False, this call has True"):
        make_store(tmp_path / "without", model=Featured, features=True)
    with pytest.raises(StoreError, match="features is True, this call has False"):
        make_store(tmp_path / "with", model=Featured, features=False)
    assert make_store(tmp_path / "without", model=Featured)[0].features is None


def stop_at_features(folder):
    """A draft with all predictions and one block of features."""

    def stop():
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        stop_at(14, stop, [(draft, "append_json_line")], patch.setattr)
        with pytest.raises(KeyboardInterrupt):
            make_store(folder, model=Featured)


def test_only_missing_features_are_computed(tmp_path):
    stop_at_features(tmp_path / "store")
    with pytest.raises(StoreError, match=r"features is \{.*'D': 2.*\}, this call has None"):
        make_store(tmp_path / "store", model=Featured, features=False)
    store, calls = make_store(tmp_path / "store", model=Featured)
    assert calls == [
        ("features", [0, 1, 2]),
        *((member, [0, 1, 2]) for member in range(3)),
        *(("features", items) for items in ([3, 4, 5], [6, 7, 8], [9])),
    ]
    assert torch.equal(store.features, make_features())


class OtherFeatures(Featured):
    def features(self, inputs):
        return super().features(inputs) + 0.01 * (inputs == 2)[:, None]


OtherFeatures.__module__, OtherFeatures.__qualname__ = Featured.__module__, Featured.__qualname__


@pytest.mark.parametrize("make_first", [stop_at_features, lambda folder: make_store(folder, model=Featured)])
def test_features_of_another_model(tmp_path, make_first):
    make_first(tmp_path / "store")
    before = contents(tmp_path / "store")
    with pytest.raises(StoreError, match="the features of its first items differ; nothing was changed"):
        make_store(tmp_path / "store", model=OtherFeatures)
    assert contents(tmp_path / "store") == before


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (lambda inputs: inputs.float(), r"the model must return features \[n, D\], found \[3\] for n = 3"),
        (lambda inputs: inputs.tolist(), r"must return features \[n, D\], found list for n = 3"),
        (lambda inputs: torch.ones(len(inputs), 0), r"must return features \[n, D\], found \[3, 0\]"),
        (lambda inputs: torch.ones(len(inputs), 1 + int(5 in inputs)), "features of D = 2 for row 5, but of D = 1"),
        (lambda inputs: torch.where(inputs == 4, torch.nan, 1.0)[:, None], "the features of row 4 hold nan or inf"),
        (
            lambda inputs: penultimate(torch.nn.Identity(), inputs),
            r"calls no nn\.Linear.* With features=False the predictions are stored without features",
        ),
    ],
)
def test_features_that_cannot_be_stored(tmp_path, monkeypatch, features, message):
    monkeypatch.setattr(Featured, "features", lambda self, inputs: features(inputs))
    with pytest.raises(InputError, match=message):
        make_store(tmp_path / "store", model=Featured, rows=[0, 1, 2, 5, 4], ids=None)


def half_of(folder, model=Table):
    """A draft of two members of three."""

    def stop():
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        stop_at(9, stop, [(draft, "append_json_line")], patch.setattr)
        with pytest.raises(KeyboardInterrupt):
            make_store(folder, model=model)


OTHERS = [
    ({"inputs": INPUTS.flip(0)}, r"inputs is torch.int64 \[\], crc32 \d+, this call has torch.int64 \[\], crc32"),
    ({"inputs": INPUTS.float()}, "this call has torch.float32"),
    ({"rows": list(range(9)), "ids": IDS[:9]}, "N is 10, this call has 9"),
    ({"rows": [1, 0, *range(2, 10)]}, "rows is crc32"),
    ({"dtype": torch.float32}, "dtype is (torch.)?float16, this call has (torch.)?float32"),
    ({"table": make_table(K=5), "widths": (5,)}, "K is 4, this call has 5"),
    ({"table": make_table() + 1e-6}, r"weights is [0-9a-f]{16}, this call has [0-9a-f]{16}"),
]


@pytest.mark.parametrize("make_first", [half_of, make_store], ids=["draft", "store"])
@pytest.mark.parametrize(("other", "message"), OTHERS)
def test_of_another_model_or_pool(tmp_path, make_first, other, message):
    class Floats(Table):
        def members(self):
            return (lambda inputs, member=member: member(inputs.long()) for member in super().members())

    make_first(tmp_path / "store")
    before = contents(tmp_path / "store")
    model = Table if "inputs" not in other else type("Table", (Floats,), {"__module__": Table.__module__})
    arguments = {"ids": IDS, "block_size": 3, "rows": None, "dtype": None, **other}
    table, widths = arguments.pop("table", make_table()), arguments.pop("widths", WIDTHS)
    inputs = arguments.pop("inputs", INPUTS)
    with pytest.raises(StoreError, match=message):
        predict(model(table, widths), inputs, out=tmp_path / "store", **arguments)
    assert contents(tmp_path / "store") == before


class Elsewhere(Table):
    """Its predictions are not among its attributes."""

    tables: list

    def __init__(self, table, widths=()):
        Elsewhere.tables = [table]
        super().__init__(torch.zeros(table.shape), widths)

    def members(self):
        self.table, kept = self.tables[0], self.table
        yield from super().members()
        self.table = kept


@pytest.mark.parametrize("make_first", [half_of, make_store], ids=["draft", "store"])
def test_one_member_of_another_model_whose_weights_cannot_be_seen(tmp_path, make_first):
    """Also a member that is not the first, in a complete store."""
    make_first(tmp_path / "store", model=Elsewhere)
    before = contents(tmp_path / "store")
    table = make_table()
    table[:, 1:3] = table[:, 1:3].flip(2)
    with pytest.raises(StoreError, match="is of another model with the same settings"):
        make_store(tmp_path / "store", table=table, model=Elsewhere)
    assert contents(tmp_path / "store") == before


def test_what_rounding_changes_is_the_same_model(tmp_path):
    make_store(tmp_path / "store", model=Elsewhere)
    make_store(tmp_path / "store", table=make_table() + 1e-5, model=Elsewhere)


def test_another_size_of_blocks(tmp_path):
    half_of(tmp_path / "half")
    with pytest.raises(StoreError, match="block_size is 3, this call has 4"):
        make_store(tmp_path / "half", block_size=4)
    whole, _ = make_store(tmp_path / "whole")
    assert make_store(tmp_path / "whole", block_size=4)[0].manifest == whole.manifest


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"ids": IDS[::-1]}, "with other ids or items"),
        ({"items": {"size": range(10)}}, "with other ids or items"),
        ({"about": {"a": 1}}, r"about is \{\}, this call has \{'a': 1\}"),
    ],
)
def test_a_store_that_keeps_other_things(tmp_path, more, message):
    make_store(tmp_path / "store")
    make_store(tmp_path / "store", ids=None)
    with pytest.raises(StoreError, match=message):
        make_store(tmp_path / "store", **more)


def test_a_store_that_predict_did_not_make(tmp_path):
    writing.write_store(tmp_path / "store", make_table().half())
    with pytest.raises(StoreError, match="model is None, this call has"):
        make_store(tmp_path / "store")


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"ids": IDS[:9]}, StoreError, "there are 9 ids, but the predictions have 10 rows"),
        ({"ids": [*IDS[:9], IDS[0]]}, StoreError, "the id 'item 0' is repeated, at rows 0 and 9"),
        ({"about": {"a": {1, 2}}}, InputError, "about cannot be stored as JSON"),
        ({"dtype": torch.float64}, InputError, "a store holds float16, bfloat16, float32, found torch.float64"),
        ({"out": None}, InputError, "ids, items and about are kept in a store: expected out"),
        ({"out": None, "ids": None, "features": True}, InputError, "features, ids, items and about are kept in a sto"),
        ({"features": True}, InputError, "features is True, but <test_predictions.Table .* has no features"),
    ],
)
def test_what_cannot_be_begun_leaves_nothing(tmp_path, more, error, message):
    with pytest.raises(error, match=message):
        make_store(**{"out": tmp_path / "store", **more})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_in_the_middle_loses_nothing(tmp_path):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        steps = stop_at(-1, None, WRITES, patch.setattr)
        make_store(tmp_path / "whole")
    assert len(steps) > 20
    for instant in range(len(steps)):
        with pytest.MonkeyPatch.context() as patch:
            stop_at(instant, full, WRITES, patch.setattr)
            with pytest.raises(StoreError, match=r"full; the store needs 752 bytes, and [\d,]+ are free\. Make room"):
                make_store(tmp_path / f"{instant}")
        make_store(tmp_path / f"{instant}")
        assert contents(tmp_path / f"{instant}") == contents(tmp_path / "whole"), steps[instant]


def test_stores_of_versions_without_a_hash_are_compared_by_their_predictions(tmp_path, monkeypatch):
    blocks = sys.modules["tonsure.models.blocks"]
    fingerprint = blocks.Blocks.fingerprint
    without = lambda self: {name: value for name, value in fingerprint(self).items() if name != "weights"}  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(blocks.Blocks, "fingerprint", without)
        make_store(tmp_path / "store")
    make_store(tmp_path / "store")
    with pytest.raises(StoreError, match="is of another model with the same settings"):
        make_store(tmp_path / "store", table=make_table().flip(2))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"model": Table}, "model is the class Table, expected an object such as"),
        ({"model": torch.nn.Linear(1, 1)}, "model is "),
        ({"inputs": [[0], [1]]}, r"the inputs are a list|the inputs are \[\[0\]"),
        ({"inputs": torch.tensor(0)}, "the inputs are a single number"),
        ({"inputs": torch.zeros(0, 1)}, "there is nothing to predict: the inputs hold no items"),
        ({"inputs": torch.eye(3).to_sparse()}, "expected an ordinary dense tensor"),
        ({"rows": "01"}, "rows is '01'"),
        ({"rows": [0.5]}, "rows is float64"),
        ({"block_size": 1.5}, "block_size is 1.5"),
        ({"block_size": "3"}, "block_size is '3'"),
        ({"dtype": torch.int64}, "dtype is torch.int64, expected a floating-point type"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"features": "yes"}, "features is 'yes', expected True or False"),
        ({"out": 3}, "out is 3, expected a path"),
    ],
)
@pytest.mark.usefixtures("annotations_unchecked")
def test_arguments_of_other_kinds_are_refused(tmp_path, more, message):
    given = {"model": Table(make_table()), "inputs": INPUTS, "out": tmp_path / "store", **more}
    with pytest.raises(InputError, match=message):
        predict(**given)
    assert list(tmp_path.iterdir()) == []


def test_numbers_and_masks_of_other_libraries_are_arguments(tmp_path):
    mask = np.arange(10) % 2 == 0
    store, calls = make_store(tmp_path / "store", inputs=INPUTS.numpy(), rows=mask, block_size=np.int64(2), ids=None)
    assert torch.equal(torch.cat(store.parts), make_table()[::2].half())
    assert calls[:3] == [(0, [0, 2]), (0, [4, 6]), (0, [8])]
    assert make_store(tmp_path / "store", rows=[0, 2, 4, 6, 8], ids=None)[0].shape == (5, 4, 3)
