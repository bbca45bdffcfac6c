import pytest

from tonsure.errors import RecordError
from tonsure.experiments.records import append_record, read_records


def test_what_is_appended_is_read(tmp_path):
    path = tmp_path / "folder" / "records.jsonl"
    assert read_records(path) == []
    for record in ({"a": 1}, {"b": "é\n\r"}, {}):
        append_record(path, record)
    assert read_records(path) == [{"a": 1}, {"b": "é\n\r"}, {}]


@pytest.mark.parametrize("torn", [b"{", b'{"b": 2}', b"\xff"])
def test_a_torn_last_line_is_dropped_and_replaced(tmp_path, torn):
    path = tmp_path / "records.jsonl"
    append_record(path, {"a": 1})
    path.write_bytes(path.read_bytes() + torn)
    assert read_records(path) == [{"a": 1}]
    append_record(path, {"c": 3})
    assert read_records(path) == [{"a": 1}, {"c": 3}]


@pytest.mark.parametrize("damaged", [b"{", b"[1]", b"", b"\xff\xfe"])
def test_a_damaged_line_is_named(tmp_path, damaged):
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"a": 1}\n' + damaged + b'\n{"b": 2}\n')
    with pytest.raises(RecordError, match=r"records\.jsonl, line 2 is damaged"):
        read_records(path)


def test_a_number_that_json_has_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_record(tmp_path / "records.jsonl", {"a": float("nan")})
