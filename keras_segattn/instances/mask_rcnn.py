"""Mask R-CNN (He, Gkioxari, Dollár & Girshick, ICCV 2017, arXiv 1703.06870).

The network has a backbone, a region proposal network, RoIAlign, a head for class and box, and a head for the masks of
the objects that the first head found. The default is torchvision's `maskrcnn_resnet50_fpn`, layer by layer; `variant`
chooses the conventions of other releases. `form="c4"` is the paper's form without pyramid: the ResNet's fifth stage is
the head.

Heads see every region as an image of its own, `(batch · regions, …)`. Training (`training.InstanceTrainer`) runs the
same layers on other regions; there is no second graph.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
from keras import layers

from keras_segattn import registry
from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.classification import resnet
from keras_segattn.fields import IMAGENET, PictureSize
from keras_segattn.inputs import image_input, source_input, stamped
from keras_segattn.instances import heads
from keras_segattn.instances.feature_pyramid import backbone_maps, feature_pyramid
from keras_segattn.instances.mask_rcnn_variants import RELEASES, Release
from keras_segattn.instances.mask_rcnn_weights import WEIGHT_NAMES, needs, translate
from keras_segattn.instances.settings import Anchors, DetectionRules, ProposalRules, Widths
from keras_segattn.layers import (
    AnchorGenerator,
    ClassMasks,
    Detections,
    ImageSizes,
    MergeRegions,
    PasteMasks,
    Proposals,
    RoIAlign,
    RoIPool,
    RoIWarp,
    SplitRegions,
)
from keras_segattn.registry import Card, Paper, Training, register

ROI_OPERATORS = {"align": RoIAlign, "pool": RoIPool, "warp": RoIWarp}
FORMS = ("fpn", "c4")
WIDTHS = Widths(proposals=256, boxes=1024, masks=256)
ANCHORS = Anchors(sizes=(32, 64, 128, 256, 512))
PROPOSALS = ProposalRules(count=1000, before_nms=1000, overlap=0.7)
DETECTIONS = DetectionRules(count=100, least_score=0.05, overlap=0.5)
BOX_SIZE, MASK_SIZE = 7, 14


def fifth_stage(shape: tuple[int, ...], backbone: str, alpha: float, stride_in_1x1: bool) -> keras.Model:
    """Build the last stage of a ResNet, which makes 7×7 maps of 14×14 regions of the fourth stage's map (section 3)."""
    deep = backbone in resnet.BOTTLENECKS
    block = resnet.bottleneck if deep else resnet.basic_block
    options = {"stride_in_1x1": stride_in_1x1} if deep else {}
    regions = x = keras.Input(shape, name="regions")
    for number in range(1, resnet.LAST_BLOCKS[backbone] + 1):
        stride = 2 if number == 1 else 1
        x = block(x, resnet.WIDTHS[-1], stride, alpha, number == 1, f"conv5_block{number}", **options)
    return keras.Model(regions, x)


