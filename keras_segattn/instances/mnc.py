"""Multi-task network cascades (Dai, He & Sun, CVPR 2016, arXiv 1512.04412).

Each stage works on the results of the stage before, with shared features. First, a region proposal network finds boxes.
In the second stage, RoIWarp crops them and a mask is predicted for each; in the third, the features gated by that mask
give the class. In the five-stage form, the third stage also refines the boxes, and stages 4 and 5 find masks and
classes again with the layers of stages 2 and 3. Gradients flow through box coordinates from every stage to those
before.

The default is the released VGG16 network, layer by layer. As in its test network, stage 4 warps regions to 14×14
directly, whereas stage 2 warps them to 28×28 and takes 2×2 maxima; training does the latter in both.
"""

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from keras_segattn import registry
from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.fields import Picture
from keras_segattn.initializers import normal
from keras_segattn.inputs import image_input, source_input
from keras_segattn.instances.heads import detected_classes
from keras_segattn.instances.mnc_weights import WEIGHT_NAMES, translate
from keras_segattn.instances.settings import Anchors, Cascade, DetectionRules, ProposalRules, Widths
from keras_segattn.layers import (
    AnchorGenerator,
    CoordinateConcatenate,
    ImageSizes,
    MergeRegions,
    ObjectScores,
    Proposals,
    RefineRegions,
    ResizeMask,
    RoIWarp,
    SplitRegions,
    ValidRegions,
    VoteMasks,
)
from keras_segattn.registry import Card, Paper, Training, register

PREPROCESSING = Picture("BGR", mean=(102.9801, 115.9465, 122.7717), fit="pad")
STRIDE = 16
CASCADE = Cascade()
WIDTHS = Widths(proposals=512, boxes=4096, masks=256)
ANCHORS = Anchors(sizes=(128, 256, 512))
PROPOSALS = ProposalRules(count=300, before_nms=6000, overlap=0.7)
DETECTIONS = DetectionRules(count=100, least_score=1e-3, overlap=0.3)
LEAST_SIDE = 16.0  # smallest side of a proposal in the released code, in pixels
REGION_SIZE = 14
# py-faster-rcnn's coordinates are inclusive: a box from 0 to 9 is ten pixels wide.
OFFSET = 1.0
SCORES, REFINEMENTS = normal(0.01), normal(0.001)  # initialisers


def backbone_map(image: Any, backbone: str, weights: str | None, alpha: float) -> Any:
    """Build a backbone and return its map of stride 16; for VGG16 that of the last convolution, before the pooling."""
    card = registry.model_card(backbone)
    taps = {tap.stride: layer for layer, tap in card.taps.items()}
    if STRIDE not in taps:
        raise ValueError(f"MNC needs a backbone with a tap at stride {STRIDE}, {card.name} declares {dict(card.taps)}")
    network = card.builder(include_top=False, input_tensor=image, weights=weights, alpha=alpha, **card.aligned)
    return network.get_layer("block5_conv3" if card.name == "VGG16" else taps[STRIDE]).output


def instance_stage(channels: int, classes: int, mask_size: int, widths: Widths) -> keras.Model:
    """Build the layers that stages 2 and 3 share with stages 4 and 5.

    They predict mask, class and box of regions `(batch · regions, 14, 14, channels)`.
    """
    regions = keras.Input((REGION_SIZE, REGION_SIZE, channels), name="regions")
    x = layers.Flatten(name="mask_flatten")(regions)
    x = layers.Dense(widths.masks, activation="relu", kernel_initializer=REFINEMENTS, name="fc6_maskest")(x)
    mask = layers.Dense(mask_size**2, kernel_initializer=REFINEMENTS, name="mask_pred")(x)
    gate = layers.Activation("sigmoid", name="mask_output")(mask)
    gate = layers.Reshape((mask_size, mask_size, 1), name="mask_reshape")(gate)
    gated = layers.Multiply(name="mask_pooling")([regions, ResizeMask(REGION_SIZE, name="mask_resize")(gate)])
    paths = []
    for name, features in (("mask", gated), ("box", regions)):
        x = layers.MaxPooling2D(2, name=f"roi_pool_{name}")(features)
        x = layers.Flatten(name=f"flatten_{name}")(x)
        for number in (6, 7):
            x = layers.Dense(
                widths.boxes, activation="relu", kernel_initializer="he_normal", name=f"fc{number}_{name}"
            )(x)
        paths.append(x)
    joined = layers.Concatenate(name="join_box_mask")(paths)
    outputs = {
        "mask": mask,
        "box_logits": layers.Dense(classes, kernel_initializer=SCORES, name="cls_score")(joined),
        "class_logits": layers.Dense(classes, kernel_initializer=SCORES, name="seg_cls_score")(joined),
        "deltas": layers.Dense(4 * classes, kernel_initializer=REFINEMENTS, name="bbox_pred")(joined),
    }
    return keras.Model(regions, outputs)


