"""`segattn sample`, as a person uses it."""

import numpy as np
import pytest
import theano_gans as theano
from harness import randomise
from keras_segattn.exported import find_exported, load_exported
from keras_segattn.exported_generator import keras_generator, load_generator
from PIL import Image

from keras_segattn import ConditionalDCGANGenerator, DCGANGenerator, export, get_model
from keras_segattn.generation import noise

pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture
def published(tmp_path):
    """A folder of random house numbers, of two epochs."""
    shapes = theano.dcgan_generator_shapes(100, 3, 64, 3)
    for epoch in (20, 200):
        theano.write_list(theano.released_like(shapes, seed=epoch), tmp_path / f"{epoch}_gen_params.jl")
    return tmp_path


def test_the_published_arrays_become_a_grid(segattn, published, tmp_path):
    out = tmp_path / "new" / "grid.png"
    done = segattn("sample", "--model", "dcgan_svhn", "--weights", published, "-o", out, "--count", 6)
    assert str(out) in "".join(done.out.split())
    with Image.open(out) as image:
        assert image.size == (6 * 64 + 5 * 2, 64)
        drawn = image.tobytes()
    segattn("sample", "--model", "dcgan_svhn", "--weights", published / "200_gen_params.jl", "-o", out, "--count", 6)
    with Image.open(out) as image:
        assert image.tobytes() == drawn  # the longest trained


def test_a_trained_generator(segattn, tmp_path):
    model = DCGANGenerator(latent=8, image_shape=(16, 16, 1), filters=2, statistics="moving")
    randomise(model)
    model.save(tmp_path / "model.keras")
    options = ("sample", "--model", tmp_path / "model.keras", "-o", tmp_path / "grid.png", "--scale", 1)
    segattn(*options, "--count", 9, "--noise", "uniform")
    with Image.open(tmp_path / "grid.png") as image:
        assert image.size == (8 * 18 - 2, 2 * 18 - 2)
    assert "has its own" in segattn(*options, "--weights", tmp_path / "x.h5", code=1).err


@pytest.mark.parametrize("model", ["dcgan_mnist", "savedmodels/dcgan_mnist/dcgan_mnist_float16.tflite"])
def test_the_released_generator_draws_digits(segattn, tmp_path, model):
    out = tmp_path / "grid.png"
    segattn("sample", "--model", model, "-o", out, "--count", 40, "--noise", "uniform", "--scale", 1)
    with Image.open(out) as image:
        grid = np.asarray(image.convert("L"))
    digits = [grid[top : top + 28, left : left + 28] for top in range(0, 150, 30) for left in range(0, 240, 30)]
    read = load_exported(find_exported("stn_rotated")).run(np.stack(digits)[..., None])["logits"].argmax(axis=-1)
    assert (read == np.arange(40) % 10).mean() >= 0.8


def test_a_conditional_generator_draws_classes_in_turn_or_one(segattn, tmp_path):
    model = ConditionalDCGANGenerator(latent=8, classes=3, filters=2, units=8, statistics="moving")
    randomise(model)
    model.save(tmp_path / "model.keras")
    options = ("sample", "--model", tmp_path / "model.keras", "--count", 6, "--scale", 1)
    segattn(*options, "-o", tmp_path / "all.png")
    segattn(*options, "-o", tmp_path / "one.png", "--label", 1)
    pictures = []
    for name in ("all.png", "one.png"):
        with Image.open(tmp_path / name) as image:
            pictures.append(np.asarray(image).reshape(28, 6 * 30 - 2, -1))
    same = [(pictures[0][:, left : left + 28] == pictures[1][:, left : left + 28]).all() for left in range(0, 180, 30)]
    assert same == [False, True, False] * 2
    assert "classes of this generator are 3" in segattn(*options, "-o", tmp_path / "x.png", "--label", 3, code=1).err


def test_every_form_of_a_generator_draws_the_same(tmp_path):
    model = ConditionalDCGANGenerator(latent=8, classes=3, filters=2, units=8, statistics="moving")
    randomise(model)
    export.saved_model(model, tmp_path, 1, preprocess=None, signatures=("serving_default",), name="served")
    export.tflite(model, tmp_path / "model.tflite")
    z, labels = noise("uniform", 4, 8), np.array([0, 2, 1, 1])
    expected = keras_generator(model).sample(z, labels).astype(int)
    assert expected.std() > 1
    for path in (tmp_path / "served" / "1", tmp_path / "model.tflite"):
        made = load_generator(path).sample(z, labels)
        assert np.abs(made - expected).max() <= 1  # rounded to integers
    with pytest.raises(ValueError, match="expected labels"):
        keras_generator(model).sample(z)
    with pytest.raises(ValueError, match=r"in 0\.\.2"):
        keras_generator(model).sample(z, labels + 1)


def test_what_cannot_be_sampled_is_named(segattn, published, tmp_path):
    out = ("-o", tmp_path / "grid.png")
    assert "give --weights" in segattn("sample", "--model", "dcgan_svhn", *out, code=1).err
    (tmp_path / "empty").mkdir()
    error = segattn("sample", "--model", "dcgan_svhn", "--weights", tmp_path / "empty", *out, code=1).err
    assert "expected files such as 200_gen_params.jl_01.npy" in error
    model = get_model("squeezenet1_1", alpha=0.125, input_shape=(32, 32, 3), classes=2)
    model.save(tmp_path / "model.keras")
    error = segattn("sample", "--model", tmp_path / "model.keras", *out, code=1).err
    assert "generates no images" in error
    assert "is no generator" in segattn("sample", "--model", "stn_rotated", *out, code=1).err
    assert not (tmp_path / "grid.png").exists()


def test_other_commands_say_what_generators_are_for(segattn, published, tmp_path):
    picture = tmp_path / "picture.png"
    Image.new("RGB", (8, 8)).save(picture)
    assert "segattn sample" in segattn("predict", "--model", "dcgan_generator", picture, code=1).err
    list_ = published / "200_gen_params.jl_01.npy"
    error = segattn("convert", list_, "--model", "dcgan_generator", "-o", tmp_path / "g.tflite", code=1).err
    assert "takes noise, not pictures" in error
    assert "DCGANGenerator" in segattn("list", "--family", "generation").out