@register(
    Card(
        paper=Paper("Mask R-CNN", "He, Gkioxari, Dollár & Girshick", "ICCV", 2017, "1703.06870"),
        task="detect",
        inputs={"image": replace(IMAGENET, size=None, fit="pad")},
        published={"input_shape": (800, 1088, 3)},
        parameters=44_507_633,
        tiny={
            "input_shape": (64, 96, 3),
            "classes": 4,
            "backbone": "resnet18",
            "alpha": 0.0625,
            "anchors": {"sizes": (8, 16, 32, 64, 128)},
            "proposals": {"count": 12, "before_nms": 20},
            "detections": {"count": 5},
        },
        claims={"int8", "dynamic_size", "mixed_precision"},
        weight_names=WEIGHT_NAMES,
        translate=translate,
        needs=needs,
        classes=heads.detected_classes,
        training=Training(trainer="regions"),
    )
)
def MaskRCNN(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 91,
    name: str = "mask_rcnn",
    *,
    backbone: str = "resnet50",
    form: str = "fpn",
    variant: str = "torchvision",
    alpha: float = 1.0,
    widths: Widths | Mapping[str, Any] = WIDTHS,
    roi_operator: str = "align",
    anchors: Anchors | Mapping[str, Any] = ANCHORS,
    proposals: ProposalRules | Mapping[str, Any] = PROPOSALS,
    detections: DetectionRules | Mapping[str, Any] = DETECTIONS,
    class_agnostic_masks: bool = False,
    paste: str | None = None,
    padded_images: bool = False,
) -> keras.Model:
    """Mask R-CNN (He et al. 2017): boxes, classes and masks of the objects in an image.

    Args:
        include_top: whether to add the heads; without them, the outputs are the maps `p2` … `p6` of the pyramid.
        weights: `None` (random), the name of weights packaged for the backbone (such as `"imagenet"` with
            `backbone="efficientnet_lite0"`), or the path of a weight file of the whole network: torchvision's
            `maskrcnn_resnet50_fpn` and, with their `variant`, `_v2`, Detectron2's and Matterport's.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size.
        classes: number of classes, background (class 0) included.
        name: name of the model.
        backbone: name of a registered backbone with taps at strides 4, 8 and 16.
        form: `"fpn"` with feature pyramid, or `"c4"`: heads on the map of stride 16, a ResNet's fifth stage on top.
        variant: release whose conventions are used: `"torchvision"`, `"torchvision_coco"` (for the weights of its first
            version trained on COCO, which expect batch normalisation without epsilon), `"torchvision_v2"`,
            `"detectron2"` or `"matterport"`.
        alpha: width multiplier of the backbone and of `widths`.
        widths: `instances.Widths` of the pyramid with the proposal network, the box head and the mask head. `widths`,
            `anchors`, `proposals` and `detections` may also be dicts of the values that differ from the default, such
            as `detections={"count": 30}`.
        roi_operator: `"align"` (RoIAlign), or for comparison `"pool"` (Fast R-CNN) or `"warp"` (MNC).
        anchors: `instances.Anchors`: one size per level from 2 to 6; with `form="c4"`, all sizes on its only level.
        proposals: `instances.ProposalRules` that select the regions for the box head.
        detections: `instances.DetectionRules` that select the detections to return.
        class_agnostic_masks: whether there is one mask for all classes instead of one per class.
        paste: `"torchvision"` or `"detectron2"` adds the output `pasted_masks`, masks of the whole image, by the rule
            of that release; `None` leaves it out.
        padded_images: whether to add the input `image_size` `(batch, 2)` float32, height and width of the picture in
            the upper left of a larger, padded image; boxes are clipped to it.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to a dict, D being `detections.count`:
        `boxes` float32 `(batch, D, 4)`, `(x1, y1, x2, y2)` in pixels of the image; `scores` float32 `(batch, D)`,
        0..1, descending; `classes` int32 `(batch, D)`, from 1; `masks` float32 `(batch, D, 28, 28)`, probabilities
        within the box (14×14 with `form="c4"`); `count` int32 `(batch,)`, the number of detections, after which all
        entries are zero; with `paste`, also `pasted_masks` float32 `(batch, D, height, width)`, to be thresholded at
        0.5.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weights are not installed or do not fit.

    Example:
        >>> model = MaskRCNN(weights="maskrcnn_resnet50_fpn.pth")
        >>> found = model(preprocessing_of(model)(images))
        >>> found["boxes"][0, : found["count"][0]]
    """
    check_choice("include_top", include_top, (True, False))
    check_positive_integer("classes", classes)
    if classes < 2:
        raise ValueError(f"classes must count the background and at least one object, received {classes}")
    check_choice("form", form, FORMS)
    check_choice("variant", variant, tuple(RELEASES))
    check_choice("roi_operator", roi_operator, tuple(ROI_OPERATORS))
    check_choice("paste", paste, (None, "torchvision", "detectron2"))
    for argument, value in (("class_agnostic_masks", class_agnostic_masks), ("padded_images", padded_images)):
        check_choice(argument, value, (True, False))
    widths = WIDTHS.resolve("widths", widths).scaled(alpha)
    anchors = ANCHORS.resolve("anchors", anchors)
    proposals = PROPOSALS.resolve("proposals", proposals)
    detections = DETECTIONS.resolve("detections", detections)
    release = RELEASES[variant]
    card = registry.model_card(backbone)
    packaged = weights if isinstance(weights, str) and weights in card.pretrained else None
    image = image_input(input_tensor, input_shape, "MaskRCNN", release.picture)
    inputs = [source_input(image)]
    if padded_images:
        sizes = keras.Input((2,), name="image_size")
        inputs.append(sizes)
        sizes = stamped(sizes, "MaskRCNN", "image_size", PictureSize("image"))
    else:
        sizes = ImageSizes(name="image_sizes")(image)

    options: dict[str, Any] = {}
    if card.name in resnet.BOTTLENECKS:
        options = {"stride_in_1x1": release.stride_in_1x1, "padding": release.padding}
    maps = backbone_maps(image, backbone, packaged, alpha, options)
    residual = form == "c4" and card.name in resnet.LAST_BLOCKS
    width = widths.proposals
    if form == "fpn":
        pyramid = feature_pyramid(maps, width, release.normalise_pyramid)
        cells: list[tuple[float, ...]] = [(size,) for size in anchors.sizes]
    else:
        pyramid, cells = {4: maps[16]}, [tuple(anchors.sizes)]
        width = maps[16].shape[-1]
    if len(cells) != len(pyramid):
        raise ValueError(f"anchors must have one size per level of {list(pyramid)}, received {anchors.sizes}")
    if not include_top:
        outputs = {f"p{level}": x for level, x in pyramid.items()}
        return _finish(inputs, outputs, name, weights, packaged, card, release.epsilon, backbone=True)

    features = list(pyramid.values())
    logits, deltas = heads.proposal_head(
        features, width, len(anchors.ratios) * len(cells[0]), release.proposal_convolutions
    )
    boxes = [
        AnchorGenerator(side, anchors.ratios, 2**level, release.anchor_rounding, name=f"anchors{level}")(x)
        for level, side, x in zip(pyramid, cells, features, strict=True)
    ]
    least_side = release.min_proposal if proposals.least_side is None else proposals.least_side
    found = Proposals(proposals.count, proposals.before_nms, proposals.overlap, least_side, name="proposals")(
        logits, deltas, boxes, sizes
    )

    roi = _roi_operator(roi_operator, release, [level for level in pyramid if level < 6])
    features = features[: len(pyramid) - (form == "fpn")]  # the last level is for proposals only
    box_size = MASK_SIZE if residual else BOX_SIZE
    regions = MergeRegions(name="box_merge")(roi(box_size, "box")(features, found["boxes"]))
    stage = fifth_stage(regions.shape[1:], card.name, alpha, release.stride_in_1x1) if residual else None
    hidden = _box_head(regions, stage, release.box_head, widths.boxes, width)
    refined = classes if release.with_background else classes - 1
    class_logits, box_deltas = heads.box_predictions(hidden, classes, refined)
    outputs = Detections(
        detections.count, detections.least_score, detections.overlap, release.min_detection, name="detections"
    )(
        SplitRegions(proposals.count, name="class_split")(class_logits),
        SplitRegions(proposals.count, name="deltas_split")(box_deltas),
        found["boxes"],
        found["count"],
        sizes,
    )

    regions = MergeRegions(name="mask_merge")(roi(MASK_SIZE, "mask")(features, outputs["boxes"]))
    x = heads.mask_head(
        regions if stage is None else stage.call(regions),
        widths.masks,
        1 if class_agnostic_masks else refined,
        0 if residual else 4,
        release.normalise_masks,
    )
    masks = ClassMasks(release.with_background, name="masks")(
        SplitRegions(detections.count, name="mask_split")(x), outputs["classes"]
    )
    outputs = outputs | {"masks": masks}
    if paste is not None:
        outputs["pasted_masks"] = PasteMasks(paste, name="pasted_masks")(masks, outputs["boxes"], image)
    return _finish(inputs, outputs, name, weights, packaged, card, release.epsilon, backbone=False)


