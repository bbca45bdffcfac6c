"""Ids, rows and labels from text files: read strictly, and refused with the number of the line."""

import csv
import io
import json

import pytest

from tonsure import FileError, InputError
from tonsure.cli.row_files import _csv, read_ids, read_labels, read_rows

ODD = ["a\u2028b", "a\u2029b", "a\x85b", "a\x0bb", "a\x0cb", "a\x1cb", "a\x1db", "a\x1eb", "a\tb", "a;b", "=1+1", "é"]
"""Ids that hold what other readers take for the end of a line, and others that must stay as they are."""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["ids", "ids.txt", "ids.TXT", "ids.csv", "ids.CSV", "ids.jsonl"])
def test_only_the_ends_of_lines_of_the_standard_end_lines(tmp_path, end, last, start, name):
    kind = name.lower()
    lines = [json.dumps({"id": one, "n": 1}, ensure_ascii=False) if kind == "ids.jsonl" else one for one in ODD]
    header = ["id"] if kind == "ids.csv" else []
    (tmp_path / name).write_bytes((start + end.join([*header, *lines]) + end * last).encode())
    assert read_ids(tmp_path / name, None, len(ODD)) == ODD
    assert read_rows([tmp_path / name], ODD[::-1], len(ODD)) == list(range(len(ODD)))[::-1]


def test_tables_with_tabs_and_quotes(tmp_path):
    (tmp_path / "ids.tsv").write_text('id\tnote\na, b\t"two\nlines"\n"c ""d"""\t\n')
    assert read_ids(tmp_path / "ids.tsv", None, 2) == ["a, b", 'c "d"']
    (tmp_path / "ids.jsonl").write_text('{"id": 7}\n{"id": "x"}\n')
    assert read_ids(tmp_path / "ids.jsonl", None, 2) == ["7", "x"]


def test_other_columns_may_hold_documents(tmp_path):
    limit = csv.field_size_limit()
    (tmp_path / "ids.csv").write_text(f"id,text\na,{'x' * 200_000}\nb, \0\n")
    assert read_ids(tmp_path / "ids.csv", None, 2) == ["a", "b"]
    assert csv.field_size_limit() == limit


