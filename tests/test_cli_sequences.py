"""`segattn translate` and `segattn caption`, as a person uses them."""

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.xdist_group("sequences")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype("uint8")).save(path)
    return path


def test_translate_prints_the_answer_and_draws_the_alignment(segattn, written_models, tmp_path):
    folder = written_models["folder"] / "speller"
    done = segattn("translate", "--model", folder, "bad", "ax", "--best", 2, "-o", tmp_path / "drawn")
    assert "attended to" in done.out
    assert "unknown to the model: x" in done.err
    with Image.open(tmp_path / "drawn" / "bad_alignment.png") as image:
        assert image.mode == "RGB"
    assert (tmp_path / "drawn" / "ax_alignment.png").is_file()
    segattn("translate", "--model", folder, "bad", "-o", tmp_path / "one.png")
    assert (tmp_path / "one.png").is_file()


def test_caption_prints_the_answer_and_draws_what_each_word_saw(segattn, written_models, picture, monkeypatch):
    folder = written_models["folder"] / "describer"
    monkeypatch.chdir(picture.parent)
    done = segattn("caption", picture.name, "--model", folder, "--best", 3)
    assert "photo_caption.png" in done.out
    with Image.open("photo_caption.png") as image:
        assert image.mode == "RGB"
    segattn("caption", picture.name, "--model", folder, "-o", "other.png")
    assert (picture.parent / "other.png").is_file()


def test_the_wrong_model_for_it_is_named(segattn, written_models, picture):
    speller, describer = (written_models["folder"] / name for name in ("speller", "describer"))
    assert "looks at no pictures" in segattn("caption", picture, "--model", speller, code=1).err
    assert "reads no text" in segattn("translate", "bad", "--model", describer, code=1).err
    assert "name under savedmodels/" in segattn("translate", "bad", "--model", "none", code=1).err
    assert "writes no sentences" in segattn("translate", "bad", "--model", "fcn8s", code=1).err
