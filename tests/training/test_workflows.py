"""Tests of workflows, which lead from the text of `--data` to a trained model, for every task."""

import inspect
import json

import keras
import numpy as np
import pytest
from PIL import Image

import keras_segattn
from keras_segattn import model_card, read_facts
from keras_segattn.data import PictureBatches, class_folder, open_source, picture_folder, source_forms
from keras_segattn.fields import Boxes, Picture, Tokens
from keras_segattn.registry import list_models
from keras_segattn.training import CheckpointError
from keras_segattn.training.workflows import WORKFLOWS, evaluate, train
from keras_segattn.training.workflows.detect import TRAINERS
from keras_segattn.training.workflows.write import size_argument

SEGMENTER = {"backbone": "squeezenet1_1", "alpha": 0.0625}
WRITER = {"units": 6, "embedding": 5, "maxout": 4, "alignment": 7}
CAPTIONER = {"backbone": "squeezenet1_1", "alpha": 0.125, "units": 6, "embedding": 5}
GAN = {"latent": 8, "filters": 4, "statistics": "moving"}
DETECTOR = {
    name: value for name, value in model_card("MaskRCNN").tiny.items() if name not in ("classes", "input_shape")
}


def picture(path, size=(20, 24), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def masks(tmp_path):
    """Write a `folder:` of three pictures with masks of two classes."""
    (tmp_path / "masks").mkdir()
    for number in range(3):
        picture(tmp_path / "images" / f"{number}.png", seed=number)
        mask = np.random.default_rng(number).integers(0, 2, (20, 24), dtype=np.uint8)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    return f"folder:{tmp_path}/images,{tmp_path}/masks"


@pytest.fixture
def flowers(tmp_path):
    """Write a `folder:` of two classes with two pictures each."""
    for place, name in enumerate(("daisy", "tulip")):
        for number in range(2):
            picture(tmp_path / "flowers" / name / f"{number}.png", seed=2 * place + number)
    return f"folder:{tmp_path}/flowers"


@pytest.fixture
def scenes(tmp_path):
    """Write `coco:` data of two pictures with one object each."""
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 64, "width": 96} for i in (1, 2)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": category,
                "bbox": [10, 10, 40, 30],
                "segmentation": [[10, 10, 50, 10, 50, 40, 10, 40]],
                "iscrowd": 0,
            }
            for i, category in ((1, 3), (2, 7))
        ],
    }
    for entry in content["images"]:
        picture(tmp_path / "scenes" / entry["file_name"], (64, 96), entry["id"])
    (tmp_path / "scenes.json").write_text(json.dumps(content))
    return f"coco:{tmp_path}/scenes.json,{tmp_path}/scenes"


@pytest.fixture
def sentences(tmp_path):
    """Write `text:` data of four pairs of sentences."""
    (tmp_path / "source.txt").write_text("the cat\nthe dog sleeps\nthe cat sleeps\na dog\n")
    (tmp_path / "target.txt").write_text("die Katze\nder Hund schläft\ndie Katze schläft\nein Hund\n")
    return f"text:{tmp_path}/source.txt,{tmp_path}/target.txt"


@pytest.fixture
def described(tmp_path):
    """Write `flickr:` data of two pictures with captions."""
    for name in ("1.jpg", "2.jpg"):
        picture(tmp_path / "described" / name)
    (tmp_path / "tokens.txt").write_text("1.jpg#0\tA cat.\n1.jpg#1\tA small cat sleeps.\n2.jpg#0\tA dog.\n")
    return f"flickr:{tmp_path}/tokens.txt,{tmp_path}/described"


def quick(model, data, run_dir, **options):
    """Train one epoch in batches of two, unless the options say otherwise."""
    return train(model, data, run_dir, **{"epochs": 1, "batch_size": 2, "progress": False} | options)


def rows(run_dir):
    """Count the finished epochs of a run."""
    return len((run_dir / "history.csv").read_text().splitlines()) - 1


def files(run_dir):
    return {path.name for path in run_dir.iterdir()}


