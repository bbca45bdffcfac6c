"""The IDX format of the MNIST files: a header of big-endian integers, then bytes."""

import math
import struct
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from tonsure.datasets.files import unpacked
from tonsure.errors import InputError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, ndim: int) -> UInt8[Tensor, "..."]:
    """The array in a gzipped IDX file of unsigned bytes, which must have ``ndim`` axes.

    Raises:
        InputError: the file is missing, damaged, truncated, or of another format; the message names it.
    """
    return parse_idx(unpacked(path), path, ndim)


def parse_idx(content: bytes, path: Path, ndim: int) -> UInt8[Tensor, "..."]:
    """The array in the content of an IDX file, as ``read_idx``; ``path`` is used in messages."""
    magic, header = bytes([0, 0, _UNSIGNED_BYTE, ndim]), 4 + 4 * ndim
    if content[:4] != magic:
        raise InputError(
            f"{path} is no IDX file of unsigned bytes with {ndim} axes: "
            f"it starts with {content[:4].hex(' ')}, not {magic.hex(' ')}"
        )
    if len(content) < header:
        raise InputError(f"{path} is cut short: {len(content)} bytes, of which the header alone is {header}")
    shape = struct.unpack(f">{ndim}I", content[4:header])
    if len(content) != header + math.prod(shape):
        raise InputError(
            f"{path} has {len(content) - header} bytes after its header, where its shape {list(shape)} "
            f"needs {math.prod(shape)}"
        )
    if 0 in shape:
        raise InputError(f"{path} is empty: its shape is {list(shape)}")
    # A bytearray, because torch warns of memory that it may not write to.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)
