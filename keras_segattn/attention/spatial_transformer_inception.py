"""Spatial transformers that find the parts of birds (Jaderberg et al., NIPS 2015, arXiv 1506.02025), section 4.3.

An Inception network sees the whole picture and predicts the centres of two or four crops of half the picture's side.
Each crop goes through an Inception network of its own, and one linear layer classifies the features of all crops. The
paper's backbone is Inception with batch normalisation; here it is any registered one. Pictures of 448×448 are averaged
over 2×2 pixels for the localisation, so that crops of 224×224 have twice the resolution that the localisation sees.
"""

from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import (
    check_choice,
    check_classifier,
    check_dropout,
    check_fixed_size,
    check_positive_integer,
)
from keras_segattn.attention.spatial_transformer_network import PAPER
from keras_segattn.fields import Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.layers import SpatialTransformer, TakeRegion
from keras_segattn.layers.spatial_transformer import parameter_layer
from keras_segattn.registry import Card, model_card, register

# Number of crops → their initial centres (x, y), from -1 to 1: side by side, or one per quarter of the picture.
STARTS = {2: ((-0.5, 0), (0.5, 0)), 4: ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5))}


def backbone_features(
    x: Any, backbone: str, weights: str | None, arguments: dict[str, Any], pooling: str | None, prefix: str
) -> Any:
    """Return the feature map of a registered backbone, or its pooled features; its layers' names get the `prefix`."""
    builder = model_card(backbone).builder
    known = set(map(id, keras.Model(source_input(x), x).layers))
    model = builder(include_top=False, input_tensor=x, pooling=pooling, **arguments)
    own = [layer for layer in model.layers if id(layer) not in known]
    if weights is not None:
        trained = builder(include_top=False, weights=weights, input_shape=tuple(x.shape[1:]), **arguments)
        for layer in own:
            if layer.weights:
                layer.set_weights(trained.get_layer(layer.name).get_weights())
    for layer in own:
        layer.name = prefix + layer.name
    return model.output


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": Picture("BGR", mean=(104.0, 117.0, 123.0), size=(224, 224), fit="crop")},
        published={"input_shape": (224, 224, 3)},
        parameters=19_265_116,
        tiny={
            "input_shape": (64, 64, 3),
            "classes": 5,
            "transformers": 2,
            "crop_size": 32,
            "backbone": "squeezenet1_1",
            "backbone_arguments": {"alpha": 0.125},
        },
        claims={"int8", "mixed_precision"},
    )
)
def SpatialTransformerInception(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 200,
    classifier_activation: str | None = None,
    name: str = "spatial_transformer_inception",
    *,
    transformers: int = 2,
    crop_size: int = 224,
    backbone: str = "googlenet",
    backbone_weights: str | None = None,
    backbone_arguments: dict[str, Any] | None = None,
    dropout: float = 0.7,
) -> keras.Model:
    """Build a classifier of birds by their parts: 2×ST-CNN or 4×ST-CNN.

    Args:
        include_top: whether to add dropout and the linear layer; if not, the output is the parts' features.
        weights: `None` or the path of a weight file of the whole network.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(224, 224, 3)`; at least the crops' side.
        classes: number of classes, 200 kinds of birds in CUB-200-2011.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: name of the model.
        transformers: number of crops of half the picture's side, 2 or 4.
        crop_size: rows and columns of a crop, in pixels.
        backbone: name of a registered classification model, for the localisation and for every crop.
        backbone_weights: initial weights of every backbone, see `weights` of the backbone's builder.
        backbone_arguments: further arguments for the backbone's builder, such as `{"variant": "torchvision"}` for
            `googlenet`, which has the paper's batch normalisation.
        dropout: rate before the linear layer.

    Returns:
        Model from preprocessed images `(batch, height, width, 3)` float32 to a dict of `"logits"` `(batch, classes)`,
        `"theta"` (the crops' centres (x, y) from -1 to 1, one after another, `(batch, 2 · transformers)`) and
        `"transformed"` (the crops, `(batch, transformers, crop_size, crop_size, 3)`).

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if weights are not installed or do not fit.

    Example:
        >>> model = SpatialTransformerInception(backbone_arguments={"variant": "torchvision"})
        >>> parts = model(images)["transformed"]
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("transformers", transformers, STARTS)
    check_positive_integer("crop_size", crop_size)
    check_dropout(dropout)
    image = image_input(
        input_tensor, input_shape, "SpatialTransformerInception", None, default=(224, 224, 3), minimum=crop_size
    )
    check_fixed_size(image, True)
    arguments = dict(backbone_arguments or {})

    x = image
    if min(image.shape[1:3]) >= 2 * crop_size:
        x = layers.AveragePooling2D(min(image.shape[1:3]) // crop_size, name="localisation_average")(x)
    x = backbone_features(x, backbone, backbone_weights, arguments, None, "localisation_")
    x = layers.Conv2D(128, 1, activation="relu", name="localisation_reduce")(x)
    x = layers.Flatten(name="localisation_flatten")(x)
    x = layers.Dense(128, activation="relu", name="localisation_fc")(x)
    starts = [coordinate for middle in STARTS[transformers] for coordinate in middle]
    theta = parameter_layer("translation", transformers, name="st_theta", start=starts)(x)
    crops = SpatialTransformer("translation", output_size=crop_size, scale=0.5, count=transformers, name="st")(
        image, theta
    )
    features = []
    for part in range(1, transformers + 1):
        crop = TakeRegion(part - 1, name=f"part{part}")(crops)
        features.append(backbone_features(crop, backbone, backbone_weights, arguments, "avg", f"part{part}_"))
    x = layers.Concatenate(name="parts")(features)
    if include_top:
        x = layers.Dropout(dropout, name="dropout")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    outputs = {"logits": x, "theta": theta, "transformed": crops}
    model = keras.Model(source_input(image), outputs, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