@register(
    Card(
        paper=Paper(
            "Instance-aware Semantic Segmentation via Multi-task Network Cascades",
            "Dai, He & Sun",
            "CVPR",
            2016,
            "1512.04412",
        ),
        task="detect",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (600, 1000, 3)},
        parameters=283_029_933,
        tiny={
            "input_shape": (64, 96, 3),
            "classes": 4,
            "alpha": 0.0625,
            "cascade": {"mask_size": 7},
            "anchors": {"sizes": (16, 32, 64)},
            "proposals": {"count": 12, "before_nms": 100, "least_side": 1.0},
            "detections": {"count": 5},
        },
        claims={"int8", "dynamic_size", "mixed_precision"},
        weight_names=WEIGHT_NAMES,
        translate=translate,
        classes=detected_classes,
        training=Training(trainer="cascade"),
    )
)
def MNC(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 21,
    name: str = "mnc",
    *,
    backbone: str = "vgg16",
    alpha: float = 1.0,
    cascade: Cascade | Mapping[str, Any] = CASCADE,
    widths: Widths | Mapping[str, Any] = WIDTHS,
    anchors: Anchors | Mapping[str, Any] = ANCHORS,
    proposals: ProposalRules | Mapping[str, Any] = PROPOSALS,
    detections: DetectionRules | Mapping[str, Any] = DETECTIONS,
) -> keras.Model:
    """MNC (Dai et al. 2016): the instances in an image, by a cascade of boxes, masks and classes.

    Args:
        include_top: whether to add the cascade; without it, the output is the backbone's map of stride 16.
        weights: `None` (random), the name of weights packaged for the backbone (such as `"imagenet"` with
            `backbone="efficientnet_lite0"`), or the path of a weight file of the whole network, such as the released
            `.caffemodel`.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size.
        classes: number of classes, background (class 0) included.
        name: name of the model.
        backbone: name of a registered backbone with a tap at stride 16.
        alpha: width multiplier of the backbone and of `widths`.
        cascade: `instances.Cascade`: number of stages, size of masks, and conventions of the released code. This and
            the next four arguments may also be dicts of the values that differ from the default, such as
            `cascade={"stages": 3}`.
        widths: `instances.Widths` of the proposal network, the two paths to class and box, and the mask's layer.
        anchors: `instances.Anchors` at every position of the map.
        proposals: `instances.ProposalRules` that select the regions for the cascade.
        detections: `instances.DetectionRules` that select the instances to return.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to a dict, D being `detections.count`
        and m `cascade.mask_size`: `boxes` float32 `(batch, D, 4)`, `(x1, y1, x2, y2)` in pixels, the last one
        inclusive; `scores` float32 `(batch, D)`, 0..1, descending; `classes` int32 `(batch, D)`, from 1; `masks`
        float32 `(batch, D, m, m)`, probabilities within the box, which the authors threshold at 0.4; `box_scores`
        float32 `(batch, D)`, the probability of the class according to the whole box, and `refined_boxes` float32
        `(batch, D, 4)` after regression, both of which the authors use for detection only; `count` int32 `(batch,)`,
        the number of instances, after which all entries are zero.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weights are not installed or do not fit.

    Example:
        >>> model = MNC(weights="mnc_model.caffemodel")
        >>> found = model(preprocess_input(images))
    """
    check_choice("include_top", include_top, (True, False))
    check_positive_integer("classes", classes)
    cascade = CASCADE.resolve("cascade", cascade)
    widths = WIDTHS.resolve("widths", widths).scaled(alpha)
    anchors = ANCHORS.resolve("anchors", anchors)
    proposals = PROPOSALS.resolve("proposals", proposals)
    detections = DETECTIONS.resolve("detections", detections)
    card = registry.model_card(backbone)
    packaged = weights if isinstance(weights, str) and weights in card.pretrained else None
    image = image_input(input_tensor, input_shape, "MNC", PREPROCESSING)
    features = backbone_map(image, backbone, packaged, alpha)
    outputs: Any = features
    if include_top:
        sizes = ImageSizes(name="image_sizes")(image)
        found = _proposals(features, sizes, widths.proposals, anchors, proposals)
        stage = instance_stage(features.shape[-1], classes, cascade.mask_size, widths)
        boxes = found["boxes"]
        regions = RoIWarp(2 * REGION_SIZE, [1 / STRIDE], cascade.quantize, name="roi_warp")([features], boxes)
        regions = MergeRegions(name="roi_merge")(regions)
        regions = layers.MaxPooling2D(2, name="roi_warp_pool")(regions)
        results = [(boxes, _split(stage.call(regions), proposals.count, ""))]
        if cascade.stages == 5:
            first = results[0][1]
            boxes = RefineRegions(name="stage_bridge")(boxes, first["deltas"], first["class_logits"], sizes)
            regions = RoIWarp(REGION_SIZE, [1 / STRIDE], cascade.quantize, name="roi_warp_ext")([features], boxes)
            regions = MergeRegions(name="roi_merge_ext")(regions)
            results.append((boxes, _split(stage.call(regions), proposals.count, "_ext")))
        outputs = _instances(results, found["count"], sizes, cascade, detections)
    model = keras.Model(source_input(image), outputs, name=name)
    if packaged is None:
        weight_files.initialize(model, weights, card.pretrained, backbone=not include_top)
    return model