def _roi_operator(operator: str, release: Release, levels: list[int]) -> Any:
    """Return a function from (output size, prefix of the layer's name) to the layer that crops regions of any level."""
    scales = [2.0**-level for level in levels]
    options: dict[str, Any] = {"level_rounding": release.level_rounding, "lowest_level": levels[0]}
    name = operator
    if operator == "align":
        options |= {"sampling_ratio": release.sampling_ratio, "aligned": release.aligned}
        name = "align_v2" if release.aligned else "align"  # Detectron2's name of the shift by half a pixel

    def layer(size: int, prefix: str) -> Any:
        return ROI_OPERATORS[operator](size, scales, name=f"{prefix}_{name}", **options)

    return layer


def _box_head(regions: Any, stage: keras.Model | None, kind: str, width: int, channels: int) -> Any:
    """Compute the features that class and box are read from, `(batch · regions, features)`."""
    if stage is not None:
        return layers.GlobalAveragePooling2D(name="box_pool")(stage.call(regions))
    if kind == "matterport":
        return heads.matterport_head(regions, width)
    if kind == "convolutional":
        return heads.convolutional_head(regions, channels, width)
    return heads.fully_connected_head(regions, width)


def _finish(
    inputs: list[Any],
    outputs: dict[str, Any],
    name: str,
    weights: str | None,
    packaged: str | None,
    card: Any,
    epsilon: float | None,
    *,
    backbone: bool,
) -> keras.Model:
    """Build the model and fill its weights; a single input is not in a list."""
    model = keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=name)
    if epsilon is not None:
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.epsilon = epsilon
    if packaged is None:
        weight_files.initialize(model, weights, card.pretrained, backbone=backbone)
    return model
