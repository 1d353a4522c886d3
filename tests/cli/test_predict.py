"""`segattn predict` with models of every task, stored in every form."""

import numpy as np
import pytest
import theano_gans as theano
from harness import randomise
from keras import ops
from PIL import Image

import keras_segattn as ks
from keras_segattn import export
from keras_segattn.application import save
from keras_segattn.cli.parsing import parse_arguments, parse_labels, parse_size, parse_sizes

ROOT = "savedmodels"
# Tests that read the models of `written_models` run in the worker that makes them for `test_saved_sequences.py`.
sequences = pytest.mark.xdist_group("sequences")


def image_of(path):
    with Image.open(path) as image:
        return image.convert("RGB")


# -- classes of a picture


def test_a_classifier_names_classes(segattn, objects, classifier, trained):
    first, second = sorted((trained / "images").iterdir())[:2]
    plain = segattn("predict", classifier, first, second).out
    assert plain.count("│ class ") == 10
    assert "probability" in plain
    assert {str(first), str(second)} <= set(plain.splitlines())  # a long title is not wrapped at the width of its table
    named = segattn("predict", classifier, first, "--labels", "ant,bee,cat,dog,elk,fly,gnu", "--top", 7).out
    assert all(name in named for name in ("ant", "bee", "cat", "dog", "elk", "fly", "gnu"))
    done = segattn("predict", classifier, first, "--labels", "ant,bee", code=1)
    assert "7 classes" in done.err
    assert "received ['ant', 'bee']" in done.err
    (found,) = objects("predict", classifier, first)
    assert found["input"] == str(first)
    assert found["task"] == "classify"
    assert len(found["classes"]) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{classifier}"], "expected image, a picture, behind the model; received none"),
        (["{classifier}", "{photo}", "-o", "x.png"], "has no picture to write: its task is 'classify'"),
        (["{classifier}", "{photo}", "--masks", "x.png"], "has no masks to write: its task is 'classify'"),
        (["{classifier}", "{photo}", "--weights", "imagenet"], "weights and arguments are for builders"),
        (["{classifier}", "{photo}", "--score-threshold", "0.5"], "'classify'"),
        (["{classifier}", "{photo}", "--input", "question=why"], "unknown input 'question'"),
        (["resnet5", "{photo}"], "did you mean 'ResNet50'"),
        (["resnet18", "{photo}"], "no package ships weights of ResNet18: give weights="),
        (["resnet18", "{photo}", "--weights", "imagenet"], "unknown weights 'imagenet'"),
        (["resnet18", "{photo}", "--weights", "imagenet", "-a", "clases=3"], "did you mean 'classes'"),
        (["{classifier}", "{segmenter}"], "not a readable picture"),
        (["{classifier}", "nowhere.png"], "nowhere.png"),
    ],
)
def test_what_predict_refuses(segattn, classifier, trained, photo, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    files = {"photo": photo, "classifier": classifier, "segmenter": trained / "model.keras"}
    done = segattn("predict", *(argument.format(**files) for argument in arguments), code=1)
    assert message in done.err
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_means_two_things_is_refused_with_both(segattn, photo, tmp_path):
    error = segattn("predict", "fcn8s", photo, "-o", tmp_path / "overlay.png", code=1).err
    assert f"{ROOT}/fcn8s/1 or the builder FCN8s" in error


# -- classes of every pixel


def test_overlays_masks_and_json_of_a_folder(segattn, objects, trained, tmp_path):
    out, masks = tmp_path / "overlays", tmp_path / "masks"
    found = objects("predict", trained / "model.keras", trained / "images", "-o", out, "--masks", masks)
    assert [one["input"] for one in found] == [str(path) for path in sorted((trained / "images").iterdir())]
    assert found[0]["output"] == str(out / "0_overlay.png")
    assert {one["name"] for one in found[0]["classes"]} <= {"sea", "land", "lake"}
    assert len(list(out.iterdir())) == len(list(masks.iterdir())) == 8
    assert image_of(out / "0_overlay.png").width >= 56
    with Image.open(masks / "0_overlay.png") as mask:
        assert mask.size == (56, 40)
        numbers = np.asarray(mask)
    shares = {one["index"]: one["share"] for one in found[0]["classes"]}
    assert {int(n): np.mean(numbers == n) for n in np.unique(numbers)} == pytest.approx(shares)


def test_the_class_to_leave_clear_has_a_name(segattn, trained, photo, tmp_path):
    for option, name in (((), "all.png"), (("--clear", "sea"), "clear.png")):
        segattn("predict", trained / "model.keras", photo, "-o", tmp_path / name, *option)
    assert image_of(tmp_path / "all.png").tobytes() != image_of(tmp_path / "clear.png").tobytes()
    error = segattn("predict", trained / "model.keras", photo, "-o", tmp_path / "x.png", "--clear", "sky", code=1).err
    assert "called sea, land, lake" in error


def test_the_flagship_s_export_opens(segattn, photo, tmp_path):
    """It is the first command that a newcomer tries, with the path that the model's name alone would not mean."""
    done = segattn("predict", f"{ROOT}/fcn8s", photo, "-o", tmp_path / "overlay.png")
    assert any(name in done.out for name in ("sea", "land", "lake"))
    assert image_of(tmp_path / "overlay.png").width >= 56


# -- objects


@pytest.mark.thorough
def test_somebody_s_weights_become_a_phone_file_that_finds_what_keras_finds(segattn, detector, tmp_path):
    tiny = ks.model_card("MaskRCNN").tiny
    options = [f"--argument={name}={value!r}" for name, value in tiny.items()]
    phone = tmp_path / "phone.tflite"
    file = detector / "model.safetensors"
    segattn("export", "mask_rcnn", "--weights", file, "-o", phone, "--labels=cat,dog,bird", *options)
    scene = detector / "scene.png"
    written = ("-o", tmp_path / "phone.png", "--masks", tmp_path / "masks.png")
    by_phone = segattn("predict", phone, scene, *written, "--score-threshold=0").out
    written = ("-o", tmp_path / "k.png", "--masks", tmp_path / "m.png")
    by_keras = segattn("predict", detector / "model.keras", scene, *written, "--score-threshold=0").out
    assert by_phone.replace("phone.png", "k.png").replace("masks.png", "m.png") == by_keras
    assert any(name in by_phone for name in ("cat", "dog", "bird"))
    assert (tmp_path / "phone.png").read_bytes() == (tmp_path / "k.png").read_bytes()
    with Image.open(tmp_path / "m.png") as instances:
        assert instances.size == (90, 50)


# -- spatial transformers


@pytest.fixture
def digit(tmp_path):
    """Make a picture of an upright digit from scikit-learn, enlarged."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    image = Image.fromarray((digits.images[0] * 255 / 16).astype("uint8"))
    path = tmp_path / "digit.png"
    Image.fromarray(np.pad(np.asarray(image.resize((40, 40), Image.Resampling.BICUBIC)), 8)).save(path)
    return path, int(digits.target[0])


@pytest.mark.parametrize("model", [f"{ROOT}/stn_rotated", f"{ROOT}/stn_rotated/stn_rotated_int8.tflite"])
def test_a_released_model_names_a_digit_and_shows_it_rectified(segattn, objects, digit, tmp_path, model):
    path, label = digit
    (found,) = objects("predict", model, path, "-o", tmp_path / "out.png")
    assert found["classes"][0]["name"] == str(label)
    assert "theta:" in segattn("predict", model, path).out
    image = image_of(tmp_path / "out.png")
    assert image.width > image.height  # the picture beside the crop that the classifier saw


def test_a_trained_transformer_and_several_pictures_of_one_name(segattn, digit, tmp_path):
    path, _ = digit
    model = ks.SpatialTransformerNetwork(transform="thin_plate_spline", units=4, filters=(2, 2))
    randomise(model)
    model.save(tmp_path / "model.keras")
    out = tmp_path / "out"
    segattn("predict", tmp_path / "model.keras", path, path, "-o", out, "--labels", ",".join("abcdefghij"))
    assert len({file.name for file in out.iterdir()}) == 2
    assert "theta:" in segattn("predict", tmp_path / "model.keras", path).out


def test_a_reader_of_house_numbers_gives_a_class_for_each_place(segattn, digit, tmp_path):
    path, _ = digit
    model = ks.SpatialTransformerHouseNumbers(input_shape=(32, 32, 3), alpha=0.05, units=(8,))
    for weight in model.weights:
        weight.assign(ops.zeros_like(weight))
    for place, number in enumerate((4, 0, 7, 10, 10), start=1):
        model.get_layer(f"place{place}").bias.assign(8.0 * np.eye(11)[number])
    for index in range(1, 5):  # weights of zero give the identity, and now theta is zero
        model.get_layer(f"st{index}_theta").bias.assign([1, 0, 0, 0, 1, 0])
    model.save(tmp_path / "model.keras")
    labels = ("--labels", "0,1,2,3,4,5,6,7,8,9,none")
    done = segattn("predict", tmp_path / "model.keras", path, "-o", tmp_path / "out.png", *labels)
    lines = [line.strip("│ ") for line in done.out.splitlines()]
    assert [line.split()[2] for line in lines if "0.99" in line] == ["4", "0", "7", "none", "none"]
    assert "407" in lines
    assert (tmp_path / "out.png").is_file()


def test_a_baseline_without_transformer_is_recognised(segattn, digit, tmp_path):
    path, _ = digit
    baseline = ks.SpatialTransformerNetwork(transform=None, classifier="fcn", units=4)
    export.saved_model(baseline, tmp_path, name="plain")
    assert "probability" in segattn("predict", tmp_path / "plain", path).out


# -- sentences


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype("uint8")).save(path)
    return path


@sequences
def test_texts_are_translated_with_their_alignment(segattn, objects, written_models, tmp_path):
    folder = written_models["speller"][1].path.parent
    done = segattn("predict", folder, "bad", "ax", "--best", 2, "-o", tmp_path / "drawn")
    assert "unknown to the model: x" in done.err
    assert image_of(tmp_path / "drawn" / "bad_attention.png").mode == "RGB"
    assert (tmp_path / "drawn" / "ax_attention.png").is_file()
    found = objects("predict", folder, "bad", "--best", 2)
    assert len(found[0]["sentences"]) == 2
    assert found[0]["output"] is None


@sequences
@pytest.mark.thorough
def test_pictures_are_described_with_what_each_word_saw(segattn, written_models, picture):
    folder = written_models["describer"][1].path.parent
    assert "score" in segattn("predict", folder, picture, "--best", 3, "-o", picture.with_name("other.png")).out
    assert image_of(picture.with_name("other.png")).mode == "RGB"


@sequences
def test_names_of_files_from_texts_stay_in_the_folder(segattn, written_models, tmp_path):
    folder = written_models["speller"][1].path.parent
    out = tmp_path / "drawn"
    segattn("predict", folder, "../bad", "a/b", "b a d" * 60, "-o", out)
    assert len(list(out.iterdir())) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"drawn"}


# -- images out of noise


@pytest.fixture
def published(tmp_path):
    """Make a folder with weights of a random house-number generator from two epochs, in DCGAN's published format."""
    shapes = theano.dcgan_generator_shapes(100, 3, 64, 3)
    for epoch in (20, 200):
        theano.write_list(theano.released_like(shapes, seed=epoch), tmp_path / f"{epoch}_gen_params.jl")
    return tmp_path


def test_the_published_arrays_become_a_grid(segattn, published, tmp_path):
    out = tmp_path / "new" / "grid.png"
    weights = ("--weights", published / "200_gen_params.jl")
    arguments = ("-a", "image_shape=(32, 32, 3)", "-a", "filters=64", "-a", "distribution=normal")
    done = segattn("predict", "dcgan_generator", *weights, *arguments, "-o", out, "--count", 6, "--scale", 2)
    assert str(out) in "".join(done.out.split())
    assert image_of(out).size == (6 * 64 + 5 * 2, 64)


def test_a_conditional_generator_draws_classes_in_turn_or_one(segattn, tmp_path):
    model = ks.ConditionalDCGANGenerator(latent=8, classes=3, filters=2, units=8, statistics="moving")
    randomise(model)
    save(model, tmp_path / "model.keras", facts=ks.facts_of(model))
    options = ("predict", tmp_path / "model.keras", "--count", 6, "--scale", 1)
    segattn(*options, "-o", tmp_path / "all.png")
    segattn(*options, "-o", tmp_path / "one.png", "--label", 1)
    grids = {name: np.asarray(image_of(tmp_path / name)) for name in ("all.png", "one.png")}
    assert grids["all.png"].shape == (2 * 30 - 2, 3 * 30 - 2, 3)  # each column shows one class
    turns = [grids["all.png"][top : top + 28, left : left + 28] for top in (0, 30) for left in (0, 30, 60)]
    ones = [grids["one.png"][:, left : left + 28] for left in range(0, 180, 30)]
    assert [np.array_equal(a, b) for a, b in zip(turns, ones, strict=True)] == [False, True, False] * 2
    assert "3 classes" in segattn(*options, "-o", tmp_path / "x.png", "--label", 3, code=1).err


@pytest.mark.parametrize("model", [f"{ROOT}/dcgan_mnist", f"{ROOT}/dcgan_mnist/dcgan_mnist_float16.tflite"])
def test_the_released_generator_draws_digits_from_the_noise_it_knows(segattn, tmp_path, model):
    out = tmp_path / "grid.png"
    segattn("predict", model, "-o", out, "--count", 40, "--scale", 1)
    grid = np.asarray(image_of(out).convert("L"))
    digits = [grid[top : top + 28, left : left + 28] for top in range(0, 120, 30) for left in range(0, 300, 30)]
    reader = ks.load(f"{ROOT}/stn_rotated")
    read = [result.best.index for result in reader.predict_many(np.repeat(digit[..., None], 3, -1) for digit in digits)]
    assert np.mean(np.array(read) == np.arange(40) % 10) >= 0.8


def test_a_generator_takes_no_inputs(segattn, photo):
    assert "takes no further input" in segattn("predict", f"{ROOT}/dcgan_mnist", photo, code=1).err


# -- texts of options


def test_options_are_parsed(tmp_path):
    assert parse_arguments(["classes=3", "variant=detectron2", "blocks=(1, 2)"]) == {
        "classes": 3,
        "variant": "detectron2",
        "blocks": (1, 2),
    }
    with pytest.raises(ValueError, match="expected NAME=VALUE, received '3'"):
        parse_arguments(["3"])
    assert parse_size("256x320") == (256, 320)
    with pytest.raises(ValueError, match="expected a size such as 256x320"):
        parse_size("0x3")
    assert parse_sizes(["64", "question=6"], ["image"]) == {"image": (64, 64), "question": (6,)}
    many = [f"class {i}" for i in range(200)]  # longer than a file name may be
    assert parse_labels(",".join(many)) == many
    (tmp_path / "labels.txt").write_text("sea\nland")
    assert parse_labels(str(tmp_path / "labels.txt")) == ["sea", "land"]
