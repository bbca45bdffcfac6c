"""A store holds what was put in, says what is wrong with it, and is never half of one."""

import errno
import json
import mmap
import os
import pickle
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import load_file

import tonsure as tn
import tonsure.predictions.store.items as items_module
from tonsure.errors import InputError, MissingExtraError, StoreError
from tonsure.predictions.store import (
    Draft,
    FeatureLayout,
    FeaturePlace,
    Layout,
    Place,
    Store,
    manifest,
    sealing,
    write_block,
    write_store,
)
from tonsure.predictions.store.unfinished import unfinished

DTYPES = [torch.float16, torch.bfloat16, torch.float32]


@pytest.fixture
def log_probs(make_log_probs):
    return make_log_probs(30, K=5, C=4, impossible=True, dtype=torch.float32).cpu()


@pytest.fixture
def path(log_probs, tmp_path):
    """A store of three shards, with ids and a column."""
    ids = [f"picture {row}" for row in range(30)]
    write_store(tmp_path / "store", log_probs, ids=ids, items={"size": range(30)}, rows_per_shard=12)
    return tmp_path / "store"


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_comes_back(log_probs, tmp_path, dtype):
    store = write_store(tmp_path / "store", log_probs, dtype=dtype, rows_per_shard=12)
    assert (store.shape, store.dtype, len(store)) == ((30, 5, 4), dtype, 30)
    assert [len(part) for part in store.parts] == [12, 12, 6]
    assert torch.equal(torch.cat(store.parts), log_probs.to(dtype))
    assert torch.cat(store.parts).isneginf().any()
    for number, part in enumerate(store.parts):
        assert torch.equal(load_file(store.path / f"log_probs-{number:05}.safetensors")["log_probs"], part)


