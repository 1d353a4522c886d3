"""torchvision's Mask R-CNN as an oracle: random weights, and every intermediate result."""

import contextlib
import sys
import zlib

import numpy as np
from torch_oracles import torchvision_models

# Scale of the last normalisation of a residual block, so small that activations do not grow over sixteen sums.
RESIDUAL_SCALE = 0.2


def mask_rcnn(builder, **options):
    """Build one of torchvision's models without download, for evaluation, with weights that depend on names only."""
    import torch

    models = torchvision_models()
    define_operators()
    model = getattr(models.detection, builder)(weights=None, weights_backbone=None, **options)
    return randomise(model.eval()), torch


def define_operators():
    """Define replacements of the compiled operators, which do not load with a CPU build of torch."""
    import torch
    import torchvision
    from torchvision.ops import boxes

    if hasattr(torch.ops.torchvision, "nms"):
        return
    # Its RoIAlign in Python, without torch.compile, which would take longer than it saves.
    roi_align = sys.modules["torchvision.ops.roi_align"]
    roi_align._roi_align = roi_align._roi_align.__wrapped__
    interpolate = roi_align._bilinear_interpolate

    def as_compiled(maps, images, y, x, *masks):
        """Apply the rule that the compiled operator has and the Python one lacks: samples far outside are 0."""
        height, width = maps.shape[2:]
        rows, columns = ((v >= -1) & (v <= size) for v, size in ((y, height), (x, width)))
        inside = rows[:, None, :, None, :, None] & columns[:, None, None, :, None, :]
        return interpolate(maps, images, y, x, *masks) * inside

    roi_align._bilinear_interpolate = as_compiled

    def nms(dets, scores, iou_threshold):
        order = torch.sort(scores, descending=True, stable=True).indices
        iou = torchvision.ops.box_iou(dets[order], dets[order])
        keep = torch.ones(len(order), dtype=torch.bool)
        for i in range(len(order)):
            if keep[i]:
                keep[i + 1 :] &= ~(iou[i, i + 1 :] > iou_threshold)
        return order[keep]

    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", nms, "CPU")
    boxes._assert_has_ops = lambda: None
    define_operators.library = library  # operators are removed when their library is garbage-collected


def randomise(model):
    """Draw weights and statistics by name, scaled so that scores spread and boxes stay near their anchors."""
    import torch

    scales = {"cls_logits": 2.0, "cls_score": 8.0, "bbox_pred": 1.0, "mask_fcn_logits": 10.0}
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        if tensor.ndim > 1:
            values = generator.normal(0, np.sqrt(1 / tensor[0].numel()), tensor.shape)
            values *= next((scale for part, scale in scales.items() if part in name), 1.0)
        elif name.endswith("running_var"):
            values = generator.uniform(0.5, 1.5, tensor.shape)
        elif name.endswith("weight"):
            values = generator.uniform(0.8, 1.2, tensor.shape) * (RESIDUAL_SCALE if ".bn3." in name else 1)
        else:
            values = generator.normal(0, 0.1, tensor.shape)
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.asarray(values, "float32")))
    return model


def run(model, images):
    """Every stage for `images` `(batch, height, width, 3)`, in Keras's layout.

    Returns:
        dict of `logits` and `deltas` (one array per level), `proposals` (one array per image), `class_logits`,
        `box_deltas`, `mask_logits` and `detections` (torchvision's list of dicts, as arrays).
    """
    import torch
    from torchvision.models.detection.image_list import ImageList

    captured = {}

    def keep(name):
        def hook(_module, _inputs, outputs):
            captured[name] = outputs

        return hook

    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    batch = ImageList(x, [tuple(images.shape[1:3])] * len(images))
    heads = model.roi_heads
    with torch.no_grad(), contextlib.ExitStack() as stack:
        for name, module in (
            ("rpn", model.rpn.head),
            ("box", heads.box_predictor),
            ("mask", heads.mask_predictor),
        ):
            stack.callback(module.register_forward_hook(keep(name)).remove)
        features = model.backbone(x)
        proposals, _ = model.rpn(batch, features)
        detections, _ = heads(features, proposals, batch.image_sizes)
    last = (0, 2, 3, 1)
    return {
        "logits": [level.permute(last).numpy() for level in captured["rpn"][0]],
        "deltas": [level.permute(last).numpy() for level in captured["rpn"][1]],
        "proposals": [image.numpy() for image in proposals],
        "class_logits": captured["box"][0].numpy(),
        "box_deltas": captured["box"][1].numpy(),
        "mask_logits": captured["mask"].permute(last).numpy(),
        "detections": [{name: value.numpy() for name, value in image.items()} for image in detections],
    }
