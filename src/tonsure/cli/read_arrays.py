"""Array files: reads predictions, features and model inputs."""

import re
import warnings
from collections.abc import Mapping, Sequence
from os.path import isdir
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipInfo, is_zipfile

import numpy as np
import torch
from torch import Tensor

from tonsure.durable_files import file_errors
from tonsure.errors import InputError
from tonsure.predictions.arrays import Array, as_plain, as_tensor
from tonsure.predictions.checks import ROUNDED, SUM_TOLERANCE, classes_elsewhere, kind_of
from tonsure.predictions.store import Store

READABLE = (".npy", ".npz", ".pt", ".safetensors")

UNPACKED_BYTES, DEFLATED = 2**30, 100
"""What a compressed file may unpack to: so many bytes, and so many times its own size."""

WANTED = {
    "probabilities": "--values probs",
    "percentages": "a hundredth of them, with --values probs",
    "log-probabilities": "--values log-probs",
}
"""How the kinds of numbers that are recognized are given."""

ROUNDED_BEFORE = "If they were rounded, divide by their sums over the classes before they are saved"


def read_predictions(
    path: Path, values: str = "log-probs", key: str | None = None, *, verify: bool = True
) -> Tensor | Store:
    """Reads predictions as log-probabilities. The shape [N, K, C] is not checked here but by ``select``.

    Args:
        path: a .npy file (memory-mapped), .npz, .pt (a tensor or a dict of tensors) or .safetensors; or the folder of
            a store.
        values: the type of the numbers: "log-probs", "probs" or "logits".
        key: the name of the array, if the file holds several.
        verify: whether the checksums of a store are compared.

    Raises:
        InputError: the file does not exist, is truncated, damaged or of another type; it holds several arrays and
            ``key`` names none of them; or its numbers do not match ``values``.
        FileError: the file cannot be read.
        StoreError: the store is unfinished or damaged.
    """
    if not isdir(path):  # unlike Path.is_dir, it knows no names that are too long
        return as_log_probs(read_numbers(path, key), values)
    if values != "log-probs" or key is not None:
        raise InputError(f"{path} is a store, which holds log-probabilities alone: expected neither --values nor --key")
    return Store.open(path, verify=verify)


def read_numbers(path: Path, key: str | None = None) -> Tensor:
    """Reads predictions without conversion; arguments and errors as for ``read_predictions``."""
    return as_tensor(_read_array(path, key, "predictions"))


def read_features(path: Path) -> Array:
    """Reads features. The shape [N, D] is not checked here but by ``select``. Errors as for ``read_predictions``.

    A .npy file is memory-mapped and stays an array, so that its pages can be released.
    """
    array: Array = _read_array(path, None, "features")
    return array


def read_inputs(path: Path, key: str | None = None) -> Tensor:
    """Reads the inputs of a model, [N, ...]; memory-mapped if the file format allows it.

    float64 is converted to torch's default type: NumPy makes float64 by default, but networks are float32.

    Raises:
        InputError: as for ``read_predictions``, or torch does not support the type of the numbers.
    """
    inputs = as_plain(_read_array(path, key, "inputs"), "inputs")
    return inputs.to(torch.get_default_dtype()) if inputs.dtype == torch.float64 else inputs


def _read_array(path: Path, key: str | None, what: str) -> Any:
    if path.suffix.lower() not in READABLE:
        raise InputError(f"{path}: {what} are read from files that end in {', '.join(READABLE)}")
    with file_errors(path, "read"):
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        try:
            arrays = _read(path)
        except InputError:
            raise
        except Exception as error:  # each format raises other errors for a damaged file
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise InputError(f"{path} cannot be read; {_reason(error)}") from error
    if isinstance(arrays, Mapping):
        arrays = _one_of(path, arrays, key, what)
    elif key is not None:
        raise InputError(f"{path} holds one array without a name, but --key {key} names one")
    if not isinstance(arrays, Tensor | np.ndarray):
        raise InputError(f"{path} holds a {type(arrays).__name__}, expected an array")
    if arrays.ndim == 0:
        raise InputError(f"{path} holds one number, expected an array")
    return arrays


def _read(path: Path) -> Any:
    ending = path.suffix.lower()
    if ending == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if ending == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            _check_unpacked(path, arrays.zip.infolist())
            return {name: arrays[name] for name in arrays.files}
    if ending == ".pt":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own types, such as quantized ones
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    from safetensors.torch import load_file

    return load_file(path)


def _check_unpacked(path: Path, members: Sequence[ZipInfo]) -> None:
    """Raises InputError if a file unpacks to much more than its own size: a small one may unpack to any size."""
    unpacked, most = sum(member.file_size for member in members), UNPACKED_BYTES + DEFLATED * path.stat().st_size
    if unpacked > most:
        raise InputError(
            f"{path} unpacks to {unpacked:,} bytes, expected at most {most:,} from a file of its size: save it with "
            "numpy.savez, without compression, or as .npy"
        )