@pytest.fixture
def features():
    return torch.randn(30, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_feature_comes_back(log_probs, features, tmp_path, monkeypatch, dtype):
    monkeypatch.setattr("tonsure.predictions.store.writing.BLOCK_BYTES", 100)
    store = write_store(tmp_path / "store", log_probs, features=features.to(dtype), rows_per_shard=12)
    assert store.features.dtype == dtype
    assert torch.equal(store.features, features.to(dtype))
    assert torch.equal(load_file(store.path / "features.safetensors")["features"], features.to(dtype))
    assert torch.equal(torch.cat(store.parts), log_probs)
    assert repr(store) == f"Store({str(store.path)!r}, shape=(30, 5, 4), dtype=torch.float32, features=(30, 7))"
    store.verify()


@pytest.mark.parametrize(
    "given", [lambda features: features.numpy(), lambda features: features.double(), lambda features: as_map(features)]
)
def test_features_of_arrays(log_probs, features, tmp_path, given):
    store = write_store(tmp_path / "store", log_probs, features=given(features))
    assert store.features.dtype == torch.float32
    assert torch.equal(store.features, features)


def as_map(features):
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/features.npy", features.numpy())
        return np.load(f"{folder}/features.npy", mmap_mode="r")


def test_features_are_read_where_they_are(log_probs, features, tmp_path):
    store = write_store(tmp_path / "store", log_probs, features=features)
    (tmp_path / "store" / "log_probs-00000.safetensors").write_bytes(b"")  # not needed
    reader = store.feature_reader()
    assert (reader.path, reader.of, len(reader)) == (str(store.path), "features", 30)
    assert torch.equal(reader.stored(torch.tensor([3, 4, 20])), features[[3, 4, 20]])
    with (tmp_path / "store" / "features.safetensors").open("r+b") as file:
        file.seek(256)
        file.write(np.float32(-7).tobytes())
    assert store.features[0, 0] == -7
    reader.release()
    assert torch.equal(store.features[1:], features[1:])
    assert reader.works_on == torch.device("cpu")
    assert store.feature_reader(torch.device("meta")).stored(torch.tensor([3])).device.type == "meta"


def test_a_store_without_features(path):
    store = Store.open(path)
    assert store.features is None
    assert store.feature_reader() is None


def test_selection_by_features_is_that_from_memory(log_probs, features, tmp_path):
    store = write_store(tmp_path / "store", log_probs, features=features)
    expected = tn.select(log_probs, tn.CoreSet(), 3, features=features, labeled=[4])
    for given in ({"predictions": store}, {"predictions": log_probs, "features": store}, {"features": store}):
        assert tn.select(method=tn.CoreSet(), k=3, labeled=[4], **given).rows.tolist() == expected.rows.tolist()


@pytest.mark.parametrize(
    "given",
    [
        lambda log_probs: log_probs.numpy(),
        lambda log_probs: log_probs.split(7),
        lambda log_probs: (part.numpy() for part in log_probs.split(13)),
        lambda log_probs: log_probs.double(),
    ],
    ids=["array", "list", "generator", "float64"],
)
def test_made_of_whatever_holds_numbers(log_probs, tmp_path, given):
    store = write_store(tmp_path / "store", given(log_probs), rows_per_shard=12)
    assert store.dtype == torch.float32
    assert torch.equal(torch.cat(store.parts), log_probs)


def test_blocks_larger_than_a_checksum(log_probs, tmp_path, monkeypatch):
    monkeypatch.setattr("tonsure.predictions.store.layout.BLOCK_BYTES", 5 * 4 * 4 * 7)
    monkeypatch.setattr("tonsure.predictions.store.writing.BLOCK_BYTES", 5 * 4 * 4 * 4)
    monkeypatch.setattr("tonsure.predictions.store.layout.SHARD_BYTES", 5 * 4 * 4 * 17)
    store = write_store(tmp_path / "store", log_probs)
    assert torch.equal(torch.cat(store.parts), log_probs)
    blocks = [log_probs[:7], log_probs[7:14], log_probs[14:17], log_probs[17:24], log_probs[24:]]
    crcs = [zlib.crc32(block.numpy().tobytes()) for block in blocks]
    assert [crc for shard in store.manifest.shards for crc in shard.crc32] == crcs
    store.verify()


def test_ids_items_and_what_made_it(log_probs, path):
    store = Store.open(path)
    assert store.ids == [f"picture {row}" for row in range(30)]
    assert store.items().to_pydict() == {"id": store.ids, "size": list(range(30))}
    assert parquet.read_table(path / "items.parquet").column_names == ["id", "size"]
    other = write_store(path.with_name("other"), log_probs, items={"id": range(30)}, about={"split": "train"})
    assert other.ids == [str(row) for row in range(30)]
    assert other.manifest.about == {"split": "train"}
    assert other.manifest.made_by["torch"] == torch.__version__
    plain = write_store(path.with_name("plain"), log_probs)
    assert plain.ids is None
    assert plain.items() is None
    assert sorted(file.name for file in plain.path.iterdir()) == ["log_probs-00000.safetensors", "manifest.json"]


def test_parts_lie_in_the_files(path, log_probs):
    """What changes on the disk changes in the tensor: it is a map, not a copy."""
    store = Store.open(path)
    part = store.parts[0]
    with (path / "log_probs-00000.safetensors").open("r+b") as file:
        file.seek(256)
        file.write(np.float32(-7).tobytes())
    assert part[0, 0, 0] == -7
    store.release()
    assert part[0, 0, 0] == -7
    assert torch.equal(part[1:], log_probs[1:12])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says which pages are held")
def test_released_pages_are_not_held(tmp_path):
    store = write_store(tmp_path / "store", torch.full((2**16, 4, 4), 0.25).log())
    (part,) = store.parts
    resident = []
    for release in (False, True):
        part.sum()
        if release:
            store.release()
        before, after = Path("/proc/self/smaps").read_text().split(str(store.path))
        assert before.splitlines()[-1].split()[1] == "r--s"  # readable, shared
        lines = after.splitlines()
        resident.append(next(int(line.split()[1]) for line in lines if line.startswith("Rss:")))
    assert resident[0] >= 4 * 1024  # KiB
    assert resident[1] == 0


def test_travels_as_its_path(path):
    store = Store.open(path)
    assert len(pickle.dumps(store)) < 500
    _ = store.features
    assert torch.equal(pickle.loads(pickle.dumps(store)).parts[2], store.parts[2])


@pytest.mark.parametrize("objective", [tn.LargeBatchBALD(), tn.Pointwise(tn.entropy)], ids=repr)
def test_selection_is_that_from_memory(path, log_probs, objective):
    store = Store.open(path)
    expected = tn.select(log_probs, objective, 2)
    for predictions in (store, store.parts):
        found = tn.select(predictions, objective, 2)
        assert found.rows.tolist() == expected.rows.tolist()
        assert found.gains.tolist() == pytest.approx(expected.gains.tolist(), abs=1e-12)


@pytest.mark.parametrize(
    ("given", "more", "error", "message"),
    [
        (lambda p: p.exp(), {}, InputError, r"row 0, sample 0 .* is no distribution"),
        (lambda p: [p, p.exp()], {}, InputError, r"block that begins at row 30.*row 0, sample 0"),
        (lambda p: [p, p[:, :3]], {}, InputError, r"begins at row 30 has shape \[30, 3, 4\].*K = 5, C = 4"),
        (lambda p: [p, p.half()], {}, InputError, "begins at row 30 has .* torch.float16, but .* torch.float32"),
        (lambda p: p[:0], {}, InputError, "N is 0"),
        (lambda p: [], {}, InputError, "the pool is empty"),
        (
            lambda p: p,
            {"dtype": torch.float64},
            InputError,
            "dtype is torch.float64, expected torch.float16, torch.bfloat",
        ),
        (lambda p: p, {"rows_per_shard": 0}, InputError, "rows_per_shard is 0"),
        (lambda p: p, {"ids": ["a"] * 29}, StoreError, "29 ids, but the predictions have 30 rows"),
        (lambda p: p, {"ids": [*range(29), 3]}, StoreError, "the id '3' is repeated, at rows 3 and 29"),
        (lambda p: p, {"items": {"id": [1] * 30}}, StoreError, "the id '1' is repeated, at rows 0 and 1"),
        (lambda p: p, {"items": {"id": [1]}, "ids": [1]}, InputError, "expected only one of them"),
        (lambda p: p, {"items": {"size": [1]}}, StoreError, "items have 1 rows"),
        (lambda p: p, {"items": 3}, InputError, r"items are .*, expected a table"),
        (lambda p: p, {"about": {"a": torch.ones(1)}}, InputError, "about cannot be stored as JSON"),
        (lambda p: p, {"features": torch.ones(29, 2)}, InputError, "features has 29 rows, but the predictions have 30"),
        (lambda p: p, {"features": torch.ones(30)}, InputError, r"expected floating-point numbers \[N, D\]"),
        (lambda p: p, {"features": torch.ones(30, 2).log() / 0}, InputError, "row 0 holds nan or infinity"),
        (lambda p: p, {"features": [[1.0]] * 30}, InputError, r"features is a list .*, expected a tensor or an"),
    ],
)
def test_what_fails_leaves_nothing(log_probs, tmp_path, given, more, error, message):
    with pytest.raises(error, match=message):
        write_store(tmp_path / "store", given(log_probs), **more)
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_never_written_over(path, log_probs):
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(StoreError, match="exists already"):
        write_store(path, log_probs)
    layout = Layout.of(30, 5, 4, torch.float32)
    with pytest.raises(StoreError, match="finished store already"):
        Draft(path, layout, {})
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def flip(file: Path, byte: int) -> None:
    data = bytearray(file.read_bytes())
    data[byte] ^= 4
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "byte", "message"),
    [
        ("log_probs-00000.safetensors", 30, r"log_probs-00000.safetensors is damaged: its header is not that of"),
        ("log_probs-00000.safetensors", 256, "log_probs-00000.safetensors is damaged in rows 0 to 2: .* expected"),
        ("log_probs-00001.safetensors", 256 + 80 * 4, "log_probs-00001.safetensors is damaged in rows 15 to 17"),
        ("log_probs-00002.safetensors", -1, "log_probs-00002.safetensors is damaged in rows 27 to 29"),
        ("items.parquet", 100, "items.parquet is damaged: its checksum is"),
        ("features.safetensors", 30, r"its header is not that of features \[30, 7\] in torch.float32"),
        ("features.safetensors", 256 + 13 * 28, "features.safetensors is damaged in rows 8 to 15"),
        ("features.safetensors", -1, "features.safetensors is damaged in rows 24 to 29"),
    ],
)
def test_a_flipped_bit_is_found(log_probs, features, tmp_path, monkeypatch, file, byte, message):
    monkeypatch.setattr("tonsure.predictions.store.layout.BLOCK_BYTES", 3 * 80)
    path = write_store(tmp_path / "store", log_probs, features=features, ids=range(30), rows_per_shard=12).path
    Store.open(path)
    flip(path / file, byte)
    with pytest.raises(StoreError, match=message):
        Store.open(path)
    if byte != 30:
        Store.open(path, verify=False)


