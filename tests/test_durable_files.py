import errno
import os
import pickle
import re
from pathlib import Path

import pytest

from tonsure import FileError, durable_files
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
    assert re.fullmatch(r"\.partial-[0-9a-f]{8}-table\.csv", synced[0][0])
    assert [synced[0][1], *synced[1:]] == [False, *folder]


def test_partial_files_of_killed_processes_are_removed(tmp_path):
    (tmp_path / ".partial-1-table.csv").touch()
    (tmp_path / "table.csv").touch()
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "table.csv"]


@pytest.mark.parametrize("name", ["table[1].csv", "long" * 30 + ".csv"])
def test_partial_files_of_one_name_are_removed(tmp_path, monkeypatch, name):
    others = [".partial-01234567-x-table[1].csv", ".partial-01234567-table1.csv"]
    for other in others:
        (tmp_path / other).touch()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # as a process that is killed
        with pytest.raises(ZeroDivisionError):
            write_file(tmp_path / name, lambda partial: (partial.touch(), 1 / 0))
    assert len(list(tmp_path.iterdir())) == 3
    remove_partial(tmp_path, name)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def links(folder):
    """Names that cannot be written, with the reason."""
    (folder / "loop.csv").symlink_to(folder / "other.csv")
    (folder / "other.csv").symlink_to(folder / "loop.csv")
    (folder / "folder.csv").mkdir()
    (folder / "to_folder.csv").symlink_to(folder / "folder.csv")
    (folder / "to_nowhere.csv").symlink_to(folder / "none" / "table.csv")
    (folder / "full.csv").symlink_to("/dev/full")
    os.mkfifo(folder / "pipe.csv")
    return {
        "loop.csv": "Too many levels of symbolic links",
        "folder.csv": "it is a folder, expected a file",
        "to_folder.csv": "it is a folder, expected a file",
        "to_nowhere.csv": "there is no folder ",
        "none/table.csv": "there is no folder ",
        "loop.csv/table.csv": "there is no folder ",
        "full.csv": "it is a device or a pipe, expected a file",
        "pipe.csv": "it is a device or a pipe, expected a file",
        "x" * 300 + ".csv": "File name too long",
    }


@pytest.mark.skipif(os.name != "posix", reason="needs links and pipes")
def test_what_is_no_file_is_refused_and_stays(tmp_path):
    cases = links(tmp_path)
    before = {path: path.lstat()[:7] for path in tmp_path.iterdir()}
    for name, reason in cases.items():
        with pytest.raises(FileError, match=f"{re.escape(name)} cannot be written: {reason}"):
            write_file(tmp_path / name, lambda partial: partial.write_text("new"))
    assert {path: path.lstat()[:7] for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(os.name != "posix", reason="needs links")
@pytest.mark.parametrize("exists", [True, False])
def test_the_file_behind_a_link_is_written_and_the_link_stays(tmp_path, exists):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.csv").symlink_to("second.csv")
    (tmp_path / "second.csv").symlink_to("folder/table.csv")
    if exists:
        (tmp_path / "folder" / "table.csv").write_text("old")
    write_file(tmp_path / "link.csv", lambda partial: partial.write_text("new"))
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "second.csv").is_symlink()
    assert (tmp_path / "folder" / "table.csv").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "link.csv", "second.csv", "table.csv"]


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_a_private_file_stays_private(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    path.chmod(0o600)
    write_file(path, lambda partial: partial.write_text("new"))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / f"{'é' * 125}.csv"
    write_file(path, lambda partial: partial.write_text("new"))
    assert path.read_text() == "new"


@pytest.mark.parametrize("read_only", ["table.csv", ""])
def test_what_is_read_only_is_not_replaced(tmp_path, monkeypatch, read_only):
    path = tmp_path / "table.csv"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path / read_only)
    with pytest.raises(FileError, match="is read-only"):
        write_file(path, lambda partial: partial.write_text("new"))
    assert path.read_text() == "old"


def fail(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("broken", ["os.fsync", "pathlib.Path.write_text", "pathlib.Path.replace"])
def test_on_a_full_disk_the_old_file_stays(tmp_path, monkeypatch, broken):
    path = tmp_path / "table.csv"
    path.write_text("old")
    monkeypatch.setattr(broken, fail)
    with pytest.raises(FileError, match=r"table\.csv cannot be written: No space left on device") as caught:
        write_file(path, lambda partial: partial.write_text("new"))
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_line_that_does_not_fit_is_an_error_and_the_lines_before_it_stay(tmp_path, monkeypatch):
    path = tmp_path / "lines.jsonl"
    append_json_line(path, {"a": 1})
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fail)
        with pytest.raises(FileError, match=r"lines\.jsonl cannot be written: No space left on device"):
            append_json_line(path, {"b": 2})
    assert read_json_lines(path).objects[0] == {"a": 1}
    for place in (tmp_path, tmp_path / "none" / "lines.jsonl", tmp_path / ("x" * 300)):
        with pytest.raises(FileError, match="cannot be written"):
            append_json_line(place, {"b": 2})
    for place in (tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(FileError, match="cannot be read"):
            read_json_lines(place)


def test_an_error_of_a_file_comes_back_from_another_process():
    error = pickle.loads(pickle.dumps(FileError("x.csv cannot be written: full", errno.ENOSPC)))
    assert (str(error), error.errno) == ("x.csv cannot be written: full", errno.ENOSPC)


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


def test_a_number_of_too_many_digits_is_said_in_few():
    with pytest.raises(ValueError, match=r"the number 1{40}… has 5,000 digits, expected at most 4,300") as caught:
        durable_files.parse_json_object(b'{"row": ' + b"1" * 5000 + b"}")
    assert len(str(caught.value)) < 300
