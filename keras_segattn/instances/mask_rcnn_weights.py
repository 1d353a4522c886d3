"""Names of Mask R-CNN's layers in the files of other releases, and conversion of values that differ there."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_segattn.inputs import Stamp
from keras_segattn.instances.mask_rcnn_variants import RELEASES

# Numbers of blocks in the four stages of the deepest ResNet, whose names include those of shallower ones.
STAGES = (3, 8, 36, 3)


def _backbone_names() -> dict[str, tuple[str, ...]]:
    """Return ResNet layer → its names in torchvision's, Detectron2's (pyramid, C4) and Matterport's files."""
    bodies = ("backbone.bottom_up", "backbone")
    names = {
        "conv1_conv": ("backbone.body.conv1", *(f"{body}.stem.conv1" for body in bodies), "conv1"),
        "conv1_bn": ("backbone.body.bn1", *(f"{body}.stem.conv1.norm" for body in bodies), "bn_conv1"),
    }
    branches = {0: "branch1", 1: "branch2a", 2: "branch2b", 3: "branch2c"}
    for stage, count in enumerate(STAGES, start=2):
        for block in range(count):
            torch = f"backbone.body.layer{stage - 1}.{block}"
            detectron = [f"{body}.res{stage}.{block}" for body in (*bodies, "roi_heads")]
            # Matterport letters the blocks of its ResNets: res4a … res4w.
            matterport = f"{stage}{chr(ord('a') + block)}_"
            for conv, branch in branches.items():
                ours = f"conv{stage}_block{block + 1}_{conv}"
                own, norm, part = f"conv{conv}", f"bn{conv}", f"conv{conv}"
                if conv == 0:
                    own, norm, part = "downsample.0", "downsample.1", "shortcut"
                caffe = f"{matterport}{branch}"
                names[f"{ours}_conv"] = (f"{torch}.{own}", *(f"{d}.{part}" for d in detectron), f"res{caffe}")
                names[f"{ours}_bn"] = (f"{torch}.{norm}", *(f"{d}.{part}.norm" for d in detectron), f"bn{caffe}")
    return names


def _head_names() -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {
        "rpn_logits": ("rpn.head.cls_logits", "proposal_generator.rpn_head.objectness_logits", "rpn_class_raw"),
        "rpn_deltas": ("rpn.head.bbox_pred", "proposal_generator.rpn_head.anchor_deltas", "rpn_bbox_pred"),
        "rpn_conv1": (
            "rpn.head.conv.0.0",
            "rpn.head.conv",
            "proposal_generator.rpn_head.conv",
            "proposal_generator.rpn_head.conv.conv0",
            "rpn_conv_shared",
        ),
        "rpn_conv2": ("rpn.head.conv.1.0", "proposal_generator.rpn_head.conv.conv1"),
        "box_fc1": ("roi_heads.box_head.fc6", "roi_heads.box_head.5", "roi_heads.box_head.fc1"),
        "box_fc2": ("roi_heads.box_head.fc7", "roi_heads.box_head.fc2"),
        "box_fc1_conv": ("mrcnn_class_conv1",),
        "box_fc1_bn": ("mrcnn_class_bn1",),
        "box_fc2_conv": ("mrcnn_class_conv2",),
        "box_fc2_bn": ("mrcnn_class_bn2",),
        "box_logits": ("roi_heads.box_predictor.cls_score", "mrcnn_class_logits"),
        "box_deltas": ("roi_heads.box_predictor.bbox_pred", "mrcnn_bbox_fc"),
        "mask_deconv": ("roi_heads.mask_predictor.conv5_mask", "roi_heads.mask_head.deconv", "mrcnn_mask_deconv"),
        "mask_logits": ("roi_heads.mask_predictor.mask_fcn_logits", "roi_heads.mask_head.predictor", "mrcnn_mask"),
    }
    for level in range(2, 6):
        inner, outer = f"backbone.fpn.inner_blocks.{level - 2}", f"backbone.fpn.layer_blocks.{level - 2}"
        names[f"fpn_lateral{level}"] = (
            f"{inner}.0",
            inner,
            f"backbone.fpn_lateral{level}",
            f"fpn_c{level}p{level}",
        )
        names[f"fpn_output{level}"] = (f"{outer}.0", outer, f"backbone.fpn_output{level}", f"fpn_p{level}")
        names |= _normalised(f"fpn_lateral{level}", inner) | _normalised(f"fpn_output{level}", outer)
    for number in range(1, 5):
        mask = f"roi_heads.mask_head.{number - 1}"
        # torchvision's released file is older than its code and has the name mask_fcn1, as Detectron2 does.
        names[f"mask_conv{number}"] = (f"{mask}.0", f"roi_heads.mask_head.mask_fcn{number}")
        names[f"mask_conv{number}_conv"] = (f"{mask}.0", f"mrcnn_mask_conv{number}")
        names[f"mask_conv{number}_bn"] = (f"{mask}.1", f"mrcnn_mask_bn{number}")
        names |= _normalised(f"box_conv{number}", f"roi_heads.box_head.{number - 1}")
    return names