@pytest.mark.usefixtures("eagerly")
def test_segment(masks, tmp_path):
    run = tmp_path / "run"
    options = {"arguments": SEGMENTER, "size": (32, 32), "labels": ["sea", "land"], "recipe": "fcn"}
    path = quick("fcn8s", masks, run, validation=masks, mixed_precision=True, **options)
    facts = read_facts(path)
    assert path == run / "model.keras"
    assert (facts.card, facts.task, facts.labels) == ("FCN8s", "segment", ("sea", "land"))
    assert facts.training == f"{masks} (3 pictures), 1 epoch"
    assert read_facts(run / "best.keras") == facts
    scores = evaluate(path, masks)
    assert 0 <= scores["pixel_accuracy"] <= 1
    assert list(scores)[-2:] == ["IoU of sea", "IoU of land"]


def test_segment_needs_the_number_of_classes(masks, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(ValueError, match="does not say how many classes"):
        quick("FCN8s", masks, run, arguments=SEGMENTER)
    with pytest.raises(ValueError, match="expected 3 names of classes, received 2"):
        quick("FCN8s", masks, run, arguments={**SEGMENTER, "classes": 3}, labels=["sea", "land"])
    with pytest.raises(ValueError, match="expected size"):
        quick("FCN8s", masks, run, arguments={**SEGMENTER, "classes": 2, "input_shape": (32, 32, 3)}, size=(64, 64))
    assert not run.exists()


@pytest.mark.usefixtures("eagerly")
@pytest.mark.thorough
def test_classify(flowers, tmp_path):
    run = tmp_path / "run"
    options = {"arguments": {"alpha": 0.125}, "size": (33, 33), "recipe": "inception", "learning_rate": 0.01}
    path = quick("squeezenet1_1", flowers, run, validation=flowers, **options)
    facts = read_facts(path)
    assert (facts.card, facts.labels) == ("SqueezeNet1_1", ("daisy", "tulip"))
    assert facts.training == f"{flowers} (4 pictures), 1 epoch"
    assert read_facts(run / "best.keras").labels == ("daisy", "tulip")
    quick("SqueezeNet1_1", flowers, run, epochs=2, **options)
    assert rows(run) == 2
    # A run with other settings is left as it is.
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"batch_size was 2, now 4"):
        quick("SqueezeNet1_1", flowers, run, epochs=2, batch_size=4, **options)
    assert path.read_bytes() == before
    assert set(evaluate(path, flowers, batch_size=2)) == {"top1_error"}
    with pytest.raises(ValueError, match="labels must name"):
        evaluate(path, flowers, labels=["daisy"])


@pytest.mark.thorough
def test_classify_with_a_transformer(flowers, tmp_path):
    """A classifier may have further outputs beside its logits. This one reads grey pictures, as published."""
    arguments = {"units": 8, "filters": (2, 4), "output_size": (28, 28)}
    path = quick("SpatialTransformerNetwork", flowers, tmp_path / "run", arguments=arguments, size=(28, 32))
    assert set(keras.saving.load_model(path).output) == {"logits", "theta", "transformed"}
    assert read_facts(path).inputs["image"].channels == "grey"
    wrong = arguments | {"input_shape": (28, 28, 1)}
    with pytest.raises(ValueError, match=r"expected input_shape=\(28, 32, 1\).*received \(28, 28, 1\)"):
        quick("SpatialTransformerNetwork", flowers, tmp_path / "other", arguments=wrong, size=(28, 32))


@pytest.mark.thorough
def test_detect(scenes, tmp_path):
    run = tmp_path / "run"
    path = quick("MaskRCNN", scenes, run, arguments=DETECTOR, size=(64, 96))
    facts = read_facts(path)
    assert (facts.card, facts.labels) == ("MaskRCNN", ("cat", "dog"))
    assert facts.training == f"{scenes} (2 pictures), 1 epoch"
    assert {"checkpoint.npz", "history.csv", "run.json", "settings.json"} <= files(run)
    again = quick("MaskRCNN", scenes, run, arguments=DETECTOR, size=(64, 96))
    assert rows(run) == 1
    assert "segm AP50" in evaluate(again, scenes)


