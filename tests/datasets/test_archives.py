import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from tarred import tar

from tonsure.datasets import files
from tonsure.datasets.archives import read_tar, read_zip
from tonsure.datasets.npz import read_npz
from tonsure.errors import InputError

FILES = {"folder/one": b"1" * 3000, "folder/two": bytes(range(256)) * 20}


def zipped(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


@pytest.mark.parametrize(("pack", "read"), [(tar, read_tar), (zipped, read_zip)])
class TestBothKinds:
    def test_files_come_in_the_order_asked(self, pack, read, tmp_path):
        (tmp_path / "a.gz").write_bytes(pack(FILES))
        for names in (["folder/two", "folder/one"], ["folder/one", "folder/two"]):
            assert list(read(tmp_path / "a.gz", names).items()) == [(name, FILES[name]) for name in names]

    def test_a_file_that_is_not_in_it_is_named(self, pack, read, tmp_path):
        (tmp_path / "a.gz").write_bytes(pack(FILES))
        with pytest.raises(InputError, match=r"a\.gz has no file three"):
            read(tmp_path / "a.gz", ["folder/one", "three"])

    @pytest.mark.parametrize("end", [0, 40, -30])
    def test_what_is_cut_short_is_refused(self, pack, read, end, tmp_path):
        (tmp_path / "a.gz").write_bytes(pack(FILES)[:end])
        with pytest.raises(InputError, match=rf"{tmp_path}/a\.gz cannot be read"):
            read(tmp_path / "a.gz", list(FILES))

    def test_changed_bytes_are_seen(self, pack, read, tmp_path):
        content = bytearray(pack(FILES))
        middle = content.index(b"folder/two") + 15 if pack is zipped else len(content) // 2
        content[middle] ^= 0xFF
        content[middle + 2] ^= 0xFF
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            read(tmp_path / "a.gz", list(FILES))

    def test_a_missing_archive_is_refused(self, pack, read, tmp_path):
        with pytest.raises(InputError, match=r"cannot be read: .*No such file"):
            read(tmp_path / "a.gz", list(FILES))

    def test_what_unpacks_without_an_end_is_refused(self, pack, read, tmp_path, monkeypatch):
        (tmp_path / "a.gz").write_bytes(pack(FILES | {"zeros": bytes(10**6)}))
        monkeypatch.setattr(files, "UNPACKED_BYTES", 10**5)
        with pytest.raises(InputError, match=r"a\.gz cannot be read: it unpacks to more than 100,000 bytes"):
            read(tmp_path / "a.gz", ["zeros"])
        (tmp_path / "a.gz").write_bytes(pack(FILES))
        assert read(tmp_path / "a.gz", list(FILES)) == FILES


def test_arrays_that_unpack_without_an_end_are_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10**6, np.uint8))
    monkeypatch.setattr(files, "UNPACKED_BYTES", 10**5)
    with pytest.raises(InputError, match=r"a\.npz cannot be read: it unpacks to more than 100,000 bytes"):
        read_npz(tmp_path / "a.npz", {"x": 1})


def test_an_array_is_not_larger_than_its_file(tmp_path):
    """Its header says how many numbers there are."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("x.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (10**15,)})
    with pytest.raises(InputError, match=r"a\.npz cannot be read: "):
        read_npz(tmp_path / "a.npz", {"x": 1})


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def sparse(name):
    """A file of 2^60 bytes, all of them a hole."""
    member = tarfile.TarInfo(name)
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**60)}
    return member


@pytest.mark.parametrize(
    "members",
    [
        [link("a", "b"), link("b", "a")],
        [link("a", "a")],
        [link("a", "b", tarfile.LNKTYPE), link("b", "a", tarfile.LNKTYPE)],
        [link("a", "../../etc/passwd")],
        [link("a", "", tarfile.FIFOTYPE)],
        [link("a", "", tarfile.DIRTYPE)],
        [sparse("a")],
    ],
    ids=lambda members: members[0].type.decode() + members[0].linkname,
)
def test_what_is_no_file_of_a_tar_is_not_read(tmp_path, members):
    with tarfile.open(tmp_path / "a.gz", "w:gz") as archive:
        for member in members:
            archive.addfile(member)
    with pytest.raises(InputError, match=r"a\.gz (has no file a|cannot be read: )"):
        read_tar(tmp_path / "a.gz", ["a"])


def test_damaged_headers_of_a_tar(tmp_path):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        member = tarfile.TarInfo("a")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    refused = 0
    for place in range(0, 512, 5):
        content = bytearray(written.getvalue())
        content[place] ^= 0x8F
        (tmp_path / "a.gz").write_bytes(gzip.compress(content, 1))
        try:
            found = read_tar(tmp_path / "a.gz", ["a"])
        except InputError:
            refused += 1
        else:
            assert found == {"a": b"abc"}
    assert refused > 90