def test_any_flipped_bit_of_the_manifest_is_found(path):
    file = path / "manifest.json"
    text = file.read_bytes()
    spaces = b" \n"
    for byte in range(0, len(text), 7):
        if text[byte] not in spaces:
            flip(file, byte)
            with pytest.raises(StoreError, match=r"manifest\.json"):
                Store.open(path, verify=False)
            file.write_bytes(text)
    Store.open(path)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda path: os.truncate(path / "log_probs-00001.safetensors", 700),
            "has 700 bytes, expected 1216: it was cut",
        ),
        (lambda path: os.truncate(path / "items.parquet", 700), "items.parquet has 700 bytes, expected"),
        (lambda path: (path / "log_probs-00002.safetensors").unlink(), "00002.safetensors is missing, a file of 736"),
        (lambda path: (path / "items.parquet").unlink(), "items.parquet is missing"),
        (lambda path: os.truncate(path / "features.safetensors", 700), "has 700 bytes, expected 1096: it was cut"),
        (lambda path: (path / "features.safetensors").unlink(), "features.safetensors is missing, a file of 1096"),
        (lambda path: (path / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda path: (path / "manifest.json").write_text("[]"), "manifest.json cannot be read"),
        (lambda path: (path / "manifest.json").unlink(), "is not a store: it has no manifest.json"),
        (lambda path: (path / "manifest.json").rename(path / "journal.jsonl"), "was not finished: call predict again"),
        (shutil.rmtree, "there is no such folder"),
    ],
)
def test_what_is_not_whole_is_not_opened(log_probs, features, tmp_path, harm, message, verify):
    path = write_store(tmp_path / "store", log_probs, features=features, ids=range(30), rows_per_shard=12).path
    harm(path)
    with pytest.raises(StoreError, match=message):
        Store.open(path, verify=verify)


def rewritten(path, *, without=(), **changes):
    """The manifest with other fields and the checksum that goes with them."""
    fields = json.loads((path / "manifest.json").read_text())
    for name in ("crc32", *without):
        del fields[name]
    fields |= changes
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    (path / "manifest.json").write_text(json.dumps({**fields, "crc32": zlib.crc32(text.encode())}))
    return fields


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 3}, "is of format version 3, this tonsure reads versions 1 and 2"),
        ({"colour": "red"}, "it has the unknown field 'colour'"),
        ({"shards": []}, "it has 0 files of log_probs, expected 3"),
    ],
)
def test_other_manifests(path, changes, message):
    rewritten(path)
    Store.open(path)
    rewritten(path, **changes)
    with pytest.raises(StoreError, match=message):
        Store.open(path)


def test_a_store_of_version_1(path, log_probs):
    rewritten(path, without=["features"], version=1)
    store = Store.open(path)
    assert torch.equal(torch.cat(store.parts), log_probs)
    assert (store.features, store.ids[0]) == (None, "picture 0")


def test_features_of_another_pool(log_probs, features, tmp_path):
    few = write_store(tmp_path / "few", log_probs[:20], features=features[:20])
    many = write_store(tmp_path / "many", log_probs)
    shutil.copy(few.path / "features.safetensors", many.path)
    rewritten(many.path, features=json.loads((few.path / "manifest.json").read_text())["features"])
    with pytest.raises(StoreError, match="it has features of 20 rows, and predictions of 30"):
        Store.open(many.path)


