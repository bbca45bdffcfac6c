"""Finding the files of a dataset: in the user's folder, or on a mirror."""

import gzip
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tonsure.errors import DownloadError, InputError, MissingExtraError

VARIABLE = "TONSURE_DATA"
"""The environment variable with the path of the user's folder of datasets."""

UNPACKED_BYTES = 2**30
"""The largest content of a packed file, or of an archive; the largest dataset has half as much."""


@dataclass(frozen=True)
class RemoteFile:
    """A file with its md5, and the addresses of folders that have it, the preferred one first.

    Without an address it can only be in the user's folder.
    """

    folder: str
    name: str
    md5: str
    mirrors: Sequence[str] = ()


def find(file: RemoteFile, cache: Path | None = None) -> Path:
    """The path of $TONSURE_DATA/folder/name (texts also as name.gz), or else of a download, which is cached.

    Args:
        cache: the folder of downloads; None is the user's cache folder.

    Raises:
        InputError: the file in $TONSURE_DATA has another md5.
        DownloadError: the file is not there, and could not be downloaded from any mirror.
        MissingExtraError: a download is needed, and pooch is not installed.
    """
    return find_first([file], cache)[1]


def find_first(files: Sequence[RemoteFile], cache: Path | None = None) -> tuple[RemoteFile, Path]:
    """The first of several forms of the same data that is in $TONSURE_DATA, or else the first that has a mirror.

    Raises: as ``find``.
    """
    for file in files:
        for own in _own_paths(file):
            if own.is_file():
                _check(own, file)
                return file, own
    looked_at = [own for file in files for own in _own_paths(file)]
    remote = next((file for file in files if file.mirrors), files[0])
    return remote, _download(remote, cache, looked_at)


def unpacked(path: Path) -> bytes:
    """The content of a file, decompressed if its name ends in .gz.

    Raises:
        InputError: the file is missing, damaged or truncated, or unpacks to too much; the message names it.
    """
    with damage(path):
        content = path.read_bytes()
    return ungzipped(content, path) if path.suffix == ".gz" else content


def ungzipped(content: bytes, path: Path) -> bytes:
    """The decompressed content of ``path``, which is used in messages; raises as ``unpacked`` does."""
    with damage(path), gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
        found = packed.read(UNPACKED_BYTES + 1)
        check_unpacked(path, len(found))
    return found


@contextmanager
def damage(path: Path, what: str = "cannot be read") -> Iterator[None]:
    """A context in which a file is parsed: whatever a damaged or forged one makes of a library is an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of many kinds, down to those that an allocation or deep nesting raises
        raise InputError(f"{path} {what}: {error or type(error).__name__}") from error


def check_unpacked(path: Path, size: int) -> None:
    """Raises InputError if a file unpacks to more than any that is read: a small one may unpack to any size."""
    if size > UNPACKED_BYTES:
        raise InputError(f"{path} cannot be read: it unpacks to more than {UNPACKED_BYTES:,} bytes")


def _own_paths(file: RemoteFile) -> list[Path]:
    folder = os.environ.get(VARIABLE)
    if not folder:
        return []
    is_text = file.name.endswith((".csv", ".json"))
    names = [file.name, f"{file.name}.gz"] if is_text else [file.name]
    return [Path(folder) / file.folder / name for name in names]


def _check(own: Path, file: RemoteFile) -> None:
    if own.name == file.name:
        with own.open("rb") as opened:
            md5 = hashlib.file_digest(opened, _md5).hexdigest()
    else:
        md5 = _md5(unpacked(own)).hexdigest()
    if md5 != file.md5:
        raise InputError(f"{own} is not the published file, or damaged: its md5 is {md5}, not {file.md5}")


_md5 = partial(hashlib.md5, usedforsecurity=False)


def _download(file: RemoteFile, cache: Path | None, looked_at: Sequence[Path]) -> Path:
    tried = [f"{path}: no such file in the folder that ${VARIABLE} names" for path in looked_at]
    if file.mirrors:
        try:
            import pooch
        except ImportError as error:
            raise MissingExtraError(f"downloading {file.folder}/{file.name}", "datasets") from error
    for mirror in file.mirrors:
        address = f"{mirror.rstrip('/')}/{file.name}"
        try:
            return Path(
                pooch.retrieve(
                    address,
                    known_hash=f"md5:{file.md5}",
                    fname=file.name,
                    path=(cache or Path(pooch.os_cache("tonsure"))) / file.folder,
                )
            )
        # What requests raises is an OSError; what pooch raises of a wrong md5 is a ValueError.
        except (OSError, ValueError) as error:
            tried.append(f"{address}: {error}")
    hint = "" if looked_at else f"\nA folder with {file.folder}/{file.name} can be named by ${VARIABLE}."
    raise DownloadError("\n  ".join([f"{file.folder}/{file.name} was found nowhere:", *tried]) + hint)
