"""Conversion of NumPy arrays to tensors that share their memory."""

import mmap
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonsure.errors import InputError

Array = Tensor | NDArray[Any]


def as_tensor(predictions: Array, what: str = "predictions") -> Tensor:
    """A tensor that shares the memory of the array. NumPy has no bfloat16; the type of ``ml_dtypes`` is accepted.

    Raises:
        InputError: the array does not hold floating-point numbers.
    """
    if isinstance(predictions, Tensor):
        return predictions.detach()
    array = np.asarray(predictions)
    with warnings.catch_warnings():
        # A read-only memory map is safe here: nothing is written to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        if array.dtype.name not in ("float16", "float32", "float64"):
            raise InputError(f"the {what} are {array.dtype}, expected float16, bfloat16, float32 or float64")
        return torch.from_numpy(array)


def release_mapped(arrays: Sequence[Array]) -> None:
    """Tells the operating system that it may release the pages of memory-mapped arrays.

    Only read-only maps are released: data written to a private map would be lost.
    """
    for array in arrays:
        pages = getattr(array, "_mmap", None)
        if isinstance(array, np.memmap) and array.mode == "r" and pages is not None and hasattr(pages, "madvise"):
            pages.madvise(mmap.MADV_DONTNEED)


def as_inputs(inputs: Tensor | NDArray[Any]) -> Tensor:
    """Converts an array to a tensor; float64 becomes torch's default type. A tensor is returned unchanged.

    NumPy makes float64 by default, but networks are float32.
    """
    if isinstance(inputs, Tensor):
        return inputs
    # torch warns about read-only arrays, such as files mapped for reading, because a tensor could write to them.
    tensor = torch.from_numpy(inputs if inputs.flags.writeable else np.array(inputs))
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor
