"""NumPy arrays of other people, as tensors on the same memory."""

import mmap
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonsure.errors import InputError

Predictions = Tensor | NDArray[Any]


def as_tensor(predictions: Predictions, what: str = "predictions") -> Tensor:
    """A tensor on the same memory; NumPy has no bfloat16 of its own, but knows that of ``ml_dtypes`` by name.

    Raises:
        InputError: these are no floating-point numbers.
    """
    if isinstance(predictions, Tensor):
        return predictions.detach()
    array = np.asarray(predictions)
    with warnings.catch_warnings():
        # A read-only memory map is welcome here: nothing is written to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        if array.dtype.name not in ("float16", "float32", "float64"):
            raise InputError(f"the {what} are {array.dtype}, expected float16, bfloat16, float32 or float64")
        return torch.from_numpy(array)


def release_mapped(arrays: Sequence[Predictions]) -> None:
    """Tells the operating system that the pages of memory-mapped arrays need not be held any longer.

    Read-only maps alone: what was written to a private one would be lost.
    """
    for array in arrays:
        pages = getattr(array, "_mmap", None)
        if isinstance(array, np.memmap) and array.mode == "r" and pages is not None and hasattr(pages, "madvise"):
            pages.madvise(mmap.MADV_DONTNEED)
