"""A server sees the pictures that `predict` and training see, whatever the file and the way of fitting."""

import functools
import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from keras_segattn import data
from keras_segattn.data.examples import computed, read
from keras_segattn.data.pictures import read_image
from keras_segattn.export.serving.pictures import LARGEST_PICTURE, decoded, pixels_of
from keras_segattn.fields import Picture, PictureSize

COLOURS = np.random.default_rng(0).integers(0, 256, (37, 53, 4), np.uint8).repeat(2, axis=0).repeat(2, axis=1)
RGB = Image.fromarray(COLOURS[..., :3])
GREY = Image.fromarray(COLOURS[..., 0])
DEEP = Image.fromarray((np.random.default_rng(0).integers(0, 65536, (37, 53))).astype(np.uint16))
TURN = 0x0112


def file_of(picture, form="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def exif(orientation):
    data = Image.Exif()
    data[TURN] = orientation
    return data


def xmp(orientation):
    return f'<x tiff:Orientation="{orientation}"/>'.encode()


def signed_exif(orientation):
    """Return EXIF data with the orientation as a signed number of 16 bits, which Pillow takes."""
    entry = struct.pack("<HHIhH", TURN, 8, 1, orientation, 0)
    return b"Exif\0\0II" + struct.pack("<HIH", 42, 8, 1) + entry + bytes(4)


def compressed_xmp(orientation):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp(orientation).decode(), zip=True)
    return info


def texts(**named):
    info = PngImagePlugin.PngInfo()
    for key, value in named.items():
        info.add_text(key.replace("_", " "), value, zip=True)
    return info


def palette(**options):
    return file_of(RGB.quantize(17), **options)