def test_ids_that_somebody_else_wrote_are_checked_too(path):
    ids = [f"{row}" for row in range(30)]
    ids[20] = "4"
    parquet.write_table(pyarrow.table({"id": ids}), path / "items.parquet")
    data = (path / "items.parquet").read_bytes()
    rewritten(path, items={"file": "items.parquet", "bytes": len(data), "crc32": zlib.crc32(data), "columns": ["id"]})
    with pytest.raises(StoreError, match="the id '4' is repeated, at rows 4 and 20"):
        _ = Store.open(path).ids


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": list(range(30))}, "the column 'id' is of type int64, expected a text in every row"),
        ({"id": ["a", None, *map(str, range(28))]}, "the column 'id' is of type string, expected a text in every row"),
        ({"name": ["a"] * 30}, "the column 'id' is missing, expected a text in every row"),
        ({"id": ["a"] * 1_000_000}, "has 1,000,000 rows, but the predictions have 30"),
        ({"id": pyarrow.array([b"\xef\xf0"] * 30).view(pyarrow.string())}, "Invalid UTF8"),
    ],
)
def test_a_table_that_somebody_else_wrote(path, table, message):
    parquet.write_table(pyarrow.table(table), path / "items.parquet")
    data = (path / "items.parquet").read_bytes()
    rewritten(path, items={"file": "items.parquet", "bytes": len(data), "crc32": zlib.crc32(data), "columns": ["id"]})
    with pytest.raises(StoreError, match=message):
        _ = Store.open(path).ids


def forge_items(path, table, **options):
    parquet.write_table(pyarrow.table(table), path / "items.parquet", **options)
    data = (path / "items.parquet").read_bytes()
    items = {"file": "items.parquet", "bytes": len(data), "crc32": zlib.crc32(data), "columns": list(table)}
    rewritten(path, items=items)


