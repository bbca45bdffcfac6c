"""Reading files from an archive into memory. Nothing is written to disk."""

import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tonsure.datasets.files import check_unpacked, damage, unpacked
from tonsure.errors import InputError


def read_tar(path: Path, members: Sequence[str]) -> dict[str, bytes]:
    """The contents of the named files in a .tar.gz, in the order of the names.

    Raises:
        InputError: the archive is missing, damaged or truncated, or lacks one of the files, or unpacks to too much.
    """
    found = {}
    # Unpacked as a whole, so that the sum at its end is checked, which tarfile would never come to.
    content = unpacked(path)
    with damage(path), tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for member in archive:
            # Links may form a loop, and the holes of a sparse file may have any size.
            if member.name in members and member.isreg() and not member.issparse():
                check_unpacked(path, member.size)
                found[member.name] = archive.extractfile(member).read()  # type: ignore[union-attr]  # it is a file
    _check_complete(path, members, found)
    return {member: found[member] for member in members}


def read_zip(path: Path, members: Sequence[str]) -> dict[str, bytes]:
    """The contents of the named files in a .zip, in the order of the names; raises as ``read_tar`` does."""
    with damage(path), zipfile.ZipFile(path) as archive:
        there = [archive.getinfo(member) for member in members if member in archive.namelist()]
        check_unpacked(path, sum(member.file_size for member in there))
        found = {member.filename: archive.read(member) for member in there}
    _check_complete(path, members, found)
    return found


def _check_complete(path: Path, members: Sequence[str], found: dict[str, bytes]) -> None:
    if missing := [member for member in members if member not in found]:
        raise InputError(f"{path} has no file {missing[0]}")
