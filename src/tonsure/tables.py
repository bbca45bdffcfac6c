"""Files of other people: predictions and names that come in, rows that go out."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tonsure.checks import SUM_TOLERANCE
from tonsure.errors import InputError
from tonsure.select import Selection, as_tensor

READABLE = (".npy", ".npz", ".pt", ".safetensors")
WRITABLE = (".csv", ".jsonl")


def read_predictions(path: Path, values: str = "log-probs", key: str | None = None) -> Tensor:
    """The predictions in a file as log-probabilities, [N, K, C] if the file is right; ``select`` checks that.

    Args:
        path: .npy (mapped, not read whole), .npz, .pt (a tensor or a dict of them) or .safetensors.
        values: what the numbers are: "log-probs", "probs" or "logits".
        key: which array, where there are several.

    Raises:
        InputError: the file is absent, cut short, damaged or of another kind; holds several arrays and ``key`` names
            none of them; or its numbers are not what ``values`` says.
    """
    if path.suffix not in READABLE:
        raise InputError(f"{path}: predictions are read from files that end in {', '.join(READABLE)}")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        arrays = _read(path)
    except Exception as error:  # every reader has its own ways to say that a file is damaged
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read, it may be cut short or damaged: {reason}") from error
    if isinstance(arrays, Mapping):
        arrays = _one_of(path, arrays, key)
    if not isinstance(arrays, Tensor | np.ndarray):
        raise InputError(f"{path} holds a {type(arrays).__name__}, expected an array [N, K, C]")
    return _as_log_probs(as_tensor(arrays), values)


def _read(path: Path) -> Any:
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    if path.suffix == ".pt":
        return torch.load(path, map_location="cpu", weights_only=True)
    from safetensors.torch import load_file

    return load_file(path)


def _one_of(path: Path, arrays: Mapping[str, Any], key: str | None) -> Any:
    shapes = ", ".join(f"{name} {tuple(getattr(array, 'shape', ()))}" for name, array in arrays.items())
    if key is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if key is None or key not in arrays:
        wanted = "--key says which" if key is None else f"none is named {key!r}"
        raise InputError(f"{path} holds {len(arrays)} arrays ({shapes}); {wanted}")
    return arrays[key]


def _as_log_probs(numbers: Tensor, values: str) -> Tensor:
    if values == "log-probs" or numbers.ndim != 3 or not numbers.is_floating_point():
        return numbers
    work_type = torch.promote_types(numbers.dtype, torch.float32)
    if values == "logits":
        _refuse_probabilities(numbers)
        _refuse(numbers.isnan() | numbers.isposinf(), numbers, "logits, which are finite or -inf")
        return numbers.to(work_type).log_softmax(-1)
    tolerance = SUM_TOLERANCE[numbers.dtype]
    _refuse(~((numbers >= 0) & (numbers <= 1 + tolerance)), numbers, "probabilities, from 0 to 1, with --values probs")
    sums = numbers.to(work_type).sum(-1, keepdim=True)
    # What storage in half precision has rounded becomes a distribution again; the rest is refused by ``select``.
    rounded = (sums - 1).abs() <= tolerance
    return (numbers.to(work_type) / sums.where(rounded, 1)).log()


def _refuse(wrong: Tensor, numbers: Tensor, expected: str) -> None:
    if wrong.any():
        row, sample, label = (int(index) for index in wrong.nonzero()[0])
        found = float(numbers[row, sample, label])
        raise InputError(
            f"row {row}, sample {sample} of the predictions holds {found:g} at class {label}; expected {expected}"
        )


def _refuse_probabilities(numbers: Tensor) -> None:
    sums = numbers.to(torch.promote_types(numbers.dtype, torch.float32)).sum(-1)
    if (numbers >= 0).all() and ((sums - 1).abs() <= SUM_TOLERANCE[numbers.dtype]).all():
        raise InputError("--values logits was given, but every row of the predictions sums to 1: --values probs?")


def read_ids(path: Path, column: str | None, rows: int) -> list[str]:
    """One name for each row: the lines of a text file, or a column of a CSV file with a header.

    Raises:
        InputError: the file cannot be read, there is no such column, their number differs from ``rows``, or a name
            stands twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    ids = _column(path, text, column) if path.suffix == ".csv" else text.splitlines()
    if len(ids) != rows:
        raise InputError(f"{path} names {len(ids)} items, but the predictions have {rows} rows")
    first_line: dict[str, int] = {}
    for line, name in enumerate(ids):
        if name in first_line:
            raise InputError(f"{path} names {name!r} twice, as items {first_line[name]} and {line}, counted from 0")
        first_line[name] = line
    return ids


def _column(path: Path, text: str, column: str | None) -> list[str]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    header = rows.fieldnames or []
    if column is None and len(header) == 1:
        column = header[0]
    if column not in header:
        wanted = "--ids-column says which" if column is None else f"none is named {column!r}"
        raise InputError(f"{path} has the columns {', '.join(header) or '(none)'}; {wanted}")
    return [row[column] for row in rows]


def check_ending(path: Path) -> None:
    """Raises InputError if rows cannot be written to such a file."""
    if path.suffix not in WRITABLE:
        raise InputError(f"{path}: rows are written to files that end in {' or '.join(WRITABLE)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")


def write_selection(selection: Selection, ids: list[str] | None, path: Path | None) -> None:
    """Rank (from 1), row, id if there are any, and gain, in the order chosen: CSV, or JSON lines if so named.

    A file is written beside and renamed, so that there is never half of one. None is the standard output.
    """
    lines = [
        {"rank": rank, "row": row, **({"id": ids[row]} if ids else {}), "gain": gain}
        for rank, (row, gain) in enumerate(zip(selection.rows.tolist(), selection.gains.tolist(), strict=True), start=1)
    ]
    text = _json_lines(lines) if path is not None and path.suffix == ".jsonl" else _csv(lines)
    if path is None:
        sys.stdout.write(text)
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error}") from error


def _csv(lines: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _json_lines(lines: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
