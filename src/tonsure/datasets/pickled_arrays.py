"""Reading pickles of arrays, lists, numbers and strings, without executing anything else."""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from tonsure.datasets.files import damage

_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # NumPy moved it, and warns of the old place; this is how an array itself names it.
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}
"""The only functions that a pickle may call."""


def load_arrays(content: bytes, path: Path) -> Any:
    """The pickled object, with strings of Python 2 as bytes; ``path`` is used in messages.

    Raises:
        InputError: the pickle is damaged, or names anything that is not needed for arrays.
    """
    with damage(path, "holds no pickle of arrays, lists, numbers and strings"):
        for code, place, _ in pickletools.genops(content):
            # What is put at a place is kept in a table that is as long as the largest of them.
            if "PUT" in code.name and not (place is None or 0 <= place < len(content)):
                raise pickle.UnpicklingError(f"it puts something at place {place}")
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None
