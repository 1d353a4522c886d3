"""Mask R-CNN (He, Gkioxari, Dollár & Girshick, ICCV 2017, arXiv 1703.06870).

A trunk, a region proposal network, RoIAlign, a head for class and box, and one for the mask of what the first found.
The default is torchvision's `maskrcnn_resnet50_fpn`, layer by layer; `variant` chooses what other releases do
otherwise. `form="c4"` is the paper's form without pyramid: the ResNet's fifth stage is the head.

Heads see every region as an image of its own, `(batch · regions, …)`. Training (`training.InstanceTrainer`) runs the
same layers on other regions; there is no second graph.
"""

from dataclasses import replace
from typing import Any

import keras
from keras import layers

from keras_segattn import registry
from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_positive_integer, scaled
from keras_segattn.classification import resnet
from keras_segattn.fields import IMAGENET, PictureSize
from keras_segattn.inputs import image_input, source_input, stamped
from keras_segattn.instances import heads
from keras_segattn.instances.feature_pyramid import feature_pyramid, trunk_maps
from keras_segattn.instances.mask_rcnn_variants import VARIANTS, Semantics
from keras_segattn.instances.mask_rcnn_weights import WEIGHT_NAMES, translate
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
from keras_segattn.registry import Card, Paper, register

ROI_OPERATORS = {"align": RoIAlign, "pool": RoIPool, "warp": RoIWarp}
FORMS = ("fpn", "c4")
ANCHOR_SIZES = (32, 64, 128, 256, 512)
ANCHOR_RATIOS = (0.5, 1.0, 2.0)
BOX_SIZE, MASK_SIZE = 7, 14


