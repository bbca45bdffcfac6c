"""A store that is being written: blocks in any order, resumed where it was killed.

A block is first written to its position in a file. Then a line is appended to the journal, with the checksum of the
block. A block counts only if it is in the journal and its bytes still have that checksum, whenever the process was
killed. So nothing waits for the disk before ``finish``: what a power failure destroys is detected, and predicted again.
(Waiting for each block would write each page once per member of an ensemble.)
"""

import os
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from jaxtyping import Float
from torch import Tensor

from tonsure.durable_files import append_json_line, read_json_lines, remove_partial
from tonsure.errors import StoreError
from tonsure.predictions.store.blocks import (
    AnyPlace,
    Entry,
    FeaturePlace,
    Place,
    crc32_of,
    read_block,
    write_block,
    write_feature_block,
)
from tonsure.predictions.store.layout import JOURNAL, MANIFEST, ArrayLayout, FeatureLayout, Layout
from tonsure.predictions.store.manifest import VERSION, plain
from tonsure.predictions.store.reading import Store
from tonsure.predictions.store.sealing import seal, writing_to
from tonsure.predictions.store.unfinished import remove_killed

if TYPE_CHECKING:
    import pyarrow

LOCK = "draft.lock"


class Draft:
    """A store that is begun or resumed: a context that locks the folder for this process.

    Args:
        path: the folder; created if it does not exist.
        layout: of the predictions.
        fingerprint: identifies what is predicted, as plain data; kept in the manifest.
        features: their layout; None for a store without features.

    Raises:
        StoreError: another process writes there, the folder holds something else or a draft with another layout or
            fingerprint, or the disk has no room for the whole store.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        layout: Layout,
        fingerprint: Mapping[str, Any],
        features: FeatureLayout | None = None,
    ) -> None:
        self.path = Path(path)
        self.layout = layout
        self.features = features
        self.fingerprint = dict(fingerprint)
        self._checksums: dict[AnyPlace, int] = {}
        self._checked: set[AnyPlace] = set()
        self._lock = FileLock(self.path / LOCK)
        with writing_to(self.path, self.total_bytes):
            _reject_others(self.path)
            remove_killed(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                raise StoreError(f"{self.path} is being written by another process") from error
            try:
                self._begin_or_resume()
            except BaseException:
                self._lock.release()
                raise

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def total_bytes(self) -> int:
        """The size of all predictions and features."""
        return sum(layout.total_bytes for layout in self._layouts())

    def finished(self, place: AnyPlace) -> bool:
        """Whether this block is written. A block of an earlier process is read once, to compare its checksum."""
        if place in self._checked:
            return True
        if place not in self._checksums:
            return False
        if crc32_of(self.read(place)) != self._checksums[place]:
            del self._checksums[place]
            return False
        self._checked.add(place)
        return True

    def read(self, place: AnyPlace) -> Float[Tensor, "n ..."]:
        return read_block(self.path, self._layout_of(place), place)

    def write(self, first_row: int, first_sample: int, log_probs_n_K_C: Float[Tensor, "n K C"]) -> None:
        """Writes a block of predictions and records it.

        Raises:
            InputError: the block does not fit there.
            StoreError: the disk is full.
        """
        with writing_to(self.path, self.total_bytes):
            self.record(write_block(self.path, self.layout, first_row, first_sample, log_probs_n_K_C))

    def write_features(self, first_row: int, features_n_D: Float[Tensor, "n D"]) -> None:
        """Writes a block of features and records it; raises as ``write``."""
        assert self.features is not None
        with writing_to(self.path, self.total_bytes):
            self.record(write_feature_block(self.path, self.features, first_row, features_n_D))

    def record(self, entry: Entry) -> None:
        """Adds a block to the journal; it may have been written by another process, on behalf of this one."""
        place, crc = entry
        with writing_to(self.path, self.total_bytes):
            append_json_line(self.path / JOURNAL, {**place._asdict(), "crc32": crc}, wait=False)
        self._checksums[place] = crc
        self._checked.add(place)

    def finish(self, *, items: "pyarrow.Table | None" = None, about: Mapping[str, Any] | None = None) -> Store:
        """Completes the store.

        Raises:
            StoreError: a block is not written yet, or the disk is full.
        """
        missing = self._missing()
        if missing:
            raise StoreError(f"{self.path} is not complete: {missing} are not written")
        with writing_to(self.path, self.total_bytes):
            seal(self.path, self.layout, self.features, items, self.fingerprint, about)
        self._lock.release()  # some systems do not remove a locked file
        clear_up(self.path)
        return Store.open(self.path, verify=False)

    def _layouts(self) -> list[ArrayLayout]:
        return [self.layout, self.features] if self.features else [self.layout]

    def _layout_of(self, place: AnyPlace) -> ArrayLayout:
        if isinstance(place, Place):
            return self.layout
        assert self.features is not None
        return self.features

    def _begin_or_resume(self) -> None:
        _reject_others(self.path)  # again, now that no other process writes there
        remove_partial(self.path)
        mine = {
            "version": VERSION,
            **self.layout.to_json(),
            "features": self.features.to_json() if self.features else None,
            **self.fingerprint,
        }
        mine = plain("the fingerprint", mine)
        lines = _read_journal(self.path / JOURNAL)
        if lines:
            reject_differences(
                f"{self.path} was begun for another model or pool, or with other options", lines[0], mine
            )
        else:
            append_json_line(self.path / JOURNAL, mine, wait=False)
        for number, line in enumerate(lines[1:], start=2):
            place, crc = _entry(f"{self.path / JOURNAL}, line {number}", line, self.layout, self.features)
            self._checksums[place] = crc
        spans = [(layout, span) for layout in self._layouts() for span in layout.spans()]
        try:
            for layout, span in spans:
                _allocate(self.path / span.file, span.bytes, layout.header(span.rows))
        except OSError:
            if not self._checksums:  # the files are empty: free the space
                for _, span in spans:
                    (self.path / span.file).unlink(missing_ok=True)
            raise

    def _missing(self) -> str | None:
        """The first rows that no block covers, in words."""
        finished = [place for place in list(self._checksums) if self.finished(place)]
        blocks = sorted(place for place in finished if isinstance(place, Place))
        # Between two edges all samples are covered by the same blocks.
        edges = (
            {0} | {place.first_sample for place in blocks} | {place.first_sample + place.samples for place in blocks}
        )
        for sample in sorted(edges - {self.layout.K}):
            end = _covered(
                place for place in blocks if place.first_sample <= sample < place.first_sample + place.samples
            )
            if end < self.layout.N:
                return f"rows from {end} on of sample {sample}"
        end = _covered(sorted(place for place in finished if isinstance(place, FeaturePlace)))
        return f"features of rows from {end} on" if self.features and end < self.layout.N else None


def clear_up(folder: Path) -> None:
    """Removes the files that a finished store does not need."""
    (folder / JOURNAL).unlink(missing_ok=True)
    (folder / LOCK).unlink(missing_ok=True)


def _covered(places: Iterable[AnyPlace]) -> int:
    """The number of first rows that blocks, sorted, cover without a gap."""
    end = 0
    for place in places:
        if place.first_row <= end:
            end = max(end, place.first_row + place.rows)
    return end


def _read_journal(journal: Path) -> list[dict[str, Any]]:
    """The lines up to the first that is damaged or torn, which is removed with all that follow.

    Raises:
        StoreError: the first line is damaged, so the planned store is unknown.
    """
    lines = read_json_lines(journal)
    if lines.damaged and not lines.objects:
        raise StoreError(f"{journal} is damaged in its first line: {lines.damaged.reason}; remove the folder")
    if lines.damaged:
        os.truncate(journal, lines.length)
    return lines.objects


def _entry(where: str, line: dict[str, Any], layout: Layout, features: FeatureLayout | None) -> Entry:
    """The block that a line of the journal describes; raises StoreError if it is none of this store."""
    N, K = (layout.N, layout.K) if "samples" in line or features is None else (features.N, 0)
    kind = Place if K else FeaturePlace
    least, names = {"rows": 1, "samples": 1}, (*kind._fields, "crc32")
    whole = set(line) == set(names) and all(type(line[n]) is int and least.get(n, 0) <= line[n] < 2**53 for n in names)
    if not whole or line["first_row"] + line["rows"] > N or line.get("first_sample", 0) + line.get("samples", 0) > K:
        raise StoreError(f"{where} is {line!r:.200}, expected a block of the store; remove the folder")
    return Entry(kind(*(line[name] for name in kind._fields)), line["crc32"])


def _reject_others(folder: Path) -> None:
    """Accepts a draft, an empty folder or nothing.

    Raises:
        StoreError: there is a file in place of the folder, a finished store, or other files.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, expected a folder or nothing")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if MANIFEST in names:
        raise StoreError(f"{folder} is a finished store already; it is never overwritten")
    if names - {LOCK} and JOURNAL not in names:
        raise StoreError(f"{folder} holds other files, such as {min(names - {LOCK})}; expected a new or empty folder")


def _allocate(path: Path, size: int, header: bytes) -> None:
    """Reserves the space for a file, so that a disk that is too small is detected now. Existing content is kept."""
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


def reject_differences(what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compares two descriptions of a store.

    Raises:
        StoreError: they differ; the message shows the fields that do.
    """
    fields = [name for name in dict.fromkeys([*expected, *found]) if found.get(name) != expected.get(name)]
    if fields:
        shown = "; ".join(f"{name} is {found.get(name)}, this call has {expected.get(name)}" for name in fields)
        raise StoreError(f"{what}: {shown}")