@pytest.mark.usefixtures("eagerly")
def test_write_translations(sentences, tmp_path):
    run = tmp_path / "run"
    arguments = {**WRITER, "target_vocabulary": 8}
    path = quick("RNNSearch", sentences, run, arguments=arguments, validation=sentences, recipe="rnnsearch")
    facts = read_facts(path)
    assert facts.vocabularies["source"][4:] == ("the", "cat", "dog", "sleeps", "a")
    assert len(facts.vocabularies["target"]) == 8  # the most frequent of the ten that occur
    assert facts.inputs["source"] == Tokens("source", 9, lower=True)
    assert facts.training == f"{sentences} (4 pairs of sentences), 1 epoch"
    assert read_facts(run / "best.keras") == facts
    before = keras.saving.load_model(path).get_weights()
    quick("RNNSearch", sentences, run, arguments=arguments, recipe="rnnsearch")
    assert rows(run) == 1
    for old, new in zip(before, keras.saving.load_model(path).get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.thorough
def test_a_resumed_training_is_that_of_one_call(sentences, tmp_path):
    """The order of the data in an epoch does not depend on the call in which the epoch is trained."""
    options = {"arguments": WRITER, "recipe": "luong"}
    whole = quick("RNNSearch", sentences, tmp_path / "whole", epochs=2, **options)
    quick("RNNSearch", sentences, tmp_path / "parts", epochs=1, **options)
    parts = quick("RNNSearch", sentences, tmp_path / "parts", epochs=2, **options)
    first, second = (keras.saving.load_model(path).get_weights() for path in (whole, parts))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.thorough
def test_write_captions(described, tmp_path):
    path = quick("ShowAttendTell", described, tmp_path / "run", arguments=CAPTIONER, size=(64, 48))
    facts = read_facts(path)
    assert facts.vocabularies["target"][4:] == ("a", "cat", "dog", "sleeps", "small")
    assert isinstance(facts.inputs["image"], Picture)
    assert facts.training == f"{described} (2 pictures with captions), 1 epoch"
    assert keras.saving.load_model(path).input["image"].shape == (None, 64, 48, 3)


@pytest.mark.thorough
def test_write_captions_by_hard_attention(described, tmp_path):
    arguments = {**CAPTIONER, "attention": "hard"}
    quick("ShowAttendTell", described, tmp_path / "run", arguments=arguments, size=(64, 48))
    assert "cost" in (tmp_path / "run" / "history.csv").read_text()


@pytest.mark.usefixtures("eagerly")
def test_generate(flowers, tmp_path):
    run = tmp_path / "run"
    path = quick("DCGANGenerator", flowers, run, arguments=GAN | {"distribution": "normal"}, size=(16, 16))
    facts = read_facts(path)
    assert (facts.card, facts.labels, facts.inputs["z"].distribution) == ("DCGANGenerator", None, "normal")
    assert json.loads((run / "settings.json").read_text())["noise"] == "normal"
    assert read_facts(run / "discriminator.keras").card == "DCGANDiscriminator"
    assert keras.saving.load_model(run / "discriminator.keras").get_layer("down1").filters == 4
    quick("DCGANGenerator", flowers, run, epochs=2, arguments=GAN | {"distribution": "normal"}, size=(16, 16))
    assert rows(run) == 2


@pytest.mark.thorough
def test_generate_of_classes(flowers, tmp_path):
    arguments = {"filters": 2, "units": 8, "statistics": "moving", "latent": 8}
    path = quick("ConditionalDCGANGenerator", flowers, tmp_path / "run", arguments=arguments, learning_rate=1e-4)
    assert read_facts(path).labels == ("daisy", "tulip")
    with pytest.raises(ValueError, match="has no classes"):
        quick("ConditionalDCGANGenerator", f"{flowers}/daisy", tmp_path / "other", arguments=arguments)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("FCN4s", {}, "did you mean 'FCN"),
        ("SqueezeNet1_1", {"recipe": "inceptoin"}, "unknown recipe to classify.*did you mean 'inception'"),
        ("SqueezeNet1_1", {"arguments": {"alfa": 1}}, "unknown argument of SqueezeNet1_1 'alfa'.*did you mean 'alpha'"),
        ("SqueezeNet1_1", {"arguments": {"classes": 3}}, "expected classes=2.*received 3"),
        ("SqueezeNet1_1", {"labels": ["daisy"]}, "expected 2 names of classes, received 1"),
        ("DCGANDiscriminator", {}, "DCGANDiscriminator has no argument 'classes'"),
        ("DCGANGenerator", {"validation": "folder:x"}, "leave validation out"),
        ("FCN8s", {}, r"expected folder:IMAGES,MASKS\[,raw\]"),
        ("RNNSearch", {}, r"unknown data .* to write; expected one of text:SOURCE,TARGET, cmudict:FILE\[:SPLIT\]$"),
    ],
)
def test_refusals(model, options, message, flowers, tmp_path):
    with pytest.raises(ValueError, match=message):
        quick(model, flowers, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_other_classes_to_evaluate_on_are_refused(flowers, tmp_path):
    picture(tmp_path / "others" / "rose" / "1.png")
    with pytest.raises(ValueError, match="expected the same labels"):
        quick("SqueezeNet1_1", flowers, tmp_path / "run", validation=f"folder:{tmp_path}/others")


def test_texts():
    assert source_forms("detect") == [
        "coco:ANNOTATIONS.json,IMAGES[,raw][,skip_broken]",
        "instances:IMAGES,INSTANCES[,CLASSES][,raw]",
    ]
    assert source_forms("write", "picture")[0] == "coco:CAPTIONS.json,IMAGES"
    with pytest.raises(ValueError, match="did you mean 'folder'"):
        open_source("foldr:pictures", "classify")
    with pytest.raises(ValueError, match="expected instances:IMAGES"):
        open_source("instances:a,b,c,d", "detect")
    with pytest.raises(FileNotFoundError, match=r"val\.txt"):
        open_source("voc:nowhere:val", "segment")
    with pytest.raises(ValueError, match="unknown task"):
        open_source("folder:pictures", "dream")


def test_options_of_texts(scenes, tmp_path):
    (tmp_path / "scenes" / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match="skip_broken=True leaves them out"):
        open_source(f"{scenes},raw", "detect")
    with pytest.warns(UserWarning, match="skipped broken entries"):
        assert open_source(f"{scenes},raw,skip_broken", "detect").data.count == 1
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (96, 64)).save(tmp_path / "scenes" / "1.png", exif=exif)
    with pytest.warns(UserWarning, match="skipped broken entries"):
        found = open_source(f"{scenes},skip_broken,raw", "detect").data.examples
    assert found[0]["image"].shape == (64, 96, 3)


