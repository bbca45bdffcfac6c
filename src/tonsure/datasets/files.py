"""Where the files of a data set come from: a folder of the user's, or else a mirror."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tonsure.errors import InputError, MissingExtraError, TonsureError

VARIABLE = "TONSURE_DATA"
"""The environment variable that names the user's folder of data sets."""


class DownloadError(TonsureError, RuntimeError):
    """No mirror gave the file; the message lists what was tried."""


@dataclass(frozen=True)
class RemoteFile:
    """A file with the md5 that it must have, and the addresses of folders that hold it, best first."""

    folder: str
    name: str
    md5: str
    mirrors: Sequence[str]


def find(file: RemoteFile, cache: Path | None = None) -> Path:
    """$TONSURE_DATA/folder/name where it exists; otherwise downloaded into the cache, once.

    Args:
        cache: where downloads are kept; None is the user's cache folder.

    Raises:
        InputError: the file in $TONSURE_DATA is not the published one.
        DownloadError: it is not there, and no mirror gave it.
        MissingExtraError: a download is needed, and pooch is not installed.
    """
    own = _own_path(file)
    if own is None or not own.is_file():
        return _download(file, cache, looked_at=own)
    if (md5 := hashlib.md5(own.read_bytes(), usedforsecurity=False).hexdigest()) != file.md5:
        raise InputError(f"{own} is not the published file, or damaged: its md5 is {md5}, not {file.md5}")
    return own


def _own_path(file: RemoteFile) -> Path | None:
    folder = os.environ.get(VARIABLE)
    return Path(folder) / file.folder / file.name if folder else None


def _download(file: RemoteFile, cache: Path | None, looked_at: Path | None) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise MissingExtraError(f"downloading {file.folder}/{file.name}", "datasets") from error
    tried = [f"{looked_at}: no such file"] if looked_at else []
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
