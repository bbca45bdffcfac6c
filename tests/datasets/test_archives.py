import io
import zipfile

import pytest
from tarred import tar

from tonsure.datasets.archives import read_tar, read_zip
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
