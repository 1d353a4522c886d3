"""Losses of a multi-task network cascade (Dai et al. 2016, sections 3 and 4), computed with a detector's layers."""

from typing import Any

import keras
from keras import ops

from keras_segattn.layers import RefineRegions, RoIWarp
from keras_segattn.ops.gradients import clip_gradient
from keras_segattn.training.region_targets import match, mean_where
from keras_segattn.training.region_trainer import RegionChoice, Regions, RegionTrainer, layer_of, masks_in, of_class

# Values of the released code: the probability from which a pixel belongs to a mask, and the overlap from which an
# instance is right.
MASK_THRESHOLD, MASK_IOU = 0.4, 0.5
# Gradients from later stages into the box refinements are clipped elementwise to this value per image. Unclipped, they
# outweigh the gradients of the box losses and drive the proposals away from the objects.
REFINEMENT_GRADIENT = 1 / 512
STAGE_LOSSES = ("mask", "box_classification", "classification", "box")
CHOICE = RegionChoice(proposals=300, proposals_before_nms=12000, regions=64, region_positives=19)


@keras.saving.register_keras_serializable(package="keras_segattn")
class CascadeTrainer(RegionTrainer):
    """Model that computes the losses of all stages of an MNC; compile it with an optimizer and call `fit`.

    Training changes the weights of the MNC itself. The gradient of every loss reaches the earlier stages through the
    coordinates of the regions. As in the released code, this part of the gradient of each refinement is clipped.

    Args:
        detector: detector made by `MNC`.
        choice: numbers of anchors and regions; default: those of the released code.
        seed: seed of the random choice of anchors and regions.
        mask_weight: weight of the mask losses: 1.0 in the paper, 2.0 in the released code.

    Call arguments:
        batch: dict of `image`, `boxes`, `classes` and `masks` as `data.InstanceBatches` gives them.

    Output:
        dict of scalar losses: two of the proposals, and four of each pass through the shared stage. The names of the
        second pass end in `_ext`.

    Raises:
        ValueError: if the detector lacks a layer that `MNC` builds.

    Example:
        >>> trainer = CascadeTrainer(model)
        >>> trainer.compile(keras.optimizers.SGD(1e-3, 0.9))
        >>> trainer.fit(batches)
    """

    class_scores = "cls_score"

    def __init__(
        self, detector: keras.Model, choice: RegionChoice | None = None, seed: int = 0, mask_weight: float = 1.0
    ) -> None:
        names = {layer.name for layer in detector.layers}
        self.suffixes = ("", "_ext") if "stage_bridge" in names else ("",)
        losses = ("rpn_objectness", "rpn_box", *(f"{name}{end}" for end in self.suffixes for name in STAGE_LOSSES))
        super().__init__(detector, losses, choice or CHOICE, seed)
        self.mask_weight = mask_weight
        self.crop = layer_of(detector, "roi_warp", RoIWarp)
        self.first = self.proposal_network(self.crop.input[:-1])
        results = ("mask_pred", "cls_score", "seg_cls_score", "bbox_pred")
        self.stage = keras.Model(
            layer_of(detector, "mask_flatten", keras.layers.Flatten).input,
            [detector.get_layer(name).output for name in results],
        )
        self.pool = detector.get_layer("roi_warp_pool")
        # As in the released code, training never takes the background's box.
        self.bridge = RefineRegions(foreground_only=True, offset=self.offset)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the trainer."""
        return super().get_config() | {"mask_weight": self.mask_weight}

    def call(self, batch: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        """Compute the losses of a batch."""
        found = self.first(batch["image"], training=training)
        found = keras.tree.map_structure(lambda x: ops.cast(x, "float32"), found)
        boxes, classes = batch["boxes"], batch["classes"]
        losses = self.proposal_losses(found, boxes, classes)
        limit = REFINEMENT_GRADIENT / ops.cast(ops.shape(boxes)[0], "float32")  # losses are means over the images
        found["deltas"] = [clip_gradient(deltas, limit) for deltas in found["deltas"]]
        regions = self.chosen_regions(found, boxes, classes)
        for suffix in self.suffixes:
            stage, deltas, logits = self._stage(found["maps"], regions, batch, training)
            losses |= {f"{name}{suffix}": value for name, value in stage.items()}
            moved = self.bridge(regions.boxes, clip_gradient(deltas, limit), logits, found["sizes"])
            choice = self.choice
            matches = match(
                ops.stop_gradient(moved), boxes, classes, choice.region_foreground, choice.region_foreground
            )
            positive, counts = (ops.logical_and(m, regions.counts) for m in (matches.positive, regions.counts))
            regions = Regions(moved, matches.objects, positive, counts)
        return losses

    def _stage(
        self, maps: list[Any], regions: Regions, batch: dict[str, Any], training: bool | None
    ) -> tuple[dict[str, Any], Any, Any]:
        """Compute the losses of one pass through the shared stage; return its refinements and class scores, too."""
        boxes, objects, positive, counts = regions
        images, slots = ops.shape(positive)[0], positive.shape[1]
        crops = self.crop(maps, boxes)
        outputs = self.stage(self.pool(ops.reshape(crops, (-1, *crops.shape[2:]))), training=training)
        masks, box_logits, logits, deltas = (
            ops.cast(ops.reshape(x, (images, slots, x.shape[-1])), "float32") for x in outputs
        )
        size = round(masks.shape[-1] ** 0.5)
        masks = ops.reshape(masks, (images, slots, size, size))
        frames = ops.stop_gradient(boxes)
        inside = masks_in(frames, batch["masks"], objects, (size, size)) >= MASK_THRESHOLD
        entropy = ops.mean(ops.binary_crossentropy(ops.cast(inside, "float32"), masks, from_logits=True), axis=(2, 3))

        labels = ops.where(positive, ops.take_along_axis(batch["classes"], objects, axis=1), 0)
        overlap = _mask_iou(ops.sigmoid(ops.stop_gradient(masks)) >= MASK_THRESHOLD, inside, frames, objects, batch)
        instance_labels = ops.where(overlap >= MASK_IOU, labels, 0)
        by_class = ops.swapaxes(ops.reshape(deltas, (images, slots, logits.shape[-1], 4)), 2, 3)
        targets = self.refinements(objects, batch["boxes"], frames, positive, self.bridge.box_weights)
        difference = of_class(by_class, labels, logits.shape[-1]) - targets
        losses = {
            "mask": self.mask_weight * mean_where(entropy, positive),
            "box_classification": _entropy(labels, box_logits, counts),
            "classification": _entropy(instance_labels, logits, counts),
            "box": self.box_loss(difference, positive, counts),
        }
        return losses, deltas, logits


def _entropy(labels: Any, logits: Any, counts: Any) -> Any:
    return mean_where(ops.sparse_categorical_crossentropy(labels, logits, from_logits=True), counts)


def _mask_iou(masks: Any, inside: Any, boxes: Any, objects: Any, batch: dict[str, Any]) -> Any:
    """Compute the overlap (IoU) of each region's mask with the mask of its whole object, `(batch, R)`."""
    cells = masks.shape[2] * masks.shape[3]
    sides = boxes[..., 2:] - boxes[..., :2]
    cell = ops.maximum(sides[..., 0] * sides[..., 1], 0.0) / cells
    area, common = (
        cell * ops.sum(ops.cast(m, "float32"), axis=(2, 3)) for m in (masks, ops.logical_and(masks, inside))
    )
    whole = ops.sum(ops.cast(batch["masks"], "float32"), axis=(2, 3))
    whole = ops.take_along_axis(whole, objects, axis=1)
    return common / ops.maximum(area + whole - common, 1.0)
