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

Array = Tensor | NDArray[Any]


def as_tensor(predictions: Array, what: str = "predictions") -> Tensor:
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


def release_mapped(arrays: Sequence[Array]) -> None:
    """Tells the operating system that the pages of memory-mapped arrays need not be held any longer.

    Read-only maps alone: what was written to a private one would be lost.
    """
    for array in arrays:
        pages = getattr(array, "_mmap", None)
        if isinstance(array, np.memmap) and array.mode == "r" and pages is not None and hasattr(pages, "madvise"):
            pages.madvise(mmap.MADV_DONTNEED)


def as_inputs(inputs: Tensor | NDArray[Any]) -> Tensor:
    """A tensor as it is; an array as a tensor, of torch's default dtype where it is float64.

    NumPy makes float64 of everything, and networks are float32.
    """
    if isinstance(inputs, Tensor):
        return inputs
    # torch warns of an array that is read-only, such as one mapped from a file: a tensor could write to it.
    tensor = torch.from_numpy(inputs if inputs.flags.writeable else np.array(inputs))
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor
