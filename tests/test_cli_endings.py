"""How a command ends, whatever is wrong with its output, its files or its day: in one line, and not with success."""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import test_cli
import tonsure_command
from tonsure.cli.output import printable
from tonsure.errors import InputError

typed, log_probs, npy = test_cli.typed, test_cli.log_probs, test_cli.npy


def ended(done, message, status=2):
    """Asserts that it ended in one line on the standard error."""
    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


class Full(io.TextIOWrapper):
    """A standard output on a full disk."""

    def __init__(self, error=errno.ENOSPC, encoding="utf-8"):
        super().__init__(io.BytesIO(), encoding)
        self.error = error

    def write(self, text):
        raise OSError(self.error, os.strerror(self.error))


WORDS = [
    ("select", "predictions.npy", "-k", "2"),
    ("compare", "predictions.npy", "-k", "2", "--methods", "margin"),
    ("store", "make", "predictions.npy", "--out", "store"),
    ("--version",),
]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (Full(), "error: the standard output cannot be written: No space left on device"),
        (Full(errno.EPIPE), "error: the standard output cannot be written: Broken pipe"),
        (None, "error: the standard output cannot be written: it is closed"),
    ],
    ids=["full", "pipe", "closed"],
)
def test_an_output_that_takes_nothing(typed, npy, monkeypatch, words, stream, message):
    monkeypatch.setattr(sys, "stdout", stream)
    ended(typed(*words, cwd=npy.parent), message)


