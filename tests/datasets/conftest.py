import hashlib

import pytest

from tonsure.datasets.files import VARIABLE, RemoteFile


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Writes a file into the user's folder of data sets; gives what a loader knows of it."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))

    def write(folder: str, name: str, content: bytes) -> RemoteFile:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(content)
        return RemoteFile(folder, name, hashlib.md5(content).hexdigest())

    return write