def _normalised(layer: str, torch: str) -> dict[str, tuple[str, ...]]:
    return {f"{layer}_conv": (f"{torch}.0",), f"{layer}_bn": (f"{torch}.1",)}


WEIGHT_NAMES = _backbone_names() | _head_names()

# Constants that Detectron2 keeps beside the weights.
_CONSTANTS = ("pixel_mean", "pixel_std", "anchor_generator.cell_anchors")
_DETECTRON_SCORES = "roi_heads.box_predictor.cls_score"
_MATTERPORT_RPN = "rpn_model."
# Matterport's networks predict refinements divided by these.
_MATTERPORT_DEVIATIONS = np.array((0.1, 0.1, 0.2, 0.2), "float32")
# (dy, dx, log dh, log dw) → (dx, dy, log dw, log dh).
_X_FIRST = [1, 0, 3, 2]


def needs(model: keras.Model, names: Sequence[str]) -> str | None:
    """Recognise Detectron2's and Matterport's files, whose tensors fit networks of other variants in part."""
    if any(name.startswith("proposal_generator.") for name in names):
        variant = "detectron2"
    elif "mrcnn_bbox_fc.kernel" in names:
        variant = "matterport"
    elif "rpn.head.cls_logits.weight" in names:
        variant = "torchvision"
    else:
        return None
    pictures = [layer.field for layer in model.layers if isinstance(layer, Stamp) and layer.card == "MaskRCNN"]
    return None if RELEASES[variant].picture in pictures else f"variant={variant!r}"


def translate(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert a file's tensors to torchvision's conventions; only Detectron2's and Matterport's are changed.

    Detectron2 counts the background as the last class. Matterport's proposal network scores background and object,
    of which only the difference matters, its anchors' ratios are widths ÷ heights, and its boxes have y first.
    """
    tensors = dict(tensors)
    if any(name.startswith("proposal_generator.") for name in tensors):
        tensors = {name: value for name, value in tensors.items() if not any(part in name for part in _CONSTANTS)}
        for leaf in ("weight", "bias"):
            if (name := f"{_DETECTRON_SCORES}.{leaf}") in tensors:
                tensors[name] = np.roll(tensors[name], 1, axis=0)
    if "mrcnn_bbox_fc.kernel" in tensors:
        tensors = {_without_submodel(name): value for name, value in tensors.items()}
        for leaf in ("kernel", "bias"):
            for name, change in (
                ("rpn_class_raw", _object_score),
                ("rpn_bbox_pred", _anchor_refinements),
                ("mrcnn_bbox_fc", _box_refinements),
            ):
                if (key := f"{name}.{leaf}") in tensors:
                    tensors[key] = change(tensors[key])
    return tensors


def _without_submodel(name: str) -> str:
    """Turn `"rpn_model.rpn_conv_shared/kernel"` into `"rpn_conv_shared.kernel"`; keep other names."""
    return name.removeprefix(_MATTERPORT_RPN).replace("/", ".") if name.startswith(_MATTERPORT_RPN) else name


def _object_score(value: np.ndarray) -> np.ndarray:
    pairs = value.reshape(*value.shape[:-1], -1, 2)
    return np.ascontiguousarray((pairs[..., 1] - pairs[..., 0])[..., ::-1])


def _anchor_refinements(value: np.ndarray) -> np.ndarray:
    boxes = value.reshape(*value.shape[:-1], -1, 4)[..., ::-1, :]
    return (boxes[..., _X_FIRST] * _MATTERPORT_DEVIATIONS).reshape(value.shape)


def _box_refinements(value: np.ndarray) -> np.ndarray:
    return value.reshape(*value.shape[:-1], -1, 4)[..., _X_FIRST].reshape(value.shape)
