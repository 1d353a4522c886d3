"""The losses of Mask R-CNN (He et al. 2017, section 3; Ren et al. 2015, equation 1) on the layers of a detector."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.layers import Proposals
from keras_segattn.layers.region_operator import RegionOperator
from keras_segattn.ops.boxes import encode_boxes
from keras_segattn.ops.roi_align import roi_align
from keras_segattn.training.region_targets import match, mean_where, sample, smooth_l1

LOSSES = ("rpn_objectness", "rpn_box", "classification", "box", "mask")


class Sampling(NamedTuple):
    """How many anchors and regions of an image are trained on, and which; the paper's numbers, as in torchvision.

    Attributes:
        anchors, anchor_positives: of the proposal network, and how many of them may be positive.
        anchor_foreground, anchor_background: overlaps from and below which an anchor is positive, negative.
        proposals, proposals_before_nms: candidates for regions.
        regions, region_positives: of the heads.
        region_foreground: overlap from which a region is positive; below it is negative.
        beta: of the smooth L1 losses; Detectron2's is 0.
    """

    anchors: int = 256
    anchor_positives: int = 128
    anchor_foreground: float = 0.7
    anchor_background: float = 0.3
    proposals: int = 2000
    proposals_before_nms: int = 2000
    regions: int = 512
    region_positives: int = 128
    region_foreground: float = 0.5
    beta: float = 1 / 9


def freeze_batch_norm(model: keras.Model) -> None:
    """Make batch normalisation a constant affine map, as detectors are trained with few images a batch."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


