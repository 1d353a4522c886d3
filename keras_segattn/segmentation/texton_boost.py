"""TextonBoost (Shotton, Winn, Rother & Criminisi, ECCV 2006, IJCV 2009): its texture-layout potentials as a network.

A filter bank describes every pixel, and its responses are whitened and assigned to the nearest of several hundred
textons. A feature of a pixel is the share of a rectangle, placed relative to the pixel, that one texton covers.
Decision stumps on such features, boosted jointly for all classes, score the pixel. Softmax of the scores gives the
probabilities `P(c | x, i)` of the paper's equation 8.

All layers are fixed; what is learned without gradients (`keras_segattn.training.train_texton_boost`) are their
weights. The other potentials of the paper's conditional random field, and its inference, follow the network:
`keras_segattn.segmentation.texton_field`.
"""

from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_classifier
from keras_segattn.fields import Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.layers import CIELab, NearestTexton, TextonFilters, TextureLayout
from keras_segattn.layers.coordinates import CoordinateDense
from keras_segattn.registry import Card, Paper, register

PREPROCESSING = Picture(mean=(0.0,) * 3, std=(255.0,) * 3)
PAPER = Paper(
    "TextonBoost for Image Understanding: Multi-Class Object Recognition and Segmentation by Jointly Modeling "
    "Texture, Layout, and Context",
    "Shotton, Winn, Rother & Criminisi",
    "IJCV",
    2009,
)


@register(
    Card(
        paper=PAPER,
        task="segment",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (213, 320, 3)},
        parameters=257_106,
        tiny={"input_shape": (24, 32, 3), "classes": 5, "textons": 7, "stumps": 20},
        claims={"dynamic_size", "mixed_precision"},
    )
)
def TextonBoost(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 21,
    classifier_activation: str | None = None,
    name: str = "texton_boost",
    *,
    textons: int = 400,
    stumps: int = 5000,
    kappa: float = 1.0,
    area: str = "clipped",
) -> keras.Model:
    """TextonBoost (Shotton et al., IJCV 2009, section 3): boosted texture-layout potentials of every pixel.

    Only the parameters `a`, `b` and `k` of the stumps have gradients. The model is learned by
    `training.train_texton_boost`.

    Args:
        include_top: whether to add the stumps; without them, the output is the texton map.
        weights: `None` (random) or the path of a weight file of the whole network.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size from 1 pixel up. Pictures of three
            channels are converted from RGB to CIELab; others are filtered as they are, the first as luminance.
        classes: number of classes.
        classifier_activation: `None` for logits, `"softmax"` for probabilities.
        name: name of the model.
        textons: number of textons.
        stumps: number of decision stumps, which is the number of rounds of boosting.
        kappa: scale of the filter bank in pixels.
        area: area by which counts of textons are divided: `"clipped"` is the part of the rectangle that lies in the
            picture, `"whole"` the whole rectangle.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 of 0..1 to logits
        `(batch, height, width, classes)` (any real value), or without `include_top` to the texton map, int32
        `(batch, height, width)`.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weights do not fit.

    Example:
        >>> model = TextonBoost(classes=11, stumps=1000)
        >>> model(preprocessing_of(model)(images)).shape
        TensorShape([4, 180, 240, 11])
    """
    check_classifier(include_top, classes, classifier_activation)
    image = image_input(input_tensor, input_shape, "TextonBoost", PREPROCESSING)
    x = CIELab(name="lab")(image) if image.shape[-1] == 3 else image
    x = TextonFilters(kappa, name="filters")(x)
    x = CoordinateDense(x.shape[-1], trainable=False, name="whitening")(x)
    x = NearestTexton(textons, name="textons")(x)
    if include_top:
        x = TextureLayout(classes, stumps, textons, area, name="score")(x)
        if classifier_activation is not None:
            x = layers.Activation(classifier_activation, name="predictions")(x)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