def _reason(error: Exception) -> str:
    """Why an array cannot be read; torch's own words are long, and advise to run what is in the file."""
    if isinstance(error, UnpicklingError):
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is not None:
            return f"it holds an object, {found[1]}, expected tensors alone: torch.save(tensor, …)"
        return "it may be truncated or damaged, or was not written by torch.save"
    if re.search("allow_pickle|Python objects", str(error)):
        return "it holds objects, expected numbers alone"
    return f"it may be truncated or damaged: {(str(error) or type(error).__name__).splitlines()[0]}"


def _one_of(path: Path, arrays: Mapping[str, Any], key: str | None, what: str) -> Any:
    if not arrays:
        raise InputError(f"{path} holds no array")
    shapes = ", ".join(f"{name} {tuple(getattr(array, 'shape', ()))}" for name, array in arrays.items())
    if key is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if key is None or key not in arrays:
        which = "expected only one" if what == "features" else "choose one with --key"
        wanted = which if key is None else f"none is named {key!r}"
        raise InputError(f"{path} holds {len(arrays)} arrays ({shapes}); {wanted}")
    return arrays[key]


def as_log_probs(numbers: Tensor, values: str, first_row: int = 0) -> Tensor:
    """Converts numbers to log-probabilities.

    Args:
        values: the type of the numbers: "log-probs", "probs" or "logits".
        first_row: the row of the pool at which the numbers begin, for the error message.

    Raises:
        InputError: the numbers do not match ``values``.
    """
    if values != "log-probs" and numbers.ndim == 1:
        raise InputError(f"--values {values} was given, but scores [N] of shape {tuple(numbers.shape)} are of no kind")
    if values == "log-probs" or numbers.ndim != 3 or not numbers.is_floating_point():
        return numbers
    work_type = torch.promote_types(numbers.dtype, torch.float32)
    if values == "logits":
        _refuse_probabilities(numbers, first_row)
        _refuse(numbers.isnan() | numbers.isposinf(), numbers, "logits, which are finite or -inf", first_row)
        return numbers.to(work_type).log_softmax(-1)
    tolerance = SUM_TOLERANCE[numbers.dtype]
    outside = ~((numbers >= 0) & (numbers <= 1 + tolerance))
    if outside.any():
        given = f"--values probs was given, but the predictions{_read_as(numbers)} are "
        if (kind := kind_of(numbers)) in ("percentages", "log-probabilities"):
            raise InputError(f"{given}{kind}: expected {WANTED[kind]}")
        if found := classes_elsewhere(numbers):
            raise InputError(f"{given}none. {found}")
    _refuse(outside, numbers, "probabilities, from 0 to 1, with --values probs", first_row)
    sums = numbers.to(work_type).sum(-1, keepdim=True)
    # Distributions rounded by storage in half precision are renormalized.
    wrong = (sums - 1).abs() > tolerance
    if wrong.any():
        row, sample, _ = (int(index) for index in wrong.nonzero()[0])
        total = float(sums[row, sample, 0])
        raise InputError(
            f"--values probs was given, but the probabilities of row {first_row + row}, sample {sample}"
            f"{_read_as(numbers)} sum to {total:.6g}, off by {total - 1:+.3g}, expected 1. "
            f"{classes_elsewhere(numbers) or (ROUNDED_BEFORE if abs(total - 1) <= ROUNDED else '')}".rstrip()
        )
    return (numbers.to(work_type) / sums).log()


def _refuse(wrong: Tensor, numbers: Tensor, expected: str, first_row: int) -> None:
    if wrong.any():
        row, sample, label = (int(index) for index in wrong.nonzero()[0])
        found = float(numbers[row, sample, label])
        raise InputError(
            f"row {first_row + row}, sample {sample} of the predictions holds {found:g} at class {label}; "
            f"expected {expected}"
        )


def _refuse_probabilities(numbers: Tensor, first_row: int) -> None:
    rows = f", from row {first_row} on" if first_row else ""
    kind = kind_of(numbers)
    if kind in ("probabilities", "percentages"):
        total = 1 if kind == "probabilities" else 100
        raise InputError(
            f"--values logits was given{rows}, but nearly all rows of the predictions{_read_as(numbers)} sum to "
            f"{total}: they are {kind}, expected {WANTED[kind]}"
        )
    if found := classes_elsewhere(numbers):
        raise InputError(f"--values logits was given{rows}, but they are none. {found}")


def _read_as(numbers: Tensor) -> str:
    """The axes as they are read; they may be exchanged, which the numbers do not always tell."""
    N, K, C = numbers.shape
    return f" (read as N = {N:,} rows, K = {K:,} samples, C = {C:,} classes)"