def fifth_stage(shape: tuple[int, ...], backbone: str, alpha: float, stride_in_1x1: bool) -> keras.Model:
    """The last stage of a ResNet, from regions 14×14 of the fourth's map to 7×7 (section 3, "C4")."""
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
            "anchor_sizes": (8, 16, 32, 64, 128),
            "proposals": 12,
            "proposals_before_nms": 20,
            "detections": 5,
        },
        claims={"int8", "dynamic_size", "mixed_precision"},
        weight_names=WEIGHT_NAMES,
        translate=translate,
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
    pyramid_channels: int = 256,
    box_channels: int = 1024,
    mask_channels: int = 256,
    roi_operator: str = "align",
    anchor_sizes: tuple[float, ...] = ANCHOR_SIZES,
    anchor_ratios: tuple[float, ...] = ANCHOR_RATIOS,
    proposals: int = 1000,
    proposals_before_nms: int = 1000,
    proposal_iou: float = 0.7,
    detections: int = 100,
    score_threshold: float = 0.05,
    detection_iou: float = 0.5,
    class_agnostic_masks: bool = False,
    paste: str | None = None,
    padded_images: bool = False,
    batch_norm_epsilon: float | None = None,
) -> keras.Model:
    """Mask R-CNN (He et al. 2017): boxes, classes and masks of the objects in an image.

    Args:
        include_top: whether to add the heads; without, the outputs are the maps `p2` … `p6` of the pyramid.
        weights: `None` (random), the name of weights packaged for the backbone (such as `"imagenet"` with
            `backbone="efficientnet_lite0"`), or the path of a weight file of the whole network: torchvision's
            `maskrcnn_resnet50_fpn` and, with their `variant`, `_v2`, Detectron2's and Matterport's.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size.
        classes: number of classes, background (class 0) included.
        name: of the model.
        backbone: a registered trunk with taps at strides 4, 8 and 16.
        form: `"fpn"` with feature pyramid, or `"c4"`: heads on the map of stride 16, a ResNet's fifth stage on top.
        variant: whose release is followed: `"torchvision"`, `"torchvision_v2"`, `"detectron2"` or `"matterport"`.
        alpha: width multiplier of the trunk and of the three widths that follow.
        pyramid_channels: channels of the pyramid and of the proposal network.
        box_channels: hidden units of the box head.
        mask_channels: channels of the mask head.
        roi_operator: `"align"` (RoIAlign), or for comparison `"pool"` (Fast R-CNN) or `"warp"` (MNC).
        anchor_sizes: square root of the anchors' areas in pixels: one a level from 2 to 6, or all of them at once
            with `form="c4"`.
        anchor_ratios: heights ÷ widths of the anchors.
        proposals: regions that the box head sees.
        proposals_before_nms: best regions of a level before suppression.
        proposal_iou: overlap above which a proposal is suppressed.
        detections: number of detections returned.
        score_threshold: detections of at most this probability are dropped.
        detection_iou: overlap above which a detection of the same class is suppressed.
        class_agnostic_masks: one mask for all classes instead of one a class.
        paste: `"torchvision"` or `"detectron2"` adds the output `pasted_masks`, whole images, by their rule.
        padded_images: adds the input `image_size` `(batch, 2)` float32, height and width of the picture in the upper
            left of a larger, padded image; boxes are clipped to it.
        batch_norm_epsilon: `None` for the release's; torchvision's released COCO weights (v1) expect 0.0.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to a dict, D being `detections`:
        `boxes` float32 `(batch, D, 4)`, `(x1, y1, x2, y2)` in pixels of the image; `scores` float32 `(batch, D)`,
        0..1, falling; `classes` int32 `(batch, D)`, from 1; `masks` float32 `(batch, D, 28, 28)`, probabilities within
        the box (14×14 with `form="c4"`); `count` int32 `(batch,)`: slots from there on are zero; with `paste`, also
        `pasted_masks` float32 `(batch, D, height, width)`, to be thresholded at 0.5.

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
    check_choice("variant", variant, tuple(VARIANTS))
    check_choice("roi_operator", roi_operator, tuple(ROI_OPERATORS))
    check_choice("paste", paste, (None, "torchvision", "detectron2"))
    for argument, value in (("class_agnostic_masks", class_agnostic_masks), ("padded_images", padded_images)):
        check_choice(argument, value, (True, False))
    semantics = VARIANTS[variant]
    card = registry.model_card(backbone)
    packaged = weights if isinstance(weights, str) and weights in card.pretrained else None
    image = image_input(input_tensor, input_shape, "MaskRCNN", semantics.picture)
    inputs = [source_input(image)]
    if padded_images:
        sizes = keras.Input((2,), name="image_size")
        inputs.append(sizes)
        sizes = stamped(sizes, "MaskRCNN", "image_size", PictureSize("image"))
    else:
        sizes = ImageSizes(name="image_sizes")(image)

    options: dict[str, Any] = {}
    if card.name in resnet.BOTTLENECKS:
        options = {"stride_in_1x1": semantics.stride_in_1x1, "padding": semantics.padding}
    epsilon = semantics.epsilon if batch_norm_epsilon is None else batch_norm_epsilon
    maps = trunk_maps(image, backbone, packaged, alpha, options)
    residual = form == "c4" and card.name in resnet.LAST_BLOCKS
    width = scaled(pyramid_channels, alpha)
    if form == "fpn":
        pyramid = feature_pyramid(maps, width, semantics.normalise_pyramid)
        cells: list[tuple[float, ...]] = [(size,) for size in anchor_sizes]
    else:
        pyramid, cells = {4: maps[16]}, [tuple(anchor_sizes)]
        width = maps[16].shape[-1]
    if len(cells) != len(pyramid):
        raise ValueError(f"anchor_sizes must be one a level of {list(pyramid)}, received {anchor_sizes}")
    if not include_top:
        outputs = {f"p{level}": x for level, x in pyramid.items()}
        return _finish(inputs, outputs, name, weights, packaged, card, epsilon, trunk=True)

    features = list(pyramid.values())
    logits, deltas = heads.proposal_head(
        features, width, len(anchor_ratios) * len(cells[0]), semantics.proposal_convolutions
    )
    anchors = [
        AnchorGenerator(sizes, anchor_ratios, 2**level, semantics.anchor_rounding, name=f"anchors{level}")(x)
        for level, sizes, x in zip(pyramid, cells, features, strict=True)
    ]
    found = Proposals(proposals, proposals_before_nms, proposal_iou, semantics.min_proposal, name="proposals")(
        logits, deltas, anchors, sizes
    )

    roi = _roi_operator(roi_operator, semantics, [level for level in pyramid if level < 6])
    features = features[: len(pyramid) - (form == "fpn")]  # the last level is for proposals only
    box_size = MASK_SIZE if residual else BOX_SIZE
    regions = MergeRegions(name="box_merge")(roi(box_size, "box")(features, found["boxes"]))
    stage = fifth_stage(regions.shape[1:], card.name, alpha, semantics.stride_in_1x1) if residual else None
    hidden = _box_head(regions, stage, semantics.box_head, scaled(box_channels, alpha), width)
    boxes = classes if semantics.with_background else classes - 1
    class_logits, box_deltas = heads.box_predictions(hidden, classes, boxes)
    outputs = Detections(detections, score_threshold, detection_iou, semantics.min_detection, name="detections")(
        SplitRegions(proposals, name="class_split")(class_logits),
        SplitRegions(proposals, name="deltas_split")(box_deltas),
        found["boxes"],
        found["count"],
        sizes,
    )

    regions = MergeRegions(name="mask_merge")(roi(MASK_SIZE, "mask")(features, outputs["boxes"]))
    x = heads.mask_head(
        regions if stage is None else stage.call(regions),
        scaled(mask_channels, alpha),
        1 if class_agnostic_masks else boxes,
        0 if residual else 4,
        semantics.normalise_masks,
    )
    masks = ClassMasks(semantics.with_background, name="masks")(
        SplitRegions(detections, name="mask_split")(x), outputs["classes"]
    )
    outputs = outputs | {"masks": masks}
    if paste is not None:
        outputs["pasted_masks"] = PasteMasks(paste, name="pasted_masks")(masks, outputs["boxes"], image)
    return _finish(inputs, outputs, name, weights, packaged, card, epsilon, trunk=False)


def _roi_operator(operator: str, semantics: Semantics, levels: list[int]) -> Any:
    """(output size, prefix of the layer's name) → the layer that crops regions of all levels."""
    scales = [2.0**-level for level in levels]
    options: dict[str, Any] = {"level_rounding": semantics.level_rounding, "lowest_level": levels[0]}
    name = operator
    if operator == "align":
        options |= {"sampling_ratio": semantics.sampling_ratio, "aligned": semantics.aligned}
        name = "align_v2" if semantics.aligned else "align"  # Detectron2's name of the shift by half a pixel

    def layer(size: int, prefix: str) -> Any:
        return ROI_OPERATORS[operator](size, scales, name=f"{prefix}_{name}", **options)

    return layer


def _box_head(regions: Any, stage: keras.Model | None, kind: str, width: int, channels: int) -> Any:
    """What class and box are read from, `(batch · regions, features)`."""
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
    trunk: bool,
) -> keras.Model:
    """The model, with weights; `inputs` alone or as a dict by their names."""
    model = keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=name)
    if epsilon is not None:
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.epsilon = epsilon
    if packaged is None:
        weight_files.initialize(model, weights, card.pretrained, trunk=trunk)
    return model