@pytest.mark.parametrize("name", ["id", "text"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_a_table_that_unpacks_to_much_is_refused_before_it_is_read(path, monkeypatch, name, dictionary):
    """Whether every value is in the file, or one value many times."""
    text = "a" * 300_000
    values = [text] * 30 if dictionary else [f"{text}{row}" for row in range(30)]
    forge_items(path, {name: values}, compression="zstd", use_dictionary=dictionary, dictionary_pagesize_limit=2**30)
    assert (path / "items.parquet").stat().st_size < 10_000
    store = Store.open(path)
    assert len(store.items()) == 30
    monkeypatch.setattr(items_module, "TABLE_BYTES", 8 * 10**6)
    held, size = [], items_module._size
    monkeypatch.setattr(items_module, "_size", lambda column: held.append(column.nbytes) or size(column))
    message = r"items.parquet would take 9,\d+,\d+ bytes of memory for 30 rows, expected at most 8,007,680"
    with pytest.raises(StoreError, match=message):
        store.items()
    assert sum(held) < 10**6  # either nothing was read, or the one value


def test_a_table_that_would_not_be_read_again_is_not_written(log_probs, tmp_path, monkeypatch):
    monkeypatch.setattr(items_module, "TABLE_BYTES", 0)
    with pytest.raises(StoreError, match=r"the table of ids and items would take .* bytes of memory for 30 rows"):
        write_store(tmp_path / "store", log_probs, items={"text": ["a" * 500] * 30})
    assert not list(tmp_path.iterdir())


def test_columns_of_all_types_come_back(log_probs, tmp_path):
    columns = {
        "text": pyarrow.array([None, *("ab" * 14), "é"]),
        "large": pyarrow.array(["c"] * 30, pyarrow.large_string()),
        "bytes": pyarrow.array([b"d"] * 30),
        "coded": pyarrow.array(["e"] * 30).dictionary_encode(),
        "list": pyarrow.array([["f"]] * 30),
        "number": pyarrow.array(range(30)),
    }
    table = pyarrow.table(columns)
    assert write_store(tmp_path / "store", log_probs, items=table).items().equals(table)


@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.parametrize("verify", [np.array([True, False]), torch.tensor([True]), "no", None, 1])
def test_whether_to_verify_is_true_or_false(path, verify):
    with pytest.raises(InputError, match=r"verify is .*, expected True or False"):
        Store.open(path, verify=verify)


FORGED = [
    *(-1, 0, 10**18, 2**64, 10**4000, 1.5, True, None, "12", [], {}, [12], "../../etc/passwd", "log_probs-00009"),
    *({"file": "../items.parquet", "bytes": 1, "crc32": 0, "columns": []}, "\x1b[2J", "x" * 10_000),
]


def places(fields, at=()):
    """The way to every part of plain data."""
    yield at
    inside = fields.items() if isinstance(fields, dict) else enumerate(fields) if isinstance(fields, list) else ()
    for name, value in inside:
        yield from places(value, (*at, name))


def test_a_manifest_that_somebody_forged(log_probs, features, tmp_path):
    """Each part of it is replaced or left out, with the checksum that goes with the rest."""
    path = write_store(tmp_path / "store", log_probs, features=features, ids=range(30), about={"a": {"b": 1}}).path
    honest = json.loads((path / "manifest.json").read_text())
    del honest["crc32"]
    opened, longest = set(), 0
    for way in places(honest):
        for forged in [*FORGED, "left out"] if way else []:
            fields = json.loads(json.dumps(honest))
            place = fields
            for name in way[:-1]:
                place = place[name]
            if forged == "left out":
                del place[way[-1]]
            else:
                place[way[-1]] = forged
            text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
            (path / "manifest.json").write_text(json.dumps({**fields, "crc32": zlib.crc32(text.encode())}))
            try:
                store = Store.open(path)
            except StoreError as error:
                longest = max(longest, len(str(error)))
            else:
                opened.add(way[0])
                assert torch.equal(store.parts[0], log_probs)
                assert store.features is None or torch.equal(store.features, features)
                assert store.ids is None or store.ids[1] == "1"
    assert opened == {"made_by", "about", "created", "items", "features"}
    assert longest < 1000


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"version":' * 100_000,
        b'{"version": NaN}',
        b'{"version": 2, "version": 2}',
        b'{"version": %s}' % (b"9" * 5000),
        b'"' + b"x" * 2**20,
        b"\xff\xfe{}",
        b"",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_manifest_that_is_no_json_of_ours(path, text):
    (path / "manifest.json").write_bytes(text)
    with pytest.raises(StoreError, match=r"manifest\.json cannot be read, it may be damaged: ") as refused:
        Store.open(path)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("about", [{"a": float("nan")}, {"a": "\ud800"}, {"a": {1, 2}}, {"a": b"b"}])
def test_what_a_manifest_cannot_hold_is_refused_before_anything_is_written(log_probs, tmp_path, about):
    with pytest.raises(InputError, match="about cannot be stored as JSON"):
        write_store(tmp_path / "store", log_probs, about=about)
    with pytest.raises(InputError, match="about cannot be stored as JSON: a number has more than 4,300 digits"):
        write_store(tmp_path / "store", log_probs, about={"a": 10**5000})
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InputError, match="about cannot be stored as JSON: it is nested without end"):
        write_store(tmp_path / "store", log_probs, about={"a": deep})
    assert not list(tmp_path.iterdir())


def test_numbers_that_somebody_forged(log_probs, features, tmp_path):
    """With the checksums that go with them, they are found by ``check`` alone."""
    for name, message in (("log_probs-00001", "row 12, sample 0 of the predictions"), ("features", "row 0 holds nan")):
        path = write_store(tmp_path / name, log_probs, features=features, rows_per_shard=12).path
        Store.open(path).check()
        with (path / f"{name}.safetensors").open("r+b") as file:
            file.seek(256)
            file.write(b"\xff\xff\xff\x7f")
            file.seek(256)
            crc = zlib.crc32(file.read())
        fields = json.loads((path / "manifest.json").read_text())
        (fields["features"]["shard"] if name == "features" else fields["shards"][1])["crc32"] = [crc]
        rewritten(path, **{key: fields[key] for key in ("features", "shards")})
        store = Store.open(path)
        with pytest.raises(InputError, match=message):
            store.check()


def test_verified_in_little_memory(tmp_path, monkeypatch):
    store = write_store(tmp_path / "store", torch.full((1000, 4, 4), 0.25).log())
    monkeypatch.setattr(manifest, "READ_BYTES", 1000)
    read = []
    crc32 = zlib.crc32
    monkeypatch.setattr(manifest.zlib, "crc32", lambda data, *before: (read.append(len(data)), crc32(data, *before))[1])
    monkeypatch.setattr(mmap, "mmap", None)
    store.verify()
    assert max(read) == 1000
    assert sum(read) == 1000 * 4 * 4 * 4


def test_without_the_extra(path, log_probs, monkeypatch):
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    assert torch.equal(torch.cat(Store.open(path).parts), log_probs)
    write_store(path.with_name("other"), log_probs)
    for use in (
        lambda: Store.open(path).ids,
        lambda: Store.open(path).items(),
        lambda: write_store(path.with_name("third"), log_probs, ids=range(30)),
    ):
        with pytest.raises(MissingExtraError, match=r"pip install 'tonsure\[store\]'"):
            use()


def small_disk(monkeypatch, free):
    monkeypatch.setattr(sealing.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - free, free))


@pytest.mark.parametrize(
    ("given", "more", "needed"),
    [
        (lambda p: p, {}, "2,656"),
        (lambda p: [p[:20], p[20:]], {}, "2,656"),
        (iter, {"rows": 30, "dtype": torch.float16}, "1,456"),
        (lambda p: p.numpy(), {"features": torch.ones(30, 4), "rows_per_shard": 12}, "3,904"),
    ],
)
def test_a_disk_without_room_is_refused_before_anything_is_written(
    log_probs, tmp_path, monkeypatch, given, more, needed
):
    blocks = log_probs.split(10) if given is iter else log_probs
    small_disk(monkeypatch, int(needed.replace(",", "")) - 1)
    monkeypatch.setattr(Path, "mkdir", None)
    with pytest.raises(
        StoreError, match=rf"store: the disk is full; the store needs {needed} bytes, and [\d,]+ are free"
    ):
        write_store(tmp_path / "store", given(blocks), **more)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    small_disk(monkeypatch, int(needed.replace(",", "")))
    store = write_store(tmp_path / "store", given(blocks), **more)
    assert sum(path.stat().st_size for path in store.path.glob("*.safetensors")) == int(needed.replace(",", ""))


