import os

import pytest

from tonsure import durable_files
from tonsure.durable_files import append_json_line, read_json_lines, remove_partial, write_file


def test_new_content_replaces_old(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    places = []
    write_file(path, lambda partial: (places.append(partial), partial.write_text("new")))
    assert path.read_text() == "new"
    assert places[0].parent == tmp_path
    assert places[0].suffix == ".csv"
    assert list(tmp_path.iterdir()) == [path]


def test_old_file_stays_until_new_one_is_complete(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def half(partial):
        partial.write_text("ne")
        assert path.read_text() == "old"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_is_on_disk_before_it_is_renamed_and_folder_after(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    synced = []
    monkeypatch.setattr(durable_files, "sync", lambda place: synced.append((place.name, path.exists())))
    write_file(path, lambda partial: partial.write_text("new"))
    folder = [(tmp_path.name, True)] if os.name == "posix" else []
    assert synced == [(f".partial-{os.getpid()}-table.csv", False), *folder]


def test_partial_files_of_killed_processes_are_removed(tmp_path):
    (tmp_path / ".partial-1-table.csv").touch()
    (tmp_path / "table.csv").touch()
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "table.csv"]


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "none" / "table.csv", lambda partial: partial.write_text("new"))


def test_missing_file_has_no_lines(tmp_path):
    assert read_json_lines(tmp_path / "lines.jsonl") == ([], 0, None)


def test_lines_come_back(tmp_path):
    path = tmp_path / "lines.jsonl"
    lines = [{"a": 1}, {"b": "é\n\r\u2028"}, {}]
    for number, line in enumerate(lines):
        append_json_line(path, line, wait=bool(number % 2))
    assert read_json_lines(path) == (lines, path.stat().st_size, None)


@pytest.mark.parametrize("torn", [b"{", b'{"b": 2}', b"\xff", b"\r", b"x" * 10_000])
@pytest.mark.parametrize("before", [b"", b'{"a":1}\n'])
def test_torn_last_line_is_ignored_and_replaced(tmp_path, torn, before):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(before + torn)
    objects = [{"a": 1}] if before else []
    assert read_json_lines(path) == (objects, len(before), None)
    append_json_line(path, {"c": 3})
    assert path.read_bytes() == before + b'{"c":3}\n'


@pytest.mark.parametrize("damaged", [b"{", b"[1]", b"", b"\xff\xfe", b"\r"])
def test_first_damaged_line_ends_the_objects(tmp_path, damaged):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a": 1}\n' + damaged + b'\n{"b": 2}\n')
    objects, length, found = read_json_lines(path)
    assert (objects, length, found.number) == ([{"a": 1}], 9, 2)
    assert found.reason.startswith("expected a JSON object")
    assert found.reason.endswith(f"found {damaged.rstrip()!r}")


def test_rejected_line_changes_nothing(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_json_line(tmp_path / "lines.jsonl", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []
