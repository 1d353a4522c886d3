"""Losses of Mask R-CNN (He et al. 2017, section 3), computed with a detector's layers."""

from typing import Any

import keras
from keras import ops

from keras_segattn.layers import Detections
from keras_segattn.layers.region_operator import RegionOperator
from keras_segattn.training.region_targets import mean_where
from keras_segattn.training.region_trainer import RegionChoice, Regions, RegionTrainer, layer_of, masks_in, of_class

LOSSES = ("rpn_objectness", "rpn_box", "classification", "box", "mask")


@keras.saving.register_keras_serializable(package="keras_segattn")
class InstanceTrainer(RegionTrainer):
    """Model that computes the losses of a Mask R-CNN; compile it with an optimizer and call `fit`.

    Training changes the weights of the detector itself. The proposals of a pass become regions to classify, refine and
    segment; no gradient flows through their coordinates ("approximate joint training", Ren et al. 2015).

    Args:
        detector: detector made by `MaskRCNN`.
        choice: numbers of anchors and regions; default: those of the paper.
        seed: seed of the random choice of anchors and regions.

    Call arguments:
        batch: dict of `image`, `boxes`, `classes` and `masks` as `data.InstanceBatches` gives them.

    Output:
        dict of the five losses as scalars.

    Raises:
        ValueError: if the detector lacks a layer that `MaskRCNN` builds.

    Example:
        >>> trainer = InstanceTrainer(model)
        >>> trainer.compile(keras.optimizers.SGD(0.02, 0.9))
        >>> trainer.fit(batches)
    """

    class_scores = "box_logits"

    def __init__(self, detector: keras.Model, choice: RegionChoice | None = None, seed: int = 0) -> None:
        super().__init__(detector, LOSSES, choice or RegionChoice(), seed)
        self.box_weights = layer_of(detector, "detections", Detections).box_weights
        operators = [layer for layer in detector.layers if isinstance(layer, RegionOperator)]
        self.crop_for_boxes, self.crop_for_masks = operators
        self.first = self.proposal_network(self.crop_for_boxes.input[:-1])
        names = ("box_logits", "box_deltas")
        self.box_head = keras.Model(
            detector.get_layer("box_merge").output, [detector.get_layer(name).output for name in names]
        )
        self.mask_head = keras.Model(detector.get_layer("mask_merge").output, detector.get_layer("mask_logits").output)
        self.built = True

    def call(self, batch: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        """Compute the losses of a batch."""
        found = self.first(batch["image"], training=training)
        found = keras.tree.map_structure(lambda x: ops.cast(x, "float32"), found)
        boxes, classes = batch["boxes"], batch["classes"]
        losses = self.proposal_losses(found, boxes, classes)
        regions = self.chosen_regions(found, boxes, classes)
        regions = regions._replace(boxes=ops.stop_gradient(regions.boxes))
        losses |= self._box_losses(found["maps"], regions, boxes, classes, training)
        losses["mask"] = self._mask_loss(found["maps"], regions, classes, batch["masks"], training)
        return losses

    def _box_losses(
        self, maps: list[Any], regions: Regions, objects: Any, classes: Any, training: bool | None
    ) -> dict[str, Any]:
        batch, slots = ops.shape(regions.positive)[0], regions.positive.shape[1]
        crops = self.crop_for_boxes(maps, regions.boxes)
        logits, deltas = self.box_head(ops.reshape(crops, (-1, *crops.shape[2:])), training=training)
        logits = ops.cast(ops.reshape(logits, (batch, slots, logits.shape[-1])), "float32")
        deltas = ops.cast(ops.reshape(deltas, (batch, slots, deltas.shape[-1] // 4, 4)), "float32")
        labels = ops.where(regions.positive, ops.take_along_axis(classes, regions.objects, axis=1), 0)
        entropy = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        targets = self.refinements(regions.objects, objects, regions.boxes, regions.positive, self.box_weights)
        difference = of_class(ops.swapaxes(deltas, 2, 3), labels, logits.shape[-1]) - targets
        return {
            "classification": mean_where(entropy, regions.counts),
            "box": self.box_loss(difference, regions.positive, regions.counts),
        }

    def _mask_loss(self, maps: list[Any], regions: Regions, classes: Any, masks: Any, training: bool | None) -> Any:
        """Compute the binary cross-entropy of the object's class's mask for the positive regions, which come first."""
        most = min(self.choice.region_positives, regions.positive.shape[1])
        boxes, objects, positive, _ = (part[:, :most] for part in regions)
        crops = self.crop_for_masks(maps, boxes)
        logits = self.mask_head(ops.reshape(crops, (-1, *crops.shape[2:])), training=training)
        _, height, width, channels = logits.shape
        logits = ops.cast(ops.reshape(logits, (-1, most, height, width, channels)), "float32")
        labels = ops.where(positive, ops.take_along_axis(classes, objects, axis=1), 0)
        own = of_class(logits, labels, self.classes)
        truth = masks_in(boxes, masks, objects, (height, width))
        entropy = ops.binary_crossentropy(truth, own, from_logits=True)
        return mean_where(ops.mean(entropy, axis=(2, 3)), positive)
