"""Reading files from an archive into memory. Nothing is written to disk."""

import io
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from tonsure.datasets.files import unpacked
from tonsure.errors import InputError


def read_tar(path: Path, members: Sequence[str]) -> dict[str, bytes]:
    """The contents of the named files in a .tar.gz, in the order of the names.

    Raises:
        InputError: the archive is missing, damaged or truncated, or lacks one of the files; the message names it.
    """
    found = {}
    try:
        # Unpacked as a whole, so that the sum at its end is checked, which tarfile would never come to.
        with tarfile.open(fileobj=io.BytesIO(unpacked(path)), mode="r:") as archive:
            for member in set(members) & set(archive.getnames()):
                if opened := archive.extractfile(member):
                    found[member] = opened.read()
    except tarfile.TarError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    _check_complete(path, members, found)
    return {member: found[member] for member in members}


def read_zip(path: Path, members: Sequence[str]) -> dict[str, bytes]:
    """The contents of the named files in a .zip, in the order of the names; raises as ``read_tar`` does."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = {member: archive.read(member) for member in members if member in archive.namelist()}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    _check_complete(path, members, found)
    return found


def _check_complete(path: Path, members: Sequence[str], found: dict[str, bytes]) -> None:
    if missing := [member for member in members if member not in found]:
        raise InputError(f"{path} has no file {missing[0]}")