def test_an_output_that_is_not_needed_may_be_closed(typed, npy, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert typed("select", npy, "-k", 2, "--out", "x.csv", cwd=npy.parent).returncode == 0
    assert (npy.parent / "x.csv").exists()


def test_nothing_is_computed_for_an_output_that_is_closed(typed, npy, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr("tonsure.cli.select.select_rows", lambda *_, **__: pytest.fail("computed"))
    ended(typed("select", npy, "-k", 2), "it is closed")


def test_an_output_that_cannot_encode_an_id(typed, npy, monkeypatch):
    (npy.parent / "ids.txt").write_text("".join(f"é{row}\n" for row in range(30)), encoding="utf-8")
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        ended(typed("select", npy, "-k", 2, "--ids", npy.parent / "ids.txt"), "its encoding, ascii, has no 'é'")
    assert stream.buffer.getvalue() == b""


def test_an_output_that_cannot_encode_what_is_shown_to_people(typed, npy, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    done = typed("compare", npy, "-k", 2, "--methods", "margin")
    assert (done.returncode, done.stderr) == (0, "")
    assert b"margin" in stream.buffer.getvalue()


@pytest.mark.parametrize("stream", [None, Full()], ids=["closed", "full"])
def test_messages_that_nobody_can_read(typed, monkeypatch, tmp_path, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    assert typed("select", tmp_path / "none.npy", "-k", 2).returncode == 2


def test_control_characters_are_shown_escaped():
    assert printable("é ½\u00a0\n") == "é ½\u00a0\n"
    assert printable("\x1b[31m\r\t\x7f\x9b\u202e\u2028\ud800\ufeff") == (
        "\\x1b[31m\\r\\t\\x7f\\x9b\\u202e\\u2028\\ud800\\ufeff"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("select", "\x1b[31m.npy", "-k", "2"),
        ("select", "keys.pt", "-k", "2"),
        ("select", "predictions.npy", "-k", "2", "--method", "raises:\x1b[31mThing"),
        ("select", "predictions.npy", "-k", "2", "--method", "raises:Thing"),
        ("run", "\x1b[31m.py"),
        ("store", "info", "\x1b[31m"),
    ],
    ids=" ".join,
)
def test_no_message_prints_control_characters(typed, npy, monkeypatch, words):
    torch.save({"\x1b[31mred": torch.ones(2), "b": torch.ones(2)}, npy.parent / "keys.pt")
    (npy.parent / "raises.py").write_text("raise ZeroDivisionError('\x1b[31mred')")
    done = typed(*words, cwd=npy.parent)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "\\x1b[31m" in done.stderr


CODE = {
    ":x": "':x' names nothing to import; expected my_module:my_name",
    "a:b:c": "'a:b:c' names nothing to import",
    "a:": "'a:' names nothing to import",
    "that_raises:Thing": "that_raises:Thing cannot be imported: ZeroDivisionError: of its own (",
    "that_exits:Thing": "that_exits:Thing cannot be imported: SystemExit: ",
    "that_is_wrong:Thing": "that_is_wrong:Thing cannot be imported: SyntaxError: ",
    "that_makes:Nothing": "'that_makes:Nothing' cannot be made: ValueError: no (",
    "BatchBALD(seed=1, seed=2)": "cannot be read; expected Name or Name(setting=1.5)",
    "BatchBALD(**{})": "cannot be read; expected Name or Name(setting=1.5)",
    "BatchBALD({[]: 1})": "cannot be read; expected Name or Name(setting=1.5)",
    f"BatchBALD({'[' * 2000})": "cannot be read; expected Name or Name(setting=1.5)",
    f"BatchBALD(seed={'9' * 5000})": "cannot be read; expected Name or Name(setting=1.5)",
}


@pytest.mark.parametrize("method", CODE, ids=range(len(CODE)))
def test_methods_that_cannot_be_named(typed, npy, method):
    (npy.parent / "that_raises.py").write_text("raise ZeroDivisionError('of its own')")
    (npy.parent / "that_exits.py").write_text("import sys; sys.exit()")
    (npy.parent / "that_is_wrong.py").write_text("x = = 3")
    (npy.parent / "that_makes.py").write_text("class Nothing:\n    def __init__(self): raise ValueError('no')")
    ended(typed("select", npy, "-k", 2, "--method", method, cwd=npy.parent), CODE[method])


def test_arrays_that_are_none(typed, npy, tmp_path):
    torch.save(torch.eye(3).to_sparse(), tmp_path / "sparse.pt")
    torch.save(torch.ones(2, 2, 2, device="meta"), tmp_path / "meta.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    torch.save("\x1b[31mtext", tmp_path / "text.pt")
    (tmp_path / "noise.pt").write_bytes(b"\x1b[31mnoise")
    (tmp_path / "empty.pt").write_bytes(b"")
    np.save(tmp_path / "zero.npy", np.float32(3))
    (tmp_path / "folder.npy").mkdir()
    for name, message in {
        "sparse.pt": "layout torch.sparse_coo",
        "meta.pt": "on meta",
        "module.pt": "module.pt cannot be read; it holds an object, torch.nn.modules.linear.Linear, expected tensors",
        "text.pt": "text.pt holds a str, expected an array",
        "noise.pt": "it may be truncated or damaged, or was not written by torch.save",
        "empty.pt": "it may be truncated or damaged",
        "zero.npy": "zero.npy holds one number, expected an array",
        "x" * 300 + ".npy": "cannot be read: File name too long",
    }.items():
        ended(typed("select", name, "-k", 2, cwd=tmp_path), message)
        ended(typed("select", npy, "-k", 2, "--features", name), message)
    ended(typed("select", npy, "-k", 2, "--features", "folder.npy"), "folder.npy: there is no such file")


def test_endings_are_compared_without_case(typed, npy):
    expected = typed("select", npy, "-k", 2).stdout
    npy.rename(npy.with_suffix(".NPY"))
    assert typed("select", npy.with_suffix(".NPY"), "-k", 2, "--out", "x.CSV", cwd=npy.parent).returncode == 0
    assert (npy.parent / "x.CSV").read_text() == expected


@pytest.mark.parametrize("command", ["select", "compare"])
def test_files_of_rows_may_be_given_several_times(typed, npy, command):
    (npy.parent / "a.txt").write_text("".join(f"{row}\n" for row in range(10)))
    (npy.parent / "b.txt").write_text("".join(f"{row}\n" for row in range(10, 20)))
    (npy.parent / "c.txt").write_text("".join(f"{row}\n" for row in range(20, 28)))
    methods = ("--methods", "margin") if command == "compare" else ("--method", "margin")
    for words, rows in {
        ("--exclude", "a.txt", "--exclude", "b.txt", "--exclude", "c.txt"): {28, 29},
        ("--labels", "a.txt", "--labels", "b.txt", "--exclude", "c.txt"): {28, 29},
        ("--candidates", "b.txt", "--candidates", "c.txt", "--exclude", "b.txt"): set(range(20, 28)),
    }.items():
        words = (*words, "-k", len(rows), *methods, "--out", "rows.csv")
        assert typed(command, npy, *words, cwd=npy.parent).returncode == 0
        lines = (npy.parent / "rows.csv").read_text().splitlines()
        place = lines[0].split(",").index("row")
        assert {int(line.split(",")[place]) for line in lines[1:]} == rows


@pytest.mark.parametrize(
    "words",
    [
        ("--method", "margin"),
        ("--out", "x.csv"),
        ("--ids", "a.txt"),
        ("--features", "f.npy"),
        ("-k", "3"),
        ("--no-verify",),
    ],
    ids=" ".join,
)
def test_another_option_that_is_given_twice_is_refused(typed, npy, words):
    done = typed("select", npy, "-k", 2, *(words if words[0] == "-k" else words * 2), cwd=npy.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is given 2 times, expected once" in done.stderr


def test_out_may_not_be_what_is_read(typed, npy):
    rows = npy.parent / "rows.csv"
    rows.write_text("row\n3\n")
    (npy.parent / "link.csv").symlink_to(rows)
    for out in ("rows.csv", "link.csv"):
        ended(typed("select", npy, "-k", 2, "--exclude", rows, "--out", out, cwd=npy.parent), "is read by this command")
    assert rows.read_text() == "row\n3\n"


@pytest.mark.parametrize("command", ["select", "compare"])
def test_out_that_cannot_be_written_is_refused_before_anything_is_computed(typed, npy, monkeypatch, command):
    monkeypatch.setattr("tonsure.cli.select.select_rows", lambda *_, **__: pytest.fail("computed"))
    monkeypatch.setattr("tonsure.cli.compare.compare_methods", lambda *_, **__: pytest.fail("computed"))
    (npy.parent / "folder.csv").mkdir()
    (npy.parent / "full.csv").symlink_to("/dev/full")
    (npy.parent / "loop.csv").symlink_to("loop.csv")
    os.mkfifo(npy.parent / "pipe.csv")
    for out, message in {
        "folder.csv": "it is a folder, expected a file",
        "full.csv": "it is a device or a pipe, expected a file",
        "pipe.csv": "it is a device or a pipe, expected a file",
        "loop.csv": "Too many levels of symbolic links",
        "none/x.csv": "there is no folder none",
        "x" * 300 + ".csv": "File name too long",
    }.items():
        ended(typed(command, npy, "-k", 2, "--out", out, cwd=npy.parent), message)


@pytest.mark.parametrize("command", ["select", "compare"])
def test_out_on_a_full_disk(typed, npy, monkeypatch, command):
    (npy.parent / "x.csv").write_text("old")
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", Full().write)
        done = typed(command, npy, "-k", 2, "--out", "x.csv", cwd=npy.parent)
    if command == "compare":  # what took long is shown all the same
        assert "all rows" in done.stdout
        done.stdout = ""
    ended(done, "x.csv cannot be written: No space left")
    assert (npy.parent / "x.csv").read_text() == "old"
    assert sorted(path.name for path in npy.parent.iterdir()) == ["predictions.npy", "x.csv"]


@pytest.fixture
def handlers():
    """The handlers of signals as they are, and afterwards again: a command that is interrupted leaves the default."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


INTERRUPTED = {
    ("select", "predictions.npy", "-k", "2"): (
        "tonsure.cli.select.select_rows",
        "nothing was written; the same command starts again",
    ),
    ("store", "make", "predictions.npy", "--out", "store"): (
        "tonsure.cli.store.write_store",
        "nothing was written; the same command starts again",
    ),
    ("predict", "my_model:model", "--inputs", "predictions.npy", "--out", "store"): (
        "tonsure.cli.predict.predict_pool",
        "the finished blocks are kept in store; the same command continues from there",
    ),
    ("run", "small.py"): (
        "tonsure.experiments.experiment.run_several",
        "the finished rounds are kept in runs/small; the same command continues from there",
    ),
}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("words", INTERRUPTED, ids=lambda words: words[0])
@pytest.mark.usefixtures("handlers")
def test_an_interrupted_command_says_what_is_kept(typed, npy, monkeypatch, number, status, words):
    (npy.parent / "my_model.py").write_text(
        "import torch, tonsure as tn\nmodel = tn.MCDropout(torch.nn.Dropout(), samples=2)\n"
    )
    (npy.parent / "small.py").write_text("from small_experiment import experiment\n")
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    where, kept = INTERRUPTED[words]
    monkeypatch.setattr(where, lambda *_, **__: signal.raise_signal(number))
    ended(typed(*words, cwd=npy.parent), f"interrupted: {kept}\n", status)
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_is_ignored_stays_ignored(typed, npy, monkeypatch):
    """As for a command that a shell starts in the background, or with nohup."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr("tonsure.cli.row_files.output.check_open", lambda: signal.raise_signal(signal.SIGINT))
    assert typed("select", npy, "-k", 2).returncode == 0


@pytest.mark.usefixtures("handlers")
def test_handlers_of_signals_are_restored(typed, npy):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert typed("select", npy, "-k", 2).returncode == 0
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("error", [MemoryError("1 EiB"), OSError(errno.EIO, "Input/output error"), InputError("no")])
def test_errors_of_the_machine_are_one_line(typed, npy, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("tonsure.cli.select.select_rows", fail)
    ended(typed("select", npy, "-k", 2), str(error))


def test_records_that_cannot_be_written(typed, tmp_path, monkeypatch):
    (tmp_path / "small.py").write_text("from small_experiment import experiment\n")
    (tmp_path / "file").write_text("")
    words = ("run", "small.py", "--seeds", 1, "--methods", "random")
    ended(
        typed(*words, "--out", "file", cwd=tmp_path),
        "file cannot be written: file is a file, expected a folder or nothing",
    )
    for name in ("folder", "pipe"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / "random-seed0.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe" / "random-seed0.jsonl")
    for name in ("folder", "pipe"):
        ended(typed(*words, "--out", name), "random-seed0.jsonl cannot be read: it is a folder, a device or a pipe")
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", Full().write)
        ended(typed(*words, "--out", "full"), "full/random-seed0.jsonl cannot be written: No space left on device")


def test_a_command_that_is_interrupted_while_it_imports_says_so(tmp_path):
    """A stand-in for the package, which takes seconds to import, is interrupted as it begins."""
    (tmp_path / "tonsure").mkdir()
    (tmp_path / "tonsure" / "__init__.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nimport time")
    shutil.copy(tonsure_command.__file__, tmp_path)
    run = "import tonsure_command; tonsure_command.main()"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import signal; signal.signal(2, signal.default_int_handler); {run}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    ended(done, "interrupted: nothing was written; the same command starts again\n", 130)