def preprocess_input(images: Any) -> Any:
    """Convert RGB images `(..., 3)`, 0..255, to float32 BGR minus the mean, as the released weights expect."""
    return PREPROCESSING(images)


def _proposals(features: Any, sizes: Any, channels: int, anchors: Anchors, rules: ProposalRules) -> dict[str, Any]:
    """Find class-agnostic boxes: stage 1 (py-faster-rcnn's network, which scores background and object separately)."""
    count = len(anchors.sizes) * len(anchors.ratios)
    x = layers.Conv2D(channels, 3, padding="same", activation="relu", kernel_initializer=SCORES, name="rpn_conv_3x3")(
        features
    )
    scores = layers.Conv2D(2 * count, 1, kernel_initializer=SCORES, name="rpn_cls_score")(x)
    deltas = layers.Conv2D(4 * count, 1, kernel_initializer=SCORES, name="rpn_bbox_pred")(x)
    boxes = AnchorGenerator(anchors.sizes, anchors.ratios, STRIDE, "caffe", name="anchors")(features)
    objectness = ObjectScores(name="rpn_object_score")(scores)
    least_side = LEAST_SIDE if rules.least_side is None else rules.least_side
    return Proposals(rules.count, rules.before_nms, rules.overlap, least_side, OFFSET, True, name="proposals")(
        [objectness], [deltas], [boxes], sizes
    )


def _split(results: dict[str, Any], regions: int, suffix: str) -> dict[str, Any]:
    """Split the results of regions, which are in the batch axis, by image."""
    return {key: SplitRegions(regions, name=f"{key}_split{suffix}")(x) for key, x in results.items()}


def _instances(
    results: list[tuple[Any, dict[str, Any]]],
    count: Any,
    sizes: Any,
    cascade: Cascade,
    rules: DetectionRules,
) -> dict[str, Any]:
    """Select the best instances of all stages together, each with the mask on which overlapping instances agree."""

    def joined(parts: list[Any], name: str, layer: type[layers.Concatenate] = layers.Concatenate) -> Any:
        return parts[0] if len(parts) == 1 else layer(axis=1, name=name)(parts)

    masks = joined([stage["mask"] for _, stage in results], "all_masks")
    masks = layers.Activation("sigmoid", name="mask_probabilities")(masks)
    masks = layers.Reshape((-1, cascade.mask_size, cascade.mask_size), name="masks_square")(masks)
    refined = [
        RefineRegions(foreground_only=True, name=f"refined{number}")(
            boxes, stage["deltas"], stage["class_logits"], sizes
        )
        for number, (boxes, stage) in enumerate(results, start=1)
    ]
    valid = ValidRegions(results[0][0].shape[1], len(results), name="valid_regions")(count)
    voters = 64 if cascade.vote else 1
    return VoteMasks(rules.count, rules.least_score, rules.overlap, voters=voters, name="instances")(
        joined([stage["class_logits"] for _, stage in results], "all_logits"),
        joined([boxes for boxes, _ in results], "all_boxes", CoordinateConcatenate),
        masks,
        valid,
        joined([stage["box_logits"] for _, stage in results], "all_box_logits"),
        joined(refined, "all_refined", CoordinateConcatenate),
    )
