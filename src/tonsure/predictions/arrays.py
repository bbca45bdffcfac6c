"""Conversion of arrays to tensors that share their memory."""

import mmap
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.utils.dlpack
from numpy.typing import NDArray
from torch import Tensor

from tonsure.arguments import shown
from tonsure.errors import InputError
from tonsure.information import FLOATS

Array = Tensor | NDArray[Any]

PROTOCOLS: dict[str, Callable[..., Tensor | NDArray[Any]]] = {
    "__dlpack__": torch.utils.dlpack.from_dlpack,
    "__array__": np.asarray,
}
"""How arrays of other libraries are converted: with shared memory where they can."""


def is_array(given: object) -> bool:
    """Whether it is a tensor, an array, or another library's array, table or column; a single number is none."""
    if isinstance(given, Tensor | np.ndarray):
        return True
    return not isinstance(given, type | np.generic) and any(hasattr(given, name) for name in PROTOCOLS)


def as_tensor(given: object, what: str = "predictions") -> Tensor:
    """A tensor of floating-point numbers, which shares the memory of the array if torch can; see ``as_plain``.

    Raises:
        InputError: as ``as_plain``, or the array holds other numbers.
    """
    tensor = as_plain(given, what)
    if tensor.dtype not in FLOATS:
        raise InputError(f"the {what} are {tensor.dtype}, expected float16, bfloat16, float32 or float64")
    return tensor


def as_plain(given: object, what: str) -> Tensor:
    """A dense tensor without gradient, which shares the memory of the array if torch can.

    Copied are arrays of a foreign byte order, reversed ones, and those of other libraries that cannot share. NumPy has
    no bfloat16; the type of ``ml_dtypes`` is accepted.

    Args:
        given: a tensor, an array, or what other libraries can share or convert (``__dlpack__``, ``__array__``).
        what: its name in messages, in the plural.

    Raises:
        InputError: it is no array, a tensor without plain memory (sparse, quantized, nested, meta), or holds something
            other than numbers; or entries of a masked array are masked.
    """
    if isinstance(given, Tensor):
        return _plain(given, what)
    if isinstance(given, np.ndarray):
        return _of_numpy(given, what)
    if not is_array(given):
        raise InputError(f"the {what} are {shown(given)}, expected a tensor or an array")
    reasons = []
    for name, convert in PROTOCOLS.items():
        if hasattr(given, name):
            try:
                return as_plain(convert(given), what)
            except InputError:
                raise
            except Exception as error:  # each library raises others
                reasons.append(f"{error}")
    raise InputError(f"the {what} are {shown(given)}, which cannot be converted to an array: {'; '.join(reasons)}")


def _plain(tensor: Tensor, what: str) -> Tensor:
    wraps = type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__
    dense = tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_quantized
    if wraps or not dense or tensor.device.type == "meta":
        raise InputError(
            f"the {what} are a {type(tensor).__name__} of layout {tensor.layout} and {tensor.dtype} on {tensor.device}"
            f"{', nested' if tensor.is_nested else ''}; expected an ordinary dense tensor"
        )
    plain = tensor.detach().as_subclass(Tensor)
    if hasattr(plain, "rename"):  # older versions of torch have names of axes, which few operations support
        plain = plain.rename(None)
    return plain.resolve_conj().resolve_neg()


def _of_numpy(given: NDArray[Any], what: str) -> Tensor:
    if np.ma.is_masked(given):
        raise InputError(
            f"the {what} are a masked array with {np.ma.count_masked(given):,} masked entries, expected none: the mask "
            "would be lost"
        )
    array = np.asarray(np.ma.getdata(given))
    if array.dtype.kind not in "biufc" and array.dtype.name != "bfloat16":
        raise InputError(f"the {what} are an array of {array.dtype}, expected numbers")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.aligned or any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.array(array, order="C")  # torch has no such layouts
    with warnings.catch_warnings():
        # A read-only memory map is safe here: nothing is written to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        try:
            return torch.from_numpy(array)
        except TypeError as error:
            raise InputError(f"the {what} are an array of {array.dtype}, which torch does not know") from error


def release_mapped(arrays: Sequence[object]) -> None:
    """Tells the operating system that it may release the pages of memory-mapped arrays.

    Only read-only maps are released: data written to a private map would be lost.
    """
    for array in arrays:
        pages = getattr(array, "_mmap", None)
        if isinstance(array, np.memmap) and array.mode == "r" and pages is not None and hasattr(pages, "madvise"):
            pages.madvise(mmap.MADV_DONTNEED)


def as_inputs(inputs: object) -> Tensor:
    """Items on the first axis, as a tensor that shares the memory if torch can; float64 of others than torch becomes
    torch's default type, because NumPy makes float64 by default, but networks are float32.

    Raises:
        InputError: as ``as_plain``, or there is no first axis.
    """
    if isinstance(inputs, np.ndarray) and not inputs.flags.writeable:  # so that nobody writes to a file through it
        tensor = as_plain(np.array(inputs, subok=True), "inputs")
    else:
        tensor = as_plain(inputs, "inputs")
    if tensor.ndim == 0:
        raise InputError("the inputs are a single number, expected an array with the items on its first axis")
    is_own = isinstance(inputs, Tensor) or tensor.dtype != torch.float64
    return tensor if is_own else tensor.to(torch.get_default_dtype())