def test_folders_of_pictures(flowers, tmp_path):
    found, names = class_folder(tmp_path / "flowers")
    assert names == ("daisy", "tulip")
    np.testing.assert_array_equal(found.labels, [0, 0, 1, 1])
    assert picture_folder(tmp_path / "flowers" / "daisy")[1] is None
    with pytest.raises(FileNotFoundError, match="for each class"):
        class_folder(tmp_path / "flowers" / "daisy")
    (tmp_path / "flowers" / "rose").mkdir()
    with pytest.raises(ValueError, match=r"rose: expected \.jpg"):
        class_folder(tmp_path / "flowers")


def test_batches_of_pictures_are_a_function_of_the_epoch(flowers, tmp_path):
    found, _ = class_folder(tmp_path / "flowers")
    batches = PictureBatches(found, Picture(), (8, 10, 3), batch_size=3, shuffle=True, mirror=True)
    assert len(batches) == 2
    epochs = [[(image.numpy(), label.numpy()) for image, label in batches(epoch)] for epoch in (0, 1, 0)]
    assert epochs[0][0][0].shape == (3, 8, 10, 3)
    np.testing.assert_array_equal(epochs[0][0][0], epochs[2][0][0])
    assert not np.array_equal(epochs[0][0][0], epochs[1][0][0])
    assert sorted(np.concatenate([label for _, label in epochs[1]])) == [0, 0, 1, 1]
    grey = PictureBatches(found, Picture("grey", (0.0,), (255.0,)), (8, 10, 1), batch_size=4, drop_remainder=True)
    [(image, _)] = grey(0)
    assert image.shape == (4, 8, 10, 1)
    assert 0 < float(image.numpy().max()) <= 1


def test_every_task_and_every_generator_is_trained():
    names = list_models() or dir(keras_segattn)
    cards = [model_card(name) for name in names]
    assert {card.task for card in cards} == set(WORKFLOWS)
    assert [task for task, workflow in WORKFLOWS.items() if workflow.evaluate] == ["segment", "classify", "detect"]
    for card in cards:
        recipes = WORKFLOWS[card.task].recipes
        assert card.training.recipe in (None, *recipes)
        if card.task == "generate":
            partner = model_card(card.training.partner)
            assert "input_shape" in inspect.signature(partner.builder).parameters
        else:
            assert card.training.partner is None
        # Detectors of given boxes are trained by `training.train_rcnn_heads`, which has no command yet.
        trained = card.task == "detect" and not any(isinstance(kind, Boxes) for kind in card.inputs.values())
        assert (card.training.trainer in TRAINERS) == trained
        for kind in card.inputs.values():
            if isinstance(kind, Tokens):
                assert size_argument(card, kind).endswith("vocabulary")
