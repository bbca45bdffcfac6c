import pytest

from tonsure.durable_files import write_file


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    places = []
    write_file(path, lambda beside: (places.append(beside), beside.write_text("new")))
    assert path.read_text() == "new"
    assert places[0].parent == tmp_path
    assert places[0].suffix == ".csv"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def half(beside):
        beside.write_text("ne")
        assert path.read_text() == "old"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "none" / "table.csv", lambda beside: beside.write_text("new"))
