"""Names of the files that `segattn predict` writes: distinct, inside the folder, and never those of the inputs."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.cli.predict import file_key, targets

# Longest name of a file on common systems, and what a temporary file's name adds to it, in bytes.
LONGEST, ADDED = 255, len(".lock.partial.12345678.")
TEXTS = st.text(max_size=80).map(lambda text: text.replace("\r", "x"))


def names(place, inputs, noun="overlay", taken=None):
    return targets(place, inputs, noun, {file_key(one) for one in inputs} if taken is None else taken)


@settings(max_examples=60, deadline=None)
@given(
    inputs=st.lists(TEXTS | st.sampled_from(["a b", "a_b", "A  B", "a/0001.png", "b/0001.png", "é", "é"]), max_size=8)
)
def test_outputs_never_collide_nor_leave_the_folder(inputs):
    place = Path("somewhere/new")
    found = names(place, inputs) if len(inputs) != 1 else names(place, [*inputs, *inputs])
    assert len({file_key(path) for path in found}) == len(found)
    for path in found:
        assert path.parent == place
        assert path.name.endswith("_overlay.png")
        assert not path.name.startswith((".", "-"))
        assert len(path.name.encode()) + ADDED <= LONGEST


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["a/0001.png", "b/0001.png", "a/0001.jpg"], ["0001_overlay", "0001_2_overlay", "0001_3_overlay"]),
        (["a b", "a_b", "a  b", "A B"], ["a_b_overlay", "a_b_2_overlay", "a_b_3_overlay", "A_B_4_overlay"]),
        (["x", "x", "x_2"], ["x_overlay", "x_2_overlay", "x_2_2_overlay"]),
        (
            ["../up", "/etc/passwd", "..", ""],
            ["up_overlay", "etc_passwd_overlay", "output_overlay", "output_2_overlay"],
        ),
    ],
)
def test_inputs_of_one_name_get_distinct_outputs(inputs, expected):
    assert [path.stem for path in names(Path("out"), inputs)] == expected


def test_inputs_are_never_overwritten(tmp_path):
    inputs = [str(tmp_path / "a.png"), str(tmp_path / "a_overlay.png")]
    assert [path.name for path in names(tmp_path, inputs)] == ["a_2_overlay.png", "a_overlay_overlay.png"]
    with pytest.raises(ValueError, match=r"A\.png is an input or another output"):
        names(tmp_path / "A.png", inputs[:1])


def test_pictures_and_masks_never_share_a_file(tmp_path):
    taken = set()
    pictures, masks = (names(tmp_path, ["a.png", "b.png"], taken=taken) for _ in range(2))
    assert not set(pictures) & set(masks)
    names(tmp_path / "one.png", ["a.png"], taken=taken)
    with pytest.raises(ValueError, match=r"one\.png is an input or another output"):
        names(tmp_path / "one.png", ["a.png"], taken=taken)


def test_a_place_that_is_no_folder_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "out.png"):
        with pytest.raises(ValueError, match="expected a folder for the results of 2 inputs, received a file"):
            names(place, ["a.png", "b.png"])
    with pytest.raises(ValueError, match=r"out\.txt: expected an image suffix such as \.png"):
        names(tmp_path / "out.txt", ["a.png"])
    assert names(tmp_path / "new", ["a.png"]) == [tmp_path / "new" / "a_overlay.png"]


def test_inputs_behind_links_are_never_overwritten(tmp_path):
    photos, link = tmp_path / "photos", tmp_path / "link"
    photos.mkdir()
    link.symlink_to(photos, target_is_directory=True)
    (photos / "a_overlay.png").touch()
    inputs = [str(photos / "a.png"), str(photos / "a_overlay.png")]
    assert [path.name for path in names(link, inputs)] == ["a_2_overlay.png", "a_overlay_overlay.png"]
    (tmp_path / "a.png").symlink_to(photos / "a_overlay.png")
    assert [path.name for path in names(photos, [str(tmp_path / "a.png")])] == ["a_2_overlay.png"]
    with pytest.raises(ValueError, match=r"a_overlay\.png is an input or another output"):
        names(photos / "a_overlay.png", [str(tmp_path / "a.png")])


def test_folders_are_not_written_as_files(tmp_path):
    (tmp_path / "a_overlay.png").mkdir()
    assert [path.name for path in names(tmp_path, ["a.png"])] == ["a_2_overlay.png"]
