"""Reading arrays from a NumPy archive."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tonsure.datasets.files import check_unpacked, damage
from tonsure.errors import InputError


def read_npz(path: Path, ndims: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The named arrays of unsigned bytes in the archive, each with the given number of axes. Nothing is unpickled.

    Raises:
        InputError: the file is missing or damaged, unpacks to too much, lacks an array, or an array has another type or
            number of axes; the message names it.
    """
    # Of a damaged file, np.load closes nothing.
    with damage(path), path.open("rb") as opened, np.load(opened) as archive:
        check_unpacked(path, sum(member.file_size for member in archive.zip.infolist()))
        found = {key: archive[key] for key in ndims if key in archive}
    for key, ndim in ndims.items():
        if key not in found:
            raise InputError(f"{path} has no array {key}; expected {', '.join(ndims)}")
        array = found[key]
        if (array.dtype, array.ndim) != (np.uint8, ndim):
            raise InputError(
                f"{path}: {key} is {array.dtype} of shape {list(array.shape)}, expected uint8 with {ndim} axes"
            )
    return found
