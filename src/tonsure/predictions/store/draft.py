"""A store of predictions in the making: blocks of rows and samples in any order, and on from where it was killed.

A block is first written where it belongs in its shard; then one line in the journal says so, with the checksum of
its bytes. Whatever is killed in between, a block counts only if it is in the journal and its bytes still have that
checksum. So nothing here waits for the disk before ``finish``: what a power failure swallows is found out, and
predicted again. (Waiting for each block would write each page once per member of an ensemble.)
"""

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from jaxtyping import Float
from torch import Tensor

from tonsure.errors import StoreError
from tonsure.predictions.store.blocks import Entry, Place, crc32_of, read_block, write_block
from tonsure.predictions.store.journal import append_line, whole_lines
from tonsure.predictions.store.layout import JOURNAL, MANIFEST, Layout
from tonsure.predictions.store.manifest import VERSION, plain
from tonsure.predictions.store.reading import Store
from tonsure.predictions.store.sealing import seal, writing_to

if TYPE_CHECKING:
    import pyarrow

LOCK = "draft.lock"


class Draft:
    """A store begun or gone on with, by one process at a time: a context that keeps others out until it ends.

    Args:
        path: the folder; made if it is not there.
        layout: sizes and type, as they shall be.
        fingerprint: what the predictions are of, as plain data; the store keeps it.

    Raises:
        StoreError: another process writes there, the folder holds something else, or a draft of another layout or
            fingerprint, or there is no room for the whole store on the disk.
    """

    def __init__(self, path: str | PathLike[str], layout: Layout, fingerprint: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.layout = layout
        self.fingerprint = dict(fingerprint)
        self._checksums: dict[Place, int] = {}
        self._checked: set[Place] = set()
        self._lock = FileLock(self.path / LOCK)
        with writing_to(self.path, layout.total_bytes):
            _refuse_others(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                raise StoreError(f"{self.path} is being written by another process") from error
            try:
                self._begin_or_go_on()
            except BaseException:
                self._lock.release()
                raise

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def finished(self, place: Place) -> bool:
        """Whether this block is written. What an earlier process wrote is read once, to compare its checksum."""
        if place in self._checked:
            return True
        if place not in self._checksums:
            return False
        if crc32_of(read_block(self.path, self.layout, place)) != self._checksums[place]:
            del self._checksums[place]
            return False
        self._checked.add(place)
        return True

    def read(self, place: Place) -> Float[Tensor, "n K C"]:
        return read_block(self.path, self.layout, place)

    def write(self, first_row: int, first_sample: int, log_probs_n_K_C: Float[Tensor, "n K C"]) -> None:
        """Writes a block and records it; raises as ``write_block``."""
        self.record(write_block(self.path, self.layout, first_row, first_sample, log_probs_n_K_C))

    def record(self, entry: Entry) -> None:
        """Adds a written block to the journal; for blocks that other processes write, on behalf of this one."""
        place, crc = entry
        with writing_to(self.path, self.layout.total_bytes):
            append_line(self.path / JOURNAL, {**place._asdict(), "crc32": crc})
        self._checksums[place] = crc
        self._checked.add(place)

    def finish(self, *, items: "pyarrow.Table | None" = None, about: Mapping[str, Any] | None = None) -> Store:
        """Makes a store of the draft.

        Raises:
            StoreError: some samples of some rows are not written yet, or the disk is full.
        """
        missing = self._missing()
        if missing:
            raise StoreError(f"{self.path} is not complete: {missing} are not written")
        with writing_to(self.path, self.layout.total_bytes):
            seal(self.path, self.layout, items, self.fingerprint, about)
        self._lock.release()  # some systems do not remove a locked file
        clear_up(self.path)
        return Store.open(self.path, verify=False)

    def _begin_or_go_on(self) -> None:
        _refuse_others(self.path)  # again, now that nobody else writes there
        journal = self.path / JOURNAL
        mine = plain("the fingerprint", {"version": VERSION, **self.layout.to_json(), **self.fingerprint})
        lines = whole_lines(journal)
        if lines:
            refuse_differences(f"{self.path} was begun of another model or pool, or otherwise", lines[0], mine)
        else:
            append_line(journal, mine)
        for line in lines[1:]:
            crc = line.pop("crc32")
            self._checksums[Place(**line)] = crc
        try:
            for span in self.layout.spans():
                _allocate(self.path / span.file, span.bytes, self.layout.header(span.rows))
        except OSError:
            if not self._checksums:  # then nothing is in them: give back the room
                for span in self.layout.spans():
                    (self.path / span.file).unlink(missing_ok=True)
            raise

    def _missing(self) -> str | None:
        """The first rows and samples that no block covers, in words."""
        blocks = sorted(place for place in list(self._checksums) if self.finished(place))
        # Between two edges all samples are covered by the same blocks.
        edges = (
            {0} | {place.first_sample for place in blocks} | {place.first_sample + place.samples for place in blocks}
        )
        for sample in sorted(edges - {self.layout.K}):
            end = 0
            for place in blocks:
                if place.first_sample <= sample < place.first_sample + place.samples and place.first_row <= end:
                    end = max(end, place.first_row + place.rows)
            if end < self.layout.N:
                return f"rows from {end} on of sample {sample}"
        return None


def clear_up(folder: Path) -> None:
    """Removes what a finished store has no use for."""
    (folder / JOURNAL).unlink(missing_ok=True)
    (folder / LOCK).unlink(missing_ok=True)


def _refuse_others(folder: Path) -> None:
    """Leaves alone what is no draft.

    Raises:
        StoreError: there is a file in place of the folder, a finished store, or files of somebody else.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, expected a folder or nothing")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if MANIFEST in names:
        raise StoreError(f"{folder} is a finished store already; it is never written over")
    if names - {LOCK} and JOURNAL not in names:
        raise StoreError(f"{folder} holds other files, such as {min(names - {LOCK})}; expected a new or empty folder")


def _allocate(path: Path, size: int, header: bytes) -> None:
    """Takes the room for a shard, so that a disk too small is found now; what is in it already stays."""
    path.touch()
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            zeros = bytes(2**20)
            for start in range(file.seek(0, os.SEEK_END), size, len(zeros)):
                file.write(zeros[: size - start])
            file.seek(0)
        file.write(header)


def refuse_differences(what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Says in what two descriptions of a store differ.

    Raises:
        StoreError: the fields are not the same; the message says which are not.
    """
    fields = [name for name in dict.fromkeys([*expected, *found]) if found.get(name) != expected.get(name)]
    if fields:
        told = "; ".join(f"{name} is {found.get(name)}, this call has {expected.get(name)}" for name in fields)
        raise StoreError(f"{what}: {told}")