def test_blocks_of_another_number_of_rows(log_probs, tmp_path):
    with pytest.raises(InputError, match="the blocks have 30 rows, expected rows=31"):
        write_store(tmp_path / "store", iter(log_probs.split(7)), rows=31)
    assert list(tmp_path.iterdir()) == []


def test_the_size_of_blocks_without_an_end_is_not_known(log_probs, tmp_path, monkeypatch):
    monkeypatch.setattr(sealing, "sync", full)
    with pytest.raises(
        StoreError, match=r"the store needs an unknown number of bytes, and [\d,]+ are free\. Make room: "
    ):
        write_store(tmp_path / "store", iter(log_probs.split(7)))
    assert list(tmp_path.iterdir()) == []


def test_of_two_processes_that_write_a_store_one_is_refused(log_probs, tmp_path):
    def blocks():
        yield log_probs[:10]
        write_store(tmp_path / "store", log_probs.half())
        yield log_probs[10:]

    with pytest.raises(StoreError, match="store exists already; a store is never overwritten"):
        write_store(tmp_path / "store", blocks())
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert Store.open(tmp_path / "store").dtype == torch.float16


def test_what_a_killed_process_left_is_named_and_removed(log_probs, tmp_path, caplog):
    """A name that begins alike, a folder of a living process and its lock stay."""
    with unfinished(tmp_path / "store") as left, unfinished(tmp_path / "store") as alive:
        for folder in (left, alive):
            folder.mkdir()
            (folder / "log_probs-00000.safetensors").write_bytes(bytes(1000))
        shutil.copytree(left, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    left = left.with_name(f"{left.name[:-8]}01234567")
    (tmp_path / "copy").rename(left)
    other = tmp_path / left.name.replace("store", "store2")
    other.mkdir()
    alone = left.with_name(f"{left.name[:-8]}76543210.lock")  # the process was killed before it made the folder
    alone.touch()
    with unfinished(tmp_path / "store") as alive:
        alive.mkdir()
        write_store(tmp_path / "store", log_probs)
        assert f"{left}: a process that was killed had left 1,000 bytes, which are removed" in caplog.text
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"store", alive.name, f"{alive.name}.lock", other.name}
    assert {path.name for path in tmp_path.iterdir()} == {"store", other.name}
    alone.touch()  # this one was killed after the store was in its place
    with pytest.raises(StoreError, match="exists already"):
        write_store(tmp_path / "store", log_probs)
    assert {path.name for path in tmp_path.iterdir()} == {"store", other.name}


def test_a_full_disk_leaves_no_store(log_probs, tmp_path, monkeypatch):
    monkeypatch.setattr(sealing, "sync", full)
    with pytest.raises(StoreError, match=r"the disk is full; the store needs 2,656 bytes.*starts again"):
        write_store(tmp_path / "store", log_probs)
    assert list(tmp_path.iterdir()) == []


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


LAYOUT = Layout.of(30, 5, 4, torch.float16, rows_per_shard=12)


def test_blocks_of_several_processes_in_any_order(log_probs, tmp_path):
    """Whoever writes a block, one process records it."""
    with Draft(tmp_path / "store", LAYOUT, {"of": "a test"}) as draft:
        entries = [
            write_block(tmp_path / "store", LAYOUT, row, sample, log_probs[row : row + 7, sample : sample + 2])
            for sample in (4, 2, 0)
            for row in range(28, -1, -7)
        ]
        assert not draft.finished(entries[0].place)
        for entry in entries:
            draft.record(entry)
        assert draft.finished(entries[0].place)
        store = draft.finish()
    assert torch.equal(torch.cat(store.parts), log_probs.half())
    assert store.manifest.made_by["of"] == "a test"
    assert sorted(file.name for file in store.path.iterdir())[-1] == "manifest.json"
    assert len(list(store.path.iterdir())) == 4
    store.verify()


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([(0, 30, 0, 4)], "rows from 0 on of sample 4 are not written"),
        ([(0, 29, 0, 5)], "rows from 29 on of sample 0 are not written"),
        ([(9, 30, 2, 5)], "rows from 0 on of sample 0 are not written"),
        ([(0, 30, 0, 2), (0, 9, 2, 5), (10, 30, 2, 5)], "rows from 9 on of sample 2 are not written"),
    ],
)
def test_a_draft_with_a_hole_is_no_store(log_probs, tmp_path, blocks, message):
    with Draft(tmp_path / "store", LAYOUT, {}) as draft:
        for first_row, end, first_sample, last in blocks:
            draft.write(first_row, first_sample, log_probs[first_row:end, first_sample:last])
        with pytest.raises(StoreError, match=message):
            draft.finish()
    with pytest.raises(StoreError, match="was not finished"):
        Store.open(tmp_path / "store")


def test_a_block_that_was_written_but_is_not_there_does_not_count(log_probs, tmp_path):
    places = [Place(0, 15, 0, 5), Place(15, 15, 0, 5)]
    with Draft(tmp_path / "store", LAYOUT, {}) as draft:
        for place in places:
            draft.write(place.first_row, 0, log_probs[place.first_row :][:15])
    flip(tmp_path / "store" / "log_probs-00002.safetensors", 300)
    with Draft(tmp_path / "store", LAYOUT, {}) as draft:
        assert [draft.finished(place) for place in places] == [True, False]
        with pytest.raises(StoreError, match="rows from 15 on of sample 0"):
            draft.finish()
        draft.write(15, 0, log_probs[15:])
        assert torch.equal(torch.cat(draft.finish().parts), log_probs.half())


