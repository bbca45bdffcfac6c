"""Flips every bit of a small store in turn: it must be refused when it is opened, or say the same."""

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stress.attack import Attack, Case
from tonsure.errors import TonsureError
from tonsure.predictions.store import Store, write_store


@functools.cache
def _files() -> dict[str, bytes]:
    """A store with predictions, features, ids and another column, by file."""
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(6, 2, 3, generator=generator).log_softmax(-1).half()
    features = torch.randn(6, 2, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        texts = {"text": ["one", "two", "three", "four", "five", "six"]}
        ids = [f"{row}.png" for row in range(6)]
        write_store(path, log_probs, features=features, ids=ids, items=texts, about={"split": "train"})
        return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


@functools.cache
def _expected() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), _files())
        return _said(Store.open(folder))


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _said(store: Store) -> Any:
    """All that a store says."""
    table = store.items()
    return (
        store.manifest,
        [part.view(torch.int16).tolist() for part in store.parts],
        None if store.features is None else store.features.view(torch.int32).tolist(),
        store.ids,
        None if table is None else table.to_pydict(),
    )


def flip(case: Case) -> Mapping[str, int]:
    files = dict(_files())
    (position, bit), name = divmod(case.number, 8), next(iter(files))
    for name, content in files.items():  # noqa: B007
        if position < len(content):
            break
        position -= len(content)
    flipped = bytearray(files[name])
    flipped[position] ^= 1 << bit
    files[name] = bytes(flipped)
    _write(case.folder, files)
    found = {}
    for verify in (True, False):
        try:
            found[verify] = (
                "accepted, unchanged" if _said(Store.open(case.folder, verify=verify)) == _expected() else ""
            )
        except TonsureError:
            found[verify] = "refused"
    assert found[True], f"{name}, byte {position}, bit {bit}: accepted, and says something else"
    return {found[True]: 1, "not seen without `verify`": not found[False]}


ATTACK = Attack(
    "every bit of a small store flipped in turn (numbers, features, ids, manifest), then the store opened",
    lambda: 8 * sum(map(len, _files().values())),
    300,
    flip,
)
