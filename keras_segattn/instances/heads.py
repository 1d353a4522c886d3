"""The heads of Mask R-CNN: region proposals, boxes and classes, masks (He et al. 2017, figure 4)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_segattn import graph
from keras_segattn.classification.blocks import conv_bn
from keras_segattn.initializers import normal
from keras_segattn.instances.feature_pyramid import convolve

# Detectron's initialisers: near zero, so that training starts at the anchors and with equal scores of all classes.
SCORES, REFINEMENTS = normal(0.01), normal(0.001)


def detected_classes(model: keras.Model) -> int:
    """Return the number of classes of a detector; 0 if it has no heads.

    The first input of the layer that gives the output `classes` holds the scores of these classes and, unless they are
    independent, of the background.
    """
    if not isinstance(model.output, dict) or "classes" not in model.output:
        return 0
    node = graph.producing_node(model.output["classes"])
    return int(node.input_tensors[0].shape[-1]) - (getattr(node.operation, "activation", "softmax") == "softmax")


def proposal_head(maps: Sequence[Any], channels: int, anchors: int, convolutions: int) -> tuple[list[Any], list[Any]]:
    """Return objectness `(…, anchors)` and refinements `(…, 4·anchors)` of every map, by shared layers.

    This is the region proposal network of Ren et al. 2015.
    """
    hidden = [
        layers.Conv2D(
            channels, 3, padding="same", activation="relu", kernel_initializer=SCORES, name=f"rpn_conv{number}"
        )
        for number in range(1, convolutions + 1)
    ]
    scores = layers.Conv2D(anchors, 1, kernel_initializer=SCORES, name="rpn_logits")
    refinements = layers.Conv2D(4 * anchors, 1, kernel_initializer=SCORES, name="rpn_deltas")
    logits, deltas = [], []
    for features in maps:
        x = features
        for layer in hidden:
            x = layer(x)
        logits.append(scores(x))
        deltas.append(refinements(x))
    return logits, deltas


def fully_connected_head(x: Any, width: int) -> Any:
    """Apply two hidden layers to the flattened region."""
    x = layers.Flatten(name="box_flatten")(x)
    for number in (1, 2):
        x = layers.Dense(width, activation="relu", kernel_initializer="he_normal", name=f"box_fc{number}")(x)
    return x


def convolutional_head(x: Any, channels: int, width: int) -> Any:
    """Apply four normalised convolutions and one hidden layer (torchvision's second version)."""
    for number in range(1, 5):
        x = convolve(x, channels, 3, True, f"box_conv{number}", "relu")
    x = layers.Flatten(name="box_flatten")(x)
    return layers.Dense(width, activation="relu", kernel_initializer="he_normal", name="box_fc1")(x)


def matterport_head(x: Any, width: int) -> Any:
    """Apply a normalised convolution over the whole region, and a 1×1 convolution (Matterport's head)."""
    x = conv_bn(x, width, tuple(x.shape[1:3]), padding="valid", name="box_fc1", epsilon=1e-3)
    x = conv_bn(x, width, 1, name="box_fc2", epsilon=1e-3)
    return layers.Flatten(name="box_flatten")(x)


def box_predictions(x: Any, classes: int, boxes: int) -> tuple[Any, Any]:
    """Return the class scores, and the refinements of `boxes` boxes, of each region."""
    logits = layers.Dense(classes, kernel_initializer=SCORES, name="box_logits")(x)
    deltas = layers.Dense(4 * boxes, kernel_initializer=REFINEMENTS, name="box_deltas")(x)
    return logits, deltas


def mask_head(x: Any, channels: int, masks: int, convolutions: int, normalise: bool) -> Any:
    """Apply convolutions and a transposed one that doubles the size; return `masks` logits per pixel."""
    for number in range(1, convolutions + 1):
        x = convolve(x, channels, 3, normalise, f"mask_conv{number}", "relu")
    x = layers.Conv2DTranspose(channels, 2, 2, activation="relu", kernel_initializer="he_normal", name="mask_deconv")(x)
    return layers.Conv2D(masks, 1, kernel_initializer=SCORES, name="mask_logits")(x)