def test_a_draft_with_features(log_probs, features, tmp_path):
    layout = FeatureLayout.of(30, 7, torch.float32)
    with Draft(tmp_path / "store", LAYOUT, {}, layout) as draft:
        assert draft.total_bytes == LAYOUT.total_bytes + 256 + 30 * 28
        draft.write(0, 0, log_probs)
        draft.write_features(20, features[20:])
        draft.write_features(0, features[:11])
        with pytest.raises(StoreError, match="features of rows from 11 on are not written"):
            draft.finish()
        for row, block in ((28, features[:3]), (0, features[:, :3])):
            with pytest.raises(InputError, match="does not fit into FeatureLayout"):
                draft.write_features(row, block)
    flip(tmp_path / "store" / "features.safetensors", 256 + 25 * 28)
    places = [FeaturePlace(0, 11), FeaturePlace(20, 10), FeaturePlace(11, 9)]
    with pytest.raises(StoreError, match=r"features is \{'N': 30, .*\}, this call has None"):
        Draft(tmp_path / "store", LAYOUT, {})
    with Draft(tmp_path / "store", LAYOUT, {}, layout) as draft:
        assert [draft.finished(place) for place in places] == [True, False, False]
        assert torch.equal(draft.read(places[0]), features[:11])
        draft.write_features(11, features[11:])
        assert torch.equal(draft.finish().features, features)


def test_a_torn_line_does_not_swallow_the_next(log_probs, tmp_path):
    """Killed twice, the second time after more was written."""
    for part in (0, 1):
        with Draft(tmp_path / "store", LAYOUT, {}) as draft:
            draft.write(15 * part, 0, log_probs[15 * part :][:15])
        with (tmp_path / "store" / "journal.jsonl").open("a") as file:
            file.write('{"first_row": 0, "ro')
    with Draft(tmp_path / "store", LAYOUT, {}) as draft:
        assert torch.equal(torch.cat(draft.finish().parts), log_probs.half())


@pytest.mark.parametrize(
    ("layout", "fingerprint", "message"),
    [
        (Layout.of(30, 5, 5, torch.float16, 12), {"model": "a"}, "C is 4, this call has 5"),
        (Layout.of(30, 5, 4, torch.float32, 12), {"model": "a"}, "dtype is float16, this call has float32"),
        (LAYOUT, {"model": "b"}, "model is a, this call has b"),
    ],
)
def test_another_draft_is_left_alone(tmp_path, layout, fingerprint, message):
    with Draft(tmp_path / "store", LAYOUT, {"model": "a"}):
        pass
    before = {file.name: file.read_bytes() for file in (tmp_path / "store").iterdir()}
    with pytest.raises(StoreError, match=message):
        Draft(tmp_path / "store", layout, fingerprint)
    assert {file.name: file.read_bytes() for file in (tmp_path / "store").iterdir()} == before


def test_one_process_at_a_time(tmp_path):
    with Draft(tmp_path / "store", LAYOUT, {}), pytest.raises(StoreError, match="being written by another process"):
        Draft(tmp_path / "store", LAYOUT, {})
    with Draft(tmp_path / "store", LAYOUT, {}):
        pass


def test_places_that_are_taken(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"holds other files, such as notes\.txt"):
        Draft(tmp_path, LAYOUT, {})
    with pytest.raises(StoreError, match="is a file, expected a folder"):
        Draft(tmp_path / "notes.txt", LAYOUT, {})
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "journal.jsonl").write_text("{\n{}\n")
    with pytest.raises(StoreError, match=r"journal\.jsonl is damaged in its first line: expected a JSON"):
        Draft(tmp_path, LAYOUT, {})


def test_blocks_that_do_not_fit(log_probs, tmp_path):
    with Draft(tmp_path / "store", LAYOUT, {}) as draft:
        for first_row, first_sample, block in ((1, 0, log_probs), (0, 1, log_probs), (0, 0, log_probs[:, :, :3])):
            with pytest.raises(InputError, match="does not fit into"):
                draft.write(first_row, first_sample, block)


