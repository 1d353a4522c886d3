"""R-CNN: regions with CNN features (Girshick, Donahue, Darrell & Malik, CVPR 2014, arXiv 1311.2524).

Boxes that may hold an object come from outside, for example from selective search. Each is cropped with some context,
warped to the input size of a classifier, and classified by itself. The network is the authors' CaffeNet or any
registered classifier, whose last layer scores the detector's classes and the background, and serves for fine-tuning.
Support vector machines on the features below that layer rank the detections, and ridge regression on the last
convolutional map refines their boxes. Both are linear functions of the network's features, and so dense layers.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
from keras import layers

from keras_segattn import graph, registry
from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.classification import alexnet
from keras_segattn.fields import Boxes, Picture
from keras_segattn.inputs import image_input, source_input, stamped
from keras_segattn.instances.heads import REFINEMENTS, SCORES, detected_classes
from keras_segattn.instances.settings import DetectionRules
from keras_segattn.layers import CropAndWarp, Detections, ImageSizes, MergeRegions, SplitRegions
from keras_segattn.ops.crop_and_warp import MODES
from keras_segattn.registry import Card, Paper, register
from keras_segattn.weights.pretrained import locate

HEADS = ("svm", "softmax")
CONTEXT = 16  # pixels around the box in a crop
DETECTIONS = DetectionRules(count=100, least_score=0.05, overlap=0.3)


def classified_features(logits: Any) -> Any:
    """Return the features `(batch, features)` that the last layer with weights before `logits` reads."""
    node = graph.producing_node(logits)
    while not node.operation.weights:
        node = graph.producing_node(node.input_tensors[0])
    x = node.input_tensors[0]
    return x if len(x.shape) == 2 else layers.GlobalAveragePooling2D(name="features_pool")(x)


def published_size(card: Card) -> int:
    """Return the height and width of the pictures that a classifier takes.

    Raises:
        ValueError: if it has no usual size.
    """
    sizes = [kind.size for kind in card.inputs.values() if isinstance(kind, Picture) and kind.size]
    if not sizes:
        raise ValueError(f"{card.name} takes pictures of any size: give crop_size, the size of its crops in pixels")
    return sizes[0][0]


@register(
    Card(
        paper=Paper(
            "Rich Feature Hierarchies for Accurate Object Detection and Semantic Segmentation",
            "Girshick, Donahue, Darrell & Malik",
            "CVPR",
            2014,
            "1311.2524",
        ),
        task="detect",
        inputs={"image": replace(alexnet.PREPROCESSING, size=None, fit="stretch"), "proposals": Boxes("image")},
        published={"head": "softmax", "box_regression": False},
        parameters=56_954_261,
        tiny={
            "input_shape": (64, 96, 3),
            "classes": 4,
            "alpha": 0.0625,
            "regions": 6,
            "crop_size": 67,
            "detections": {"count": 5},
        },
        claims={"int8", "dynamic_size", "mixed_precision"},
        weight_names={"fc8": ("fc8_pascal",)},
        classes=detected_classes,
    )
)
def RCNN(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 21,
    name: str = "rcnn",
    *,
    backbone: str = "caffenet",
    alpha: float = 1.0,
    regions: int = 300,
    head: str = "svm",
    box_regression: bool = True,
    crop_size: int | None = None,
    crop_mode: str = "warp",
    detections: DetectionRules | Mapping[str, Any] = DETECTIONS,
) -> keras.Model:
    """R-CNN (Girshick et al. 2014): boxes and classes of the objects among boxes that were proposed for an image.

    The published network, which is fine-tuned with a softmax, has 56,954,261 parameters for 20 classes and the
    background: `RCNN(head="softmax", box_regression=False)`. Its support vector machines have 81,940 more, and its box
    regression 737,360.

    Args:
        include_top: whether to add the heads; without them, the outputs are `features` `(batch, R, features)`, which
            the support vector machines read (CaffeNet's fc7), and `maps` `(batch, R, h, w, channels)`, which the box
            regression reads (pool5).
        weights: `None` (random), the name of weights packaged for the backbone (such as `"imagenet"` with
            `backbone="efficientnet_lite0"`), whose last layer is left out, or the path of a weight file of the whole
            network.
        input_tensor: symbolic tensor of images to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size.
        classes: number of classes, background (class 0) included.
        name: name of the model.
        backbone: name of a registered classifier with taps.
        alpha: width multiplier of the backbone.
        regions: number R of proposals per image; fewer are followed by boxes of zeros. The published number is about
            2000. All are in memory at once.
        head: `"svm"` for scores of one support vector machine per class, beside which the softmax is an output of its
            own, or `"softmax"` for the probabilities of the fine-tuned network.
        box_regression: whether boxes are refined, by a regression of each class.
        crop_size: height and width of the crops; default: the input size of the published backbone.
        crop_mode: `"warp"`, or `"square"` for the smallest square around the box, see `ops.crop_and_warp`.
        detections: `instances.DetectionRules` that select the detections to return, or a dict of the values that
            differ from the default, such as `{"count": 30}`.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 and proposals `(batch, R, 4)` float32,
        `(x1, y1, x2, y2)` in pixels of the image, x2 and y2 just outside of the box, to a dict, D being
        `detections.count`: `boxes` float32 `(batch, D, 4)` like the proposals; `scores` float32 `(batch, D)`, 0..1,
        descending: probabilities or, of a support vector machine, the sigmoid of its score, which is 0.5 on the
        decision boundary; `classes` int32 `(batch, D)`, from 1; `count` int32 `(batch,)`, the number of detections,
        after which all entries are zero; with support vector machines also `class_probabilities` float32
        `(batch, R, classes)`, the softmax of every region. Proposals without area, and those with NaN, are never
        detected.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weights are not installed or do not fit.

    Example:
        >>> model = RCNN(weights="rcnn_voc2012.weights.h5")
        >>> found = model([preprocessing_of(model)(images), boxes])
    """
    check_choice("include_top", include_top, (True, False))
    check_positive_integer("classes", classes)
    if classes < 2:
        raise ValueError(f"classes must count the background and at least one object, received {classes}")
    check_positive_integer("regions", regions)
    check_choice("head", head, HEADS)
    check_choice("box_regression", box_regression, (True, False))
    check_choice("crop_mode", crop_mode, MODES)
    detections = DETECTIONS.resolve("detections", detections)
    card = registry.model_card(backbone)
    if card.task != "classify" or not card.taps:
        raise ValueError(f"expected a classifier with taps as backbone, {card.name} has the task {card.task!r}")
    packaged = weights if isinstance(weights, str) and weights in card.pretrained else None
    size = published_size(card) if crop_size is None else crop_size
    image = image_input(input_tensor, input_shape, "RCNN", None)
    source = source_input(image)
    boxes = stamped(keras.Input((regions, 4), name="proposals"), "RCNN", "proposals", Boxes(source.name))
    inputs = [source, source_input(boxes)]

    crops = CropAndWarp(size, CONTEXT, crop_mode, name="crop_and_warp")(image, boxes)
    crops = MergeRegions(name="crop_merge")(crops)
    network = card.builder(input_tensor=crops, classes=classes, alpha=alpha)
    maps = network.get_layer(max(card.taps, key=lambda tap: card.taps[tap].stride)).output
    features = classified_features(network.output)

    def split(x: Any, what: str) -> Any:
        return SplitRegions(regions, name=f"{what}_split")(x)

    if include_top:
        logits = split(network.output, "logits")
        deltas, probabilities = None, {}
        if box_regression:
            flat = layers.Flatten(name="maps_flatten")(maps)
            deltas = layers.Dense(4 * (classes - 1), kernel_initializer=REFINEMENTS, name="box_regression")(flat)
            deltas = split(deltas, "deltas")
        if head == "svm":
            probabilities = {"class_probabilities": layers.Softmax(dtype="float32", name="class_probabilities")(logits)}
            logits = layers.Dense(classes - 1, kernel_initializer=SCORES, name="svm")(features)
            logits = split(logits, "svm")
        outputs = Detections(
            detections.count,
            detections.least_score,
            detections.overlap,
            box_weights=(1.0, 1.0, 1.0, 1.0),
            activation="sigmoid" if head == "svm" else "softmax",
            name="detections",
        )(logits, deltas, boxes, None, ImageSizes(name="image_sizes")(image))
        outputs = outputs | probabilities
    else:
        outputs = {"features": split(features, "features"), "maps": split(maps, "maps")}
    model = keras.Model(inputs, outputs, name=name)
    if packaged is None:
        weight_files.initialize(model, weights, card.pretrained, backbone=not include_top)
    else:
        # The last layer has other classes.
        weight_files.load(network, locate(packaged, card.pretrained[packaged]), skip_mismatch=True)
    return model