class InstanceTrainer(keras.Model):
    """A Mask R-CNN with its losses, to be compiled with an optimizer and fitted; its weights are the detector's own.

    The proposals of one pass become regions to classify, refine and segment: no gradient flows through their
    coordinates ("approximate joint training", Ren et al. 2015).

    Args:
        detector: made by `MaskRCNN`.
        sampling: numbers of anchors and regions.
        seed: of the sampling.

    Call arguments:
        batch: dict of `image`, `boxes`, `classes` and `masks` as `data.InstanceBatches` gives them.

    Output:
        dict of the five losses, scalars.

    Raises:
        ValueError: if the detector has other layers than those of `MaskRCNN`.

    Example:
        >>> trainer = InstanceTrainer(model)
        >>> trainer.compile(optimizer)
        >>> trainer.fit(batches)
    """

    def __init__(self, detector: keras.Model, sampling: Sampling | None = None, seed: int = 0) -> None:
        super().__init__(name=f"{detector.name}_trainer")
        self.sampling = sampling or Sampling()
        for name, value in self.sampling._asdict().items():
            if isinstance(value, int):
                check_positive_integer(name, value)
        self.detector = detector
        self.seeds = keras.random.SeedGenerator(seed)
        found = _layer(detector, "proposals", Proposals)
        *tensors, sizes = found.input
        levels = len(tensors) // 3
        self.box_regions = _region_operator(detector, "box_")
        self.mask_regions = _region_operator(detector, "mask_")
        self.first = keras.Model(
            detector.inputs,
            {
                "logits": tensors[:levels],
                "deltas": tensors[levels : 2 * levels],
                "anchors": tensors[2 * levels :],
                "sizes": sizes,
                "maps": self.box_regions.input[:-1],
            },
        )
        logits, deltas = (detector.get_layer(name).output for name in ("box_logits", "box_deltas"))
        self.box_head = keras.Model(detector.get_layer("box_merge").output, [logits, deltas])
        self.mask_head = keras.Model(detector.get_layer("mask_merge").output, detector.get_layer("mask_logits").output)
        self.box_weights = detector.get_layer("detections").box_weights
        self.candidates = Proposals(
            self.sampling.proposals, self.sampling.proposals_before_nms, found.iou_threshold, found.min_size
        )
        self.trackers = [keras.metrics.Mean(name=name) for name in LOSSES]

    def call(self, batch: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        """The losses of a batch."""
        found = self.first(batch["image"], training=training)
        found = keras.tree.map_structure(lambda x: ops.cast(x, "float32"), found)
        boxes, classes = batch["boxes"], batch["classes"]
        losses = self._proposal_losses(found, boxes, classes)
        regions = self._regions(found, boxes, classes)
        losses |= self._box_losses(found["maps"], regions, classes, training)
        losses["mask"] = self._mask_loss(found["maps"], regions, batch, training)
        return losses

    def compute_loss(
        self,
        x: Any = None,  # noqa: ARG002 - the arguments are Keras's
        y: Any = None,  # noqa: ARG002
        y_pred: Any = None,
        sample_weight: Any = None,  # noqa: ARG002
        training: bool = True,  # noqa: ARG002
    ) -> Any:
        """The sum of the losses that `call` gave."""
        for tracker in self.trackers:
            tracker.update_state(y_pred[tracker.name])
        return sum(y_pred.values())

    def _proposal_losses(self, found: dict[str, Any], boxes: Any, classes: Any) -> dict[str, Any]:
        s = self.sampling
        batch = ops.shape(boxes)[0]
        logits = ops.concatenate([ops.reshape(x, (batch, -1)) for x in found["logits"]], axis=1)
        deltas = ops.concatenate([ops.reshape(x, (batch, -1, 4)) for x in found["deltas"]], axis=1)
        anchors = ops.concatenate(found["anchors"], axis=0)
        matches = match(anchors, boxes, classes, s.anchor_foreground, s.anchor_background, best_for_each_object=True)
        indices, positive, counts = sample(matches, s.anchors, s.anchor_positives, self._noise(matches))
        chosen = ops.take_along_axis(logits, indices, axis=1)
        objectness = ops.binary_crossentropy(ops.cast(positive, "float32"), chosen, from_logits=True)
        targets = self._targets(indices, matches, boxes, ops.take(anchors, indices, axis=0), positive, (1.0,) * 4)
        difference = ops.take_along_axis(deltas, indices[..., None], axis=1) - targets
        return {
            "rpn_objectness": mean_where(objectness, counts),
            "rpn_box": self._box_loss(difference, positive, counts),
        }

    def _regions(self, found: dict[str, Any], boxes: Any, classes: Any) -> dict[str, Any]:
        """The sampled regions: `boxes`, `objects` (slots), `positive`, `counts`."""
        s = self.sampling
        proposals = self.candidates(found["logits"], found["deltas"], found["anchors"], found["sizes"])
        candidates = ops.stop_gradient(ops.concatenate([proposals["boxes"], boxes], axis=1))
        exists = ops.concatenate([ops.arange(s.proposals)[None, :] < proposals["count"][:, None], classes > 0], axis=1)
        matches = match(candidates, boxes, classes, s.region_foreground, s.region_foreground)
        matches = matches._replace(
            positive=ops.logical_and(matches.positive, exists), negative=ops.logical_and(matches.negative, exists)
        )
        indices, positive, counts = sample(matches, s.regions, s.region_positives, self._noise(matches))
        chosen = ops.take_along_axis(candidates, indices[..., None], axis=1)
        chosen = ops.where(counts[..., None], chosen, 0.0)
        objects = ops.take_along_axis(matches.objects, indices, axis=1)
        targets = self._targets(indices, matches, boxes, chosen, positive, self.box_weights)
        return {"boxes": chosen, "objects": objects, "positive": positive, "counts": counts, "targets": targets}

    def _box_losses(
        self, maps: list[Any], regions: dict[str, Any], classes: Any, training: bool | None
    ) -> dict[str, Any]:
        positive, counts = regions["positive"], regions["counts"]
        batch, slots = ops.shape(positive)[0], positive.shape[1]
        crops = self.box_regions(maps, regions["boxes"])
        logits, deltas = self.box_head(ops.reshape(crops, (-1, *crops.shape[2:])), training=training)
        logits = ops.cast(ops.reshape(logits, (batch, slots, logits.shape[-1])), "float32")
        deltas = ops.cast(ops.reshape(deltas, (batch, slots, deltas.shape[-1] // 4, 4)), "float32")
        labels = ops.where(positive, ops.take_along_axis(classes, regions["objects"], axis=1), 0)
        entropy = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        own = _of_class(ops.swapaxes(deltas, 2, 3), labels, logits.shape[-1])
        return {
            "classification": mean_where(entropy, counts),
            "box": self._box_loss(own - regions["targets"], positive, counts),
        }

    def _mask_loss(self, maps: list[Any], regions: dict[str, Any], batch: dict[str, Any], training: bool | None) -> Any:
        """Binary cross-entropy of the mask of the object's class; positive regions are the first."""
        most = min(self.sampling.region_positives, regions["positive"].shape[1])
        boxes, positive, objects = (regions[name][:, :most] for name in ("boxes", "positive", "objects"))
        crops = self.mask_regions(maps, boxes)
        logits = self.mask_head(ops.reshape(crops, (-1, *crops.shape[2:])), training=training)
        _, height, width, channels = logits.shape
        logits = ops.cast(ops.reshape(logits, (-1, most, height, width, channels)), "float32")
        labels = ops.take_along_axis(batch["classes"], objects, axis=1)
        classes = self.detector.get_layer("box_logits").units
        own = _of_class(logits, ops.where(positive, labels, 0), classes)
        # All objects' masks as channels of one map: a region then takes its object's.
        truth = ops.cast(ops.transpose(batch["masks"], (0, 2, 3, 1)), "float32")
        truth = roi_align(truth, boxes, (height, width), 1.0)
        mine = ops.one_hot(objects, truth.shape[-1], dtype="float32")[:, :, None, None, :]
        truth = ops.stop_gradient(ops.clip(ops.sum(truth * mine, axis=-1), 0.0, 1.0))
        entropy = ops.mean(ops.binary_crossentropy(truth, own, from_logits=True), axis=(2, 3))
        return mean_where(entropy, positive)

    def _box_loss(self, difference: Any, positive: Any, counts: Any) -> Any:
        """Summed over the coordinates of positive boxes, averaged over all that count."""
        loss = ops.sum(smooth_l1(difference, self.sampling.beta), axis=-1)
        return ops.sum(ops.where(positive, loss, 0.0)) / ops.maximum(ops.sum(ops.cast(counts, "float32")), 1.0)

    def _targets(
        self, indices: Any, matches: Any, objects: Any, boxes: Any, positive: Any, weights: tuple[float, ...]
    ) -> Any:
        """Refinements that turn boxes into their objects; those of the others are 0."""
        slots = ops.take_along_axis(matches.objects, indices, axis=1)
        truth = ops.take_along_axis(objects, slots[..., None], axis=1)
        unit = ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])
        truth = ops.where(positive[..., None], truth, unit)
        boxes = ops.where(positive[..., None], boxes, unit)
        return ops.stop_gradient(encode_boxes(truth, boxes, weights))

    def _noise(self, matches: Any) -> Any:
        return keras.random.uniform(ops.shape(matches.positive), seed=self.seeds)


def _of_class(values: Any, labels: Any, classes: int) -> Any:
    """The channel of each region's class of `values` `(batch, regions, …, K)`.

    K is `classes`, or one less where the background has no channel, or 1 for all classes.
    """
    channels = values.shape[-1]
    if channels == 1:
        return values[..., 0]
    chosen = ops.one_hot(labels - (classes - channels), channels, dtype=values.dtype)
    axes = tuple(range(2, len(values.shape) - 1))
    return ops.sum(values * ops.expand_dims(chosen, axes), axis=-1)


def _layer(detector: keras.Model, name: str, kind: type) -> Any:
    for layer in detector.layers:
        if layer.name == name and isinstance(layer, kind):
            return layer
    raise ValueError(f"expected a model made by MaskRCNN, {detector.name!r} has no layer {name!r}")


def _region_operator(detector: keras.Model, prefix: str) -> Any:
    for layer in detector.layers:
        if isinstance(layer, RegionOperator) and layer.name.startswith(prefix):
            return layer
    raise ValueError(f"expected a model made by MaskRCNN, {detector.name!r} has no region operator {prefix}*")
