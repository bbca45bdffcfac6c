"""Runs commands on disks of every size, in pages, that is too small, and then again when there is room."""

import ctypes
import functools
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from stress import scenes
from stress.attack import Attack, Case
from stress.children import contents, differences, must_be_refused, must_succeed, run, start
from tonsure.errors import TonsureError
from tonsure.experiments.records import read_records
from tonsure.predictions.store import Store

PAGE = 4096
ROWS = 1500
"""Of the pool, for files of several pages."""

_NEW_USER, _NEW_MOUNTS, _REMOUNT, _PRIVATE = (
    0x10000000,
    0x00020000,
    0x20,
    0x40000 | 0x4000,
)  # of <sched.h>, <sys/mount.h>


def _mount(folder: Path, pages: int | None, flags: int = 0) -> None:
    """Mounts a file system in memory of so many pages, or with room for all; None is all."""
    size = f"size={PAGE * pages if pages else 2**30}".encode()
    if ctypes.CDLL(None, use_errno=True).mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, size):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _with_mounts_of_its_own() -> None:
    """Lets this process mount file systems that no other process sees; needs no root."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_USER | _NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path(f"/proc/self/{name}").write_text(text)
    libc.mount(b"none", b"/", None, _PRIVATE, None)


@functools.cache
def can_mount() -> bool:
    """Whether the system lets processes mount file systems of their own."""

    def tried(folder: str) -> bool:
        with suppress(OSError, AttributeError):
            _with_mounts_of_its_own()
            _mount(Path(folder), 1)
            return True
        return False

    with tempfile.TemporaryDirectory() as folder:
        return bool(start(lambda: tried(folder)).result())


def _limit(bytes_: int) -> None:
    """Limits each file that this process and its children write."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, resource.RLIM_INFINITY))


def _made_small(folder: Path, pages: int) -> Callable[[], None]:
    """Gives the disk of a folder room for so many pages more; returns what makes room for all."""
    if not can_mount():
        _limit(PAGE * pages)
        return lambda: _limit(resource.RLIM_INFINITY)
    files = _files(folder)
    pages += _pages(folder)
    _with_mounts_of_its_own()
    _mount(folder, pages)
    _write(files, folder)
    return lambda: _mount(folder, None, _REMOUNT)


@functools.cache
def _undisturbed(command: str) -> tuple[dict[str, object], int]:
    """What a command leaves that nobody disturbs, and the pages that it fills."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make(folder, command)
        before = _pages(folder / "out")
        must_succeed(run(scenes.COMMANDS[command], folder), scenes.COMMANDS[command])
        return contents(folder / "out"), _pages(folder / "out") - before


def _make(folder: Path, command: str) -> None:
    scenes.make(folder, ROWS)
    if command == "report":
        _write(_records(), folder / "out")


@functools.cache
def _records() -> dict[Path, bytes]:
    """Records; always the same, as reports show seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenes.make(folder)
        must_succeed(run(scenes.COMMANDS["run"], folder), scenes.COMMANDS["run"])
        return _files(folder / "out")


def _files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _write(files: Mapping[Path, bytes], folder: Path) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def _pages(folder: Path) -> int:
    return sum(-(-path.stat().st_size // PAGE) for path in folder.rglob("*") if path.is_file())


@functools.cache
def _sizes() -> list[tuple[str, int]]:
    """All commands with all numbers of pages, the last of which is enough."""
    return [(command, pages) for command in scenes.COMMANDS for pages in range(1, _undisturbed(command)[1] + 3)]


def fill(case: Case) -> Mapping[str, int]:
    command, pages = _sizes()[case.number]
    expected, _ = _undisturbed(command)
    words, out = scenes.COMMANDS[command], case.folder / "out"
    _make(case.folder, command)

    def attack() -> bool:
        """Whether the first of two commands was refused."""
        before = contents(out)
        make_room = _made_small(out, pages)
        try:
            first = run(words, case.folder)
            if first.status:
                must_be_refused(first, words)
                _must_not_seem_whole(out, command, before)
            else:
                assert not differences(contents(out), expected), differences(contents(out), expected)
            make_room()
            if first.status:
                must_succeed(run(words, case.folder), words)
                apart = differences(contents(out), expected)
                assert not apart, f"once there is room, {apart}"
        except AssertionError:
            make_room()
            shutil.copytree(out, case.folder / "left")
            raise
        return first.status != 0

    try:
        refused = start(attack).result()
    except AssertionError as error:
        error.add_note(f"{command}, {pages} pages")
        raise
    return {f"of {command}": 1, "with room enough": not refused}


def _must_not_seem_whole(out: Path, command: str, before: Mapping[str, object]) -> None:
    """Asserts that what a refused command leaves is not taken for what it writes."""
    if command == "predict":
        with suppress(TonsureError):
            Store.open(out / "store")
            raise AssertionError("there is a store")
    elif command == "run":
        for path in out.rglob("*.jsonl"):
            read_records(path)
    elif command == "report":
        assert not (out / "records" / "report.html").exists(), "there is a report"
    else:
        apart = differences(contents(out), dict(before))
        assert not apart, f"of a refused command, {apart}"


ATTACK = Attack(
    "`predict`, `store make`, `run`, `select --out`, `compare --out` and `report` on a disk with room for 1, 2, 3, … "
    "pages of 4 KiB, then the same command once more, with room",
    lambda: len(_sizes()),
    4,
    fill,
)
