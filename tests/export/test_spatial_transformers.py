"""Every transformation and every sampling option, in one `.tflite` with builtin operators only."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_segattn.export import tflite
from keras_segattn.layers import SpatialTransformer
from keras_segattn.layers.spatial_transformer import parameter_layer
from keras_segattn.ops.transformations import TRANSFORMATIONS
from keras_segattn.tasks.closeness import FLOAT32_LIMIT

# Each transformation has a different sampling option: converting all combinations would take minutes.
VARIANTS = {
    "affine": {},
    "attention": {"padding": "border", "count": 2, "output_size": (5, 6)},
    "translation": {"padding": "reflection"},
    "rotation": {"interpolation": "nearest", "padding": "border"},
    "projective": {"padding": "reflection", "align_corners": False},
    "thin_plate_spline": {},
}
# Transformations that get a picture with more channels than are sampled at once.
WIDE = ("thin_plate_spline", "translation")
SHAPE = (12, 10, 3)


def transformers():
    """Build a model that applies all transformations to one picture."""
    image = keras.Input(SHAPE, name="image")
    wide = layers.Concatenate()([image, -image])
    features = layers.GlobalAveragePooling2D()(image)
    outputs = {}
    for seed, (name, arguments) in enumerate(VARIANTS.items()):
        layer = parameter_layer(name, arguments.get("count"), f"{name}_theta")
        theta = layer(features)
        random = np.random.default_rng(seed)
        kernel, bias = (random.normal(0, scale, x.shape) for scale, x in zip((0.3, 0.1), layer.weights, strict=True))
        layer.set_weights([kernel, np.asarray(layer.bias) + bias])
        outputs[name] = SpatialTransformer(name, **arguments, name=name)(wide if name in WIDE else image, theta)
    return keras.Model(image, outputs)


@pytest.mark.thorough
def test_all_of_them_convert_and_agree(tmp_path):
    assert set(VARIANTS) == set(TRANSFORMATIONS)
    report = tflite(transformers(), tmp_path / "transformers.tflite")
    assert report.passed
    assert report.flex_operators == ()
    assert set(report.signatures["serving_default"]["outputs"]) == set(VARIANTS)
    assert report.runtimes[0].max_difference <= FLOAT32_LIMIT
