import json

import pytest

from tonsure import durable_files
from tonsure.errors import RecordError
from tonsure.experiments.records import append_record, is_name, read_records

HEADER = {
    "kind": "experiment",
    "experiment": "toy",
    "method": "LBB",
    "methods": ["LBB"],
    "seed": 0,
    "text": "name = 'toy'\n",
}
ROUND = {
    "kind": "round",
    "round": 0,
    "labeled": 10,
    "metrics": {"accuracy": 0.5, "negative_log_likelihood": None},
    "rows": [4, 2],
    "labels": [0, 1],
    "gains": [0.5, -0.25],
    "positive": 1,
    "seconds": {"fit": 1.5, "select": None},
    "peak_memory": 2**30,
    "warnings": ["é\n\r"],
}
NEXT = ROUND | {"round": 1, "labeled": 12}


def write(path, *records):
    path.write_bytes(b"".join(record if isinstance(record, bytes) else line(record) for record in records))
    return path


def line(record):
    return json.dumps(record).encode() + b"\n"


def test_what_is_appended_is_read(tmp_path):
    path = tmp_path / "folder" / "records.jsonl"
    assert read_records(path) == []
    for record in (HEADER, ROUND, NEXT | {"of_later": [1]}):
        append_record(path, record)
    assert read_records(path) == [HEADER, ROUND, NEXT | {"of_later": [1]}]


@pytest.mark.parametrize("torn", [b"{", b'{"b": 2}', b"\xff"])
def test_a_torn_last_line_is_dropped_and_replaced(tmp_path, torn):
    path = tmp_path / "records.jsonl"
    append_record(path, HEADER)
    path.write_bytes(path.read_bytes() + torn)
    assert read_records(path) == [HEADER]
    append_record(path, ROUND)
    assert read_records(path) == [HEADER, ROUND]


@pytest.mark.parametrize(
    "damaged",
    [
        b"{",
        b"[1]",
        b"",
        b"\xff\xfe",
        line(ROUND).replace(b"0.5", b"NaN", 1),
        line(ROUND).replace(b"0.5", b"1e999", 1),
        line(ROUND).replace(b"10", b"9" * 5000, 1),
        line(ROUND).replace(b'"round": 0', b'"round": 0, "round": 0'),
        line(ROUND | {"warnings": ["\ud800"]}),
        line({"kind": "round"}).replace(b'"round"', b"[" * 100_000),
        b'{"kind": ' * 100_000,
    ],
    ids=lambda damaged: repr(damaged[:20]),
)
def test_a_damaged_line_is_named(tmp_path, damaged):
    path = write(tmp_path / "records.jsonl", HEADER, damaged.rstrip(b"\n") + b"\n", NEXT)
    with pytest.raises(RecordError, match=r"records\.jsonl, line 2 is damaged") as refused:
        read_records(path)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "forged", [-1, 2**63, 10**4000, 0.5, True, None, "1", [], {}], ids=lambda forged: repr(forged)[:9]
)
@pytest.mark.parametrize(
    "name", ["seed", "k", "batch", "round", "labeled", "peak_memory", "positive", "rows", "labels", "accuracy", "fit"]
)
def test_what_is_no_number_of_its_kind_is_refused(tmp_path, name, forged):
    header, record = dict(HEADER), json.loads(json.dumps(ROUND))
    place = {"accuracy": record["metrics"], "fit": record["seconds"]}.get(name, record)
    place = header if name in ("seed", "k", "batch") else place
    place[name] = [forged] * 2 if name in ("rows", "labels") else forged
    path = write(tmp_path / "records.jsonl", header, record)
    kept = {"accuracy": [0.5], "fit": [-1, 0.5, None], "peak_memory": [None]}.get(name, [])
    if type(forged) in map(type, kept) and forged in kept:
        assert read_records(path)
        return
    with pytest.raises(RecordError, match=r"records\.jsonl, line [12]: (expected .* as|the )") as refused:
        read_records(path)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"accuracy": 1.01}}, "accuracy from 0 to 1"),
        ({"metrics": {}}, "accuracy from 0 to 1"),
        ({"metrics": {"negative_log_likelihood": 1.0}}, "accuracy from 0 to 1"),
        ({"metrics": {"accuracy": 0.5, "loss": "0"}}, "numbers by name"),
        ({"gains": [None]}, "a list of numbers as gains"),
        ({"warnings": "none"}, "a list of texts as warnings"),
        ({"labels": [0]}, r"1 labels for the rows \[4, 2\]"),
        ({"rows": 2}, "2 labels for the rows 2"),
        ({"round": 1}, "expected round 0, found round 1"),
        ({"kind": ["round"]}, r"expected a round, of kind 'round', found kind \['round'\]"),
    ],
)
def test_a_record_that_run_does_not_write_is_refused(tmp_path, changes, message):
    with pytest.raises(RecordError, match=rf"records\.jsonl, line 2: .*{message}"):
        read_records(write(tmp_path / "records.jsonl", HEADER, ROUND | changes))


def test_a_round_before_the_first_labels_has_no_metrics(tmp_path):
    unmeasured = ROUND | {"labeled": 0, "metrics": {}}
    assert read_records(write(tmp_path / "records.jsonl", HEADER, unmeasured, NEXT))[1] == unmeasured


def test_numbers_of_labels_grow(tmp_path):
    with pytest.raises(RecordError, match="line 3: there are 10 labels, after 10 before"):
        read_records(write(tmp_path / "records.jsonl", HEADER, ROUND, NEXT | {"labeled": 10}))


@pytest.mark.parametrize(
    "changes",
    [{"method": 1}, {"methods": "LBB"}, {"methods": [1]}, {"text": None}, {"data": 1}, {"versions": {"a": 1}}],
)
def test_a_header_that_run_does_not_write_is_refused(tmp_path, changes):
    with pytest.raises(RecordError, match=rf"records\.jsonl, line 1: expected .* as {next(iter(changes))}"):
        read_records(write(tmp_path / "records.jsonl", HEADER | changes))


def test_a_line_without_an_end_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(durable_files, "JSON_BYTES", 1000)
    with pytest.raises(RecordError, match=r"line 2 is damaged: .*more than 1,000 bytes"):
        read_records(write(tmp_path / "records.jsonl", HEADER, b"0" * 2000))
    assert read_records(write(tmp_path / "records.jsonl", HEADER, b"0" * 500)) == [HEADER]  # torn


def test_brackets_in_texts_are_letters():
    assert durable_files.parse_json(b'["' + b"[" * 1000 + b'", "\\"[[["]') == ["[" * 1000, '"[[[']
    assert durable_files.parse_json(b"[" * 64 + b"]" * 64)
    with pytest.raises(ValueError, match="more than 64 are within each other"):
        durable_files.parse_json(b"[" * 65 + b"]" * 65)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "/a", "a\0b", "a\nb", "a" * 201, "é" * 101, "\ud800", 3]
)
def test_names_that_name_no_file(name):
    assert not is_name(name)
    assert is_name("BALD@PowerSample(beta=3)")


def test_a_number_that_json_has_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_record(tmp_path / "records.jsonl", {"a": float("nan")})