BAD_IDS = [
    ("ids.txt", b"a\n\nc\n", "line 2: the id '' is empty"),
    ("ids.txt", b"a\nb\n\n", "line 3: the id '' is empty"),
    ("ids.txt", b"a\nb \nc\n", "line 2: the id 'b ' has blanks, or characters that nobody sees, around it"),
    ("ids.txt", b"a\n\tb\nc\n", "line 2: the id '\\tb' has blanks"),
    ("ids.txt", b"a\nb\0\nc\n", "line 2: the id 'b\\x00' has blanks"),
    ("ids.txt", "a\n\ufeffb\nc\n".encode(), "line 2: the id '\\ufeffb'"),
    ("ids.txt", "a\nb\u200b\nc\n".encode(), "line 2: the id 'b\\u200b' has blanks, or characters that nobody sees"),
    ("ids.txt", b"a\nb\0c\nd\n", "line 2: the id 'b\\x00c' is no text"),
    ("ids.txt", b'a\n{"id": "b"}\nc\n', "line 2: expected one id or row per line, found a JSON object"),
    (".csv", b"id\na\nb\nc\n", "expected .txt with one id or row per line, or a table"),
    (".JSONL", b"a\nb\nc\n", "expected .txt with one id or row per line, or a table"),
    ("ids.txt", b"a\nb\na\n", "line 3: the id 'a' is there already, in "),
    ("ids.txt", b"a\nb\n", "names 2 items, but the predictions have 3 rows"),
    ("ids.txt", b"", "names 0 items, but the predictions have 3 rows"),
    ("ids.txt", b"a\r\nb\r\n\xe9\r\n", "line 3: expected UTF-8, found the byte 0xe9"),
    ("ids.txt", "a\nb\nc\n".encode("utf-16"), "line 1: expected UTF-8, found the byte 0xff"),
    ("ids.txt", "a\nb\nc\n".encode("utf-16-le"), "line 1: the id 'a\\x00' has blanks"),
    ("ids.csv", b"id,label\na,0\nb\nc,1\n", "line 3: expected 2 values, as in the header, found 1 values"),
    ("ids.csv", b"id,label\na,0\nb,1,2\nc,1\n", "line 3: expected 2 values, as in the header, found 3 values"),
    ("ids.csv", b"id,label\na,0\n\nc,1\n", "line 3: expected 2 values, as in the header, found an empty line"),
    ("ids.csv", b'id,label\n"a\nb",0\nc\n', "line 4: expected 2 values"),
    ("ids.csv", b'id,label\na,0\n"b,1\nc,1\n', "line 3: unexpected end of data"),
    ("ids.csv", b'id,label\na,0\n"b"x,1\nc,1\n', "line 3: "),
    ("ids.csv", b"id;label\na;0\nb;1\nc;1\n", "line 1: the columns are separated by ';', expected ','"),
    ("ids.csv", b"id\tlabel\na\t0\nb\t1\nc\t1\n", "line 1: the columns are separated by '\\t', expected ','"),
    ("ids.tsv", b"id,label\na,0\nb,1\nc,1\n", "line 1: the columns are separated by ',', expected '\\t'"),
    ("ids.csv", b"id,id\na,0\nb,1\nc,1\n", "line 1: the header names the column 'id' twice"),
    ("ids.csv", b"", "has the columns (none); choose one with --ids-column"),
    ("ids.csv", b"x,y\na,0\n", "has the columns x, y; choose one with --ids-column"),
    (
        "ids.jsonl",
        b'{"id": "a"}\n{"id": null}\n',
        "line 2: expected a text or a whole number in column 'id', found nothing",
    ),
    ("ids.jsonl", b'{"id": "a"}\n{"name": "b"}\n', "line 2: expected a text or a whole number in column 'id'"),
    ("ids.jsonl", b'{"id": "a"}\n{"id": 1.5}\n', "line 2: expected a text or a whole number in column 'id', found 1.5"),
    (
        "ids.jsonl",
        b'{"id": "a"}\n{"id": true}\n',
        "line 2: expected a text or a whole number in column 'id', found True",
    ),
    ("ids.jsonl", b'{"id": "a"}\n["b"]\n', "line 2: expected a JSON object"),
    ("ids.jsonl", b"a\nb\nc\n", "line 1: expected a JSON object"),
    ("ids.jsonl", b'{"id": "a"}\n' + b"[" * 100_000 + b"\n", "line 2: expected a JSON object"),
    ("ids.jsonl", b'{"task": 1, "url": 2}\n', "has the columns task, url; choose one with --ids-column"),
    ("ids.json", b'["a", "b", "c"]', "expected .txt with one id or row per line, or a table"),
    ("ids.parquet", b"PAR1", "expected .txt with one id or row per line, or a table"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_IDS, ids=range(len(BAD_IDS)))
def test_ids_that_are_odd_are_refused_with_their_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_ids(tmp_path / name, None, 3)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("name", ["none.txt", "folder.txt", "x" * 300])
def test_files_that_cannot_be_read(tmp_path, name):
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(FileError, match="cannot be read: "):
        read_rows([tmp_path / name], None, 3)


def test_a_column_of_a_list_is_refused(tmp_path):
    (tmp_path / "ids.txt").write_text("a\n")
    with pytest.raises(InputError, match="has no columns"):
        read_ids(tmp_path / "ids.txt", "id", 1)


@pytest.mark.parametrize("text", ["-1", "+1", "1.0", " 1", "1 ", "٣", "1e0", "30", "9" * 19, "9" * 5000, "", "1\x0c2"])
@pytest.mark.parametrize("name", ["rows.txt", "rows.csv", "rows.jsonl"])
def test_rows_that_are_none(tmp_path, text, name):
    lines = {
        "rows.txt": f"1\n{text}\n",
        "rows.csv": f"row,note\n1,\n{text},\n",
        "rows.jsonl": f'{{"row": 1}}\n{{"row": {json.dumps(text)}}}\n',
    }
    (tmp_path / name).write_text(lines[name])
    with pytest.raises(
        InputError, match=rf"{name}, line {3 if name == 'rows.csv' else 2}: .* is not a row from 0 to 29"
    ):
        read_rows([tmp_path / name], None, 30)


def test_files_of_rows_add_up(tmp_path):
    (tmp_path / "a.txt").write_text("3\n1\n")
    (tmp_path / "b.jsonl").write_text('{"rank": 1, "row": 5, "gain": 0.5}\n{"rank": 2, "row": 3, "gain": 0.25}\n')
    (tmp_path / "none.txt").write_text("")
    assert read_rows([tmp_path / "a.txt", tmp_path / "b.jsonl", tmp_path / "none.txt"], None, 9) == [3, 1, 5]


def test_files_of_labels_add_up(tmp_path):
    (tmp_path / "a.csv").write_text("row,label\n3,1\n1,0\n1,0\n")
    (tmp_path / "b.tsv").write_text("label\trow\n2\t5\n1\t3\n")
    (tmp_path / "plain.txt").write_text("1\n7\n")
    (tmp_path / "other.csv").write_text("row,label\n5,2\n3,0\n")
    a, b, plain, other = (tmp_path / name for name in ("a.csv", "b.tsv", "plain.txt", "other.csv"))
    assert read_labels([a, b], None, 9) == ([3, 1, 5], [1, 0, 2])
    assert read_labels([plain], None, 9) == ([1, 7], None)
    with pytest.raises(
        InputError, match=r"other\.csv, line 3: row 3 has the label 0, but in .*a\.csv, line 2 it has 1"
    ):
        read_labels([a, other], None, 9)
    for paths in ([b, plain], [plain, b]):
        with pytest.raises(InputError, match=r"plain\.txt, line 1: row 1 has no label, but other files have a column"):
            read_labels(paths, None, 9)


@pytest.mark.parametrize("header", ["id,Label", "id, label", "ID,label", "name,label"])
def test_a_header_that_nearly_has_the_column(tmp_path, header):
    (tmp_path / "labels.csv").write_text(f"{header}\n1,0\n")
    with pytest.raises(InputError, match="has the columns"):
        read_labels([tmp_path / "labels.csv"], ["0", "1"], 2)


@pytest.mark.parametrize("label", ["-1", "1.0", "", "cat", "9" * 5000])
def test_labels_that_are_none(tmp_path, label):
    (tmp_path / "labels.csv").write_text(f"row,label\n0,0\n1,{label}\n")
    with pytest.raises(InputError, match=r"labels\.csv, line 3: the label is '.*, expected a class, from 0"):
        read_labels([tmp_path / "labels.csv"], None, 2)


def test_ids_come_back_from_our_own_csv(tmp_path):
    """Unchanged, also those that a spreadsheet may take for formulas, and those that only a store can have."""
    ids = [*ODD, "+1", "-1", "@x", "a,b", 'a"b', "a\rb", "a\nb", "a\r\nb", " a ", "a\0b", "\ufeffa", ""]
    text = _csv([{"rank": row, "id": name, "gain": -0.5} for row, name in enumerate(ids)])
    (tmp_path / "first.csv").write_bytes(text.encode())
    assert read_rows([tmp_path / "first.csv"], ids, len(ids)) == list(range(len(ids)))
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [line["id"] for line in found] == ids


@pytest.mark.parametrize("text", ["01", "00", "+1", " 1", "1.0", "1_0"])
def test_a_row_is_written_in_one_way(tmp_path, text):
    (tmp_path / "rows.txt").write_text(f"0\n{text}\n")
    with pytest.raises(InputError, match=r"line 2: '.*' is not a row from 0 to 19"):
        read_rows([tmp_path / "rows.txt"], None, 20)


def test_an_id_may_begin_with_a_bracket(tmp_path):
    (tmp_path / "ids.txt").write_text("{a\n[1]\n{b}\n")
    assert read_ids(tmp_path / "ids.txt", None, 3) == ["{a", "[1]", "{b}"]
