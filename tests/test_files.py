import os
import subprocess
import sys
import time

import pytest

from keras_segattn import files
from keras_segattn.files import folder_for_writing, remove_stale, replaced, temporary_path

# The module is loaded without the package, which takes seconds to import.
KILLED = """
import os, pathlib, runpy, signal, sys
files = runpy.run_path(sys.argv[1])
with files[sys.argv[2]](pathlib.Path(sys.argv[3])) as temporary:
    if sys.argv[2] == "temporary_path":
        temporary.mkdir()
        temporary /= "saved_model.pb"
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_it_writes(function, path):
    run = subprocess.run([sys.executable, "-c", KILLED, files.__file__, function, path], check=False)
    assert run.returncode == -9


def names(folder):
    return sorted(path.name for path in folder.iterdir())


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


def test_what_a_killed_writer_left_vanishes_at_the_next_write_to_the_path(tmp_path):
    for name in ("scores.json", "other.scores.json"):
        kill_while_it_writes("replaced", tmp_path / name)
    assert len(names(tmp_path)) == 4
    with replaced(tmp_path / "scores.json") as temporary:
        temporary.write_text("whole")
    lock, partial, whole = names(tmp_path)
    assert (lock.startswith(".lock.partial."), partial.startswith(".partial."), whole) == (True, True, "scores.json")
    assert lock.endswith(".other.scores.json")
    remove_stale(tmp_path, ".partial.*")
    assert names(tmp_path) == ["scores.json"]


def test_what_a_killed_maker_of_a_folder_left_vanishes_with_the_next_folder(tmp_path):
    kill_while_it_writes("temporary_path", tmp_path)
    (tmp_path / ".partial.of another program").touch()
    assert len(names(tmp_path)) == 3
    with temporary_path(tmp_path) as temporary:
        temporary.mkdir()
        temporary.rename(tmp_path / "1")
    assert names(tmp_path) == [".partial.of another program", "1"]


def test_a_folder_that_is_not_renamed_vanishes(tmp_path):
    with temporary_path(tmp_path) as temporary:
        (temporary / "variables").mkdir(parents=True)
    assert names(tmp_path) == []


def test_a_file_that_a_living_process_writes_stays(tmp_path):
    code = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "print(flush=True), input()")
    arguments = [sys.executable, "-c", code, files.__file__, "replaced", tmp_path / "scores.json"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        with replaced(tmp_path / "scores.json") as temporary:
            temporary.write_text("whole")
        remove_stale(tmp_path, ".partial.*")
        assert (tmp_path / "scores.json").read_text() == "whole"
        assert len(names(tmp_path)) == 3
        other.communicate("\n")
    assert other.returncode == 0
    assert (tmp_path / "scores.json").read_text() == "half"
    assert names(tmp_path) == ["scores.json"]


def test_where_files_cannot_be_locked_a_day_must_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_acquire", lambda _: None)
    kill_while_it_writes("replaced", tmp_path / "scores.json")
    left = list(tmp_path.iterdir())
    remove_stale(tmp_path, ".partial.*")
    assert len(names(tmp_path)) == 2
    for path in left:
        os.utime(path, (time.time() - files.DAY - 60,) * 2)
    with replaced(tmp_path / "scores.json") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == ["scores.json"]


def test_a_lock_that_was_taken_for_a_stale_one_is_replaced(tmp_path, monkeypatch):
    outcomes = iter([False, True])
    monkeypatch.setattr(files, "_acquire", lambda _: next(outcomes))
    with replaced(tmp_path / "scores.json") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == ["scores.json"]


def test_brackets_in_a_name_are_no_pattern(tmp_path):
    kill_while_it_writes("replaced", tmp_path / "a[1].png")
    with replaced(tmp_path / "a[1].png") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == ["a[1].png"]