def test_room_is_taken_where_the_system_cannot_be_asked_for_it(log_probs, tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    with Draft(tmp_path / "store", LAYOUT, {}) as draft:
        draft.write(0, 0, log_probs[:20])
    with Draft(tmp_path / "store", LAYOUT, {}) as draft:
        sizes = [(tmp_path / "store" / span.file).stat().st_size for span in LAYOUT.spans()]
        assert sizes == [256 + 40 * 12, 256 + 40 * 12, 256 + 40 * 6]
        draft.write(20, 0, log_probs[20:])
        assert torch.equal(torch.cat(draft.finish().parts), log_probs.half())


def test_a_journal_that_somebody_forged(log_probs, tmp_path):
    with Draft(tmp_path / "store", LAYOUT, {}) as draft:
        draft.write(0, 0, log_probs[:20])
    journal = tmp_path / "store" / "journal.jsonl"
    honest = journal.read_bytes()
    block = json.loads(honest.splitlines()[1])
    forged = [{}, {"crc32": 1}, {"first_row": 0, "rows": 1, "crc32": 1}, block | {"more": 1}, block | {"first_row": 11}]
    forged += [block | {name: value} for name in block for value in (-1, 10**18, 1.0, True, None, "1", [1], 10**4000)]
    forged += [block | {name: 0} for name in ("rows", "samples")]
    for line in forged:
        journal.write_bytes(honest + json.dumps(line).encode() + b"\n")
        with pytest.raises(StoreError, match=r"journal\.jsonl, line 3 is .*, expected a block of the store") as refused:
            Draft(tmp_path / "store", LAYOUT, {})
        assert len(str(refused.value)) < 500
    journal.write_bytes(honest)
    with Draft(tmp_path / "store", LAYOUT, {}) as draft:
        assert draft.finished(Place(0, 20, 0, 5))


def test_a_disk_too_small_is_found_at_once(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(StoreError, match=r"the disk is full; the store needs 1,968 bytes.*continues from here"):
            Draft(tmp_path / "store", LAYOUT, {})
    assert list((tmp_path / "store").glob("*.safetensors")) == []
    with Draft(tmp_path / "store", LAYOUT, {}):
        pass


def test_a_place_where_no_file_can_be_made_is_said(log_probs, tmp_path, monkeypatch):
    """As in /proc, where the system says that there is no such file."""
    touch = Path.touch

    def refuse(path, *arguments, **more):
        if path.name.endswith(".lock"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        touch(path, *arguments, **more)

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(StoreError, match=r"store: it cannot be written: .*No such file or directory"):
        write_store(tmp_path / "store", log_probs)


def test_a_folder_that_is_forbidden(log_probs, tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", forbidden)
    for write in (lambda: Draft(tmp_path / "store", LAYOUT, {}), lambda: write_store(tmp_path / "store", log_probs)):
        with pytest.raises(StoreError, match=r"store: it cannot be written: .*Permission denied"):
            write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"a", "b"}, "expected one name for each row, a text or a whole number, in the order of the rows"),
        (torch.arange(2), "the id of row 0 is a Tensor of torch.int64"),
        (np.ma.masked_array([1, 2], [False, True]), "the id of row 1 is a MaskedConstant"),
        (np.array([1, np.nan]), "the id of row 0 is a float64"),
        ([b"a", "b"], "the id of row 0 is b'a', expected a text or a whole number"),
        (["a", None], "the id of row 1 is None"),
        (["a", True], "the id of row 1 is True"),
        (["a", ("b",)], r"the id of row 1 is \('b',\)"),
        (["a", 10**5000], "the id of row 1 is a"),
        (["a", ""], "the id of row 1, '', is empty"),
        (["a", " y "], "the id of row 1, ' y ', has blanks"),
        (["a", "b\u200b"], "the id of row 1, .* has blanks, or characters that nobody sees"),
        (["a", "\ufeffb"], "the id of row 1, .* has blanks, or characters that nobody sees"),
        (["a", "b\0c"], "the id of row 1, .* is no text"),
        (["a", "b\ud800c"], "the id of row 1, .* is no text"),
        (iter(lambda: 1 / 0, 1), "which cannot be read"),
    ],
    ids=range(16),
)
def test_ids_that_are_no_names(tmp_path, ids, message):
    """By the rule of files of ids."""
    log_probs = torch.zeros(2, 2, 3).log_softmax(-1)
    with pytest.raises(InputError, match=message):
        write_store(tmp_path / "store", log_probs, ids=ids)
    assert not list(tmp_path.iterdir())


def test_names_that_are_kept(tmp_path):
    log_probs = torch.zeros(4, 2, 3).log_softmax(-1)
    for number, ids in enumerate(
        ([1, "b", Path("c"), "d e"], np.arange(4), np.array(list("abcd")), dict.fromkeys("abcd"))
    ):
        names = list(ids)
        if isinstance(ids, dict):
            ids = ids.keys()
        assert write_store(tmp_path / f"{number}", log_probs, ids=ids).ids == [str(name) for name in names]


def broken_places(folder):
    (folder / "file").touch()
    (folder / "dangling").symlink_to("nothing")
    (folder / "loop").symlink_to("loop")
    return {
        "file": "is a file, expected a folder or nothing",
        "file/store": "cannot be written: ",
        "dangling": "it is a link to nothing, which is not there",
        "loop": "it is a link to loop",
        "none/../store": "there is no folder .*none",
        "a" * 300: "cannot be written: ",
    }


def test_a_place_where_no_store_can_be_is_refused_before_the_work(tmp_path):
    class Unused(tn.BayesianModel):
        samples = 2
        fit = members = None

    places = broken_places(tmp_path)
    before = sorted(tmp_path.iterdir())
    for name, message in places.items():
        with pytest.raises(StoreError, match=message):
            tn.predict(Unused(), torch.ones(3, 2), out=tmp_path / name)
        with pytest.raises(StoreError, match=message):
            write_store(tmp_path / name, (None for _ in range(3)))
    for call in (lambda path: tn.predict(Unused(), torch.ones(3, 2), out=path), lambda path: write_store(path, [])):
        with pytest.raises(InputError, match="expected a path"):
            call("a\ud800")
    assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_table_of_items_is_not_parsed_even_without_verify(tmp_path):
    """A library that parses it may end the whole process."""
    store = write_store(tmp_path / "store", torch.full((4, 2, 2), 0.5).log(), ids=["a", "b", "c", "d"])
    path = store.path / "items.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    path.write_bytes(damaged)
    opened = Store.open(store.path, verify=False)
    for read in (lambda: opened.ids, opened.items):
        with pytest.raises(StoreError, match=r"items.parquet is damaged: its checksum is"):
            read()