TAKEN = {
    "JPEG": file_of(RGB, "JPEG"),
    "JPEG without subsampling": file_of(RGB, "JPEG", subsampling=0, quality=95),
    "progressive JPEG": file_of(RGB, "JPEG", progressive=True),
    "grey JPEG": file_of(GREY, "JPEG"),
    "upright JPEG": file_of(RGB, "JPEG", exif=exif(1), xmp=xmp(1)),
    "PNG": file_of(RGB),
    "grey PNG": file_of(GREY),
    "black and white PNG": file_of(GREY.convert("1")),
    "PNG with alpha": file_of(Image.fromarray(COLOURS)),
    "grey PNG with alpha": file_of(Image.fromarray(COLOURS).convert("LA")),
    "palette": palette(),
    "transparent palette": palette(transparency=3),
    "PNG of 4 bits": file_of(RGB.quantize(9), bits=4),
    "PNG of 16 bits": file_of(DEEP),
    "upright PNG": file_of(RGB, exif=exif(1)),
}
REFUSED = {
    "turned JPEG": (file_of(RGB, "JPEG", exif=exif(6)), "turn the picture"),
    "mirrored JPEG": (file_of(RGB, "JPEG", exif=exif(2)), "turn the picture"),
    "JPEG turned by XMP": (file_of(RGB, "JPEG", xmp=xmp(8)), "turn the picture"),
    "JPEG turned by a number of another type": (file_of(RGB, "JPEG", exif=signed_exif(6)), "turn the picture"),
    "PNG with compressed XMP": (file_of(RGB, pnginfo=compressed_xmp(6)), "turn the picture"),
    "turned PNG": (file_of(RGB, exif=exif(3)), "turn the picture"),
    "PNG with hidden EXIF": (file_of(RGB, pnginfo=texts(Raw_profile_type_exif="00")), "turn the picture"),
    "CMYK": (file_of(RGB.convert("CMYK"), "JPEG"), "CMYK"),
    "GIF": (file_of(RGB, "GIF"), "JPEG or PNG"),
    "BMP": (file_of(RGB, "BMP"), "JPEG or PNG"),
    "WebP": (file_of(RGB, "WEBP"), "JPEG or PNG"),
    "TIFF": (file_of(RGB, "TIFF"), "JPEG or PNG"),
    "text": (b"no picture", "JPEG or PNG"),
    "nothing": (b"", "JPEG or PNG"),
    "head of a PNG": (file_of(RGB)[:20], "JPEG or PNG"),
    "half a PNG": (file_of(RGB)[:200], "PNG"),
    "half a JPEG": (file_of(RGB, "JPEG")[:900], "JPEG"),
    "bomb": (file_of(Image.new("1", (10_000, LARGEST_PICTURE // 10_000 + 1))), "at most 50000000 pixels"),
}
# Fit and usual size of the kind of input, and shape that the network takes.
POLICIES = {
    "stretched": (Picture(), (40, 72, 3)),
    "of its own size": (Picture(), (None, None, 3)),
    "of its own width": (Picture(), (50, None, 3)),
    "padded": (Picture(fit="pad"), (96, 64, 3)),
    "padded, of any size": (Picture(fit="pad"), (None, None, 3)),
    "cropped": (Picture(fit="crop"), (48, 48, 3)),
    "cropped to the usual size": (Picture(fit="crop", size=(40, 56)), (None, None, 3)),
    "grey": (Picture().of_channels(1), (28, 28, 1)),
}


@functools.cache
def server(policy):
    """Compile what a server does to a picture of any size."""
    kind, shape = POLICIES[policy]
    return tf.function(lambda files: decoded(files, kind, shape), [tf.TensorSpec((None,), tf.string)])


@functools.cache
def decoder():
    return tf.function(pixels_of, [tf.TensorSpec((), tf.string)])


def assert_served_like_predicted(policy, path, file):
    path.write_bytes(file)
    kind, shape = POLICIES[policy]
    expected = read(kind, shape, path, {})
    image, factors, sizes = (array.numpy()[0] for array in server(policy)(tf.constant([file])))
    np.testing.assert_array_equal(image, expected.array)
    np.testing.assert_array_equal(factors, np.float32(expected.frame.factors))
    np.testing.assert_array_equal(sizes, computed(PictureSize(), (2,), {"image": expected.frame}))


@pytest.mark.parametrize("file", TAKEN.values(), ids=TAKEN.keys())
def test_every_kind_of_file_has_the_same_pixels(file, tmp_path):
    (tmp_path / "file").write_bytes(file)
    np.testing.assert_array_equal(decoder()(file), read_image(tmp_path / "file"))


@pytest.mark.parametrize(("file", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_graph_cannot_do_is_refused(file, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decoder()(file)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=8, deadline=None)
@given(size=st.tuples(st.integers(1, 300), st.integers(1, 300)), seed=st.integers(0, 99))
def test_every_way_of_fitting_has_the_same_pixels(policy, size, seed, tmp_path_factory):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = file_of(Image.fromarray(pixels))
    assert_served_like_predicted(policy, tmp_path_factory.mktemp("picture") / "file", file)


@pytest.mark.parametrize("size", [(40, 72), (120, 90), (9, 200)])
def test_training_of_segmenters_and_detectors_resizes_like_prediction(size):
    pixels = COLOURS[..., :3]
    masks = np.zeros((1, *pixels.shape[:2], 1), np.uint8)
    features = {"image": pixels[None], "segmentation_mask": masks, "file_name": ["x"]}
    source = tf.data.Dataset.from_tensor_slices(features)
    ((image, _),) = data.MaskBatches(source, batch_size=1, classes=2, size=size)(0)
    np.testing.assert_array_equal(image[0], read(Picture(), (*size, 3), pixels, {}).array)
    objects = {
        "bbox": np.array([[0, 0, 30, 30]], "float32"),
        "label": np.ones(1, np.int32),
        "is_crowd": np.zeros(1, bool),
    }
    example = {"image": pixels, "objects": objects | {"mask": np.ones((1, *pixels.shape[:2]), np.uint8)}}
    batch = data.InstanceBatches([example], batch_size=1, size=size, slots=1, preprocessing=None, flip=False)[0]
    np.testing.assert_array_equal(batch["image"][0], read(Picture(fit="pad"), (*size, 3), pixels, {}).array)


def test_pictures_in_memory_are_prepared_like_their_files(tmp_path):
    picture = Image.open(io.BytesIO(file_of(RGB, "JPEG", exif=exif(6))))
    (tmp_path / "file").write_bytes(file_of(RGB, "JPEG", exif=exif(6)))
    for value, file in ((picture, tmp_path / "file"), (DEEP, None)):
        pixels = read(Picture(), (None, None, 3), value, {}).array
        expected = read_image(file) if file else np.round(np.asarray(DEEP) / 257)[..., None].repeat(3, axis=-1)
        np.testing.assert_array_equal(pixels, expected)
