import pytest

from keras_segattn.files import folder_for_writing, replaced


def test_the_file_appears_only_when_whole(tmp_path):
    path = tmp_path / "scores.json"
    with replaced(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.suffix == ".json"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("old")

    def write_half():
        with replaced(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder to write into"), replaced(tmp_path / "no" / "x"):
        pass


def test_two_writers_of_one_file_do_not_share_a_temporary(tmp_path):
    with replaced(tmp_path / "x") as first, replaced(tmp_path / "x") as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["first"]


def test_a_folder_made_for_a_file_that_failed_vanishes(tmp_path):
    def fail():
        with folder_for_writing(tmp_path / "a" / "b"):
            assert (tmp_path / "a" / "b").is_dir()
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
