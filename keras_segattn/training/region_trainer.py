"""Base of the trainers of detectors: the losses of proposals, and the choice of regions to train on."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.data.instance_batches import InstanceBatches
from keras_segattn.layers import Proposals
from keras_segattn.ops.boxes import encode_boxes
from keras_segattn.ops.roi_align import roi_align
from keras_segattn.training.distribution import replicas
from keras_segattn.training.label_checks import Labels, checked
from keras_segattn.training.region_targets import Matches, choose_regions, match, mean_where, smooth_l1
from keras_segattn.training.trainer import Trainer


class RegionChoice(NamedTuple):
    """Numbers and overlaps that decide which anchors and regions of an image are trained on.

    The defaults are the paper's (He et al. 2017), as in torchvision.

    Attributes:
        anchors, anchor_positives: number of anchors that train the proposal network, and how many may be positive.
        anchor_foreground, anchor_background: overlap from which an anchor is positive, and below which it is negative.
        proposals, proposals_before_nms: numbers of candidates for regions, after and before non-maximum suppression.
        regions, region_positives: number of regions that train the heads, and how many may be positive.
        region_foreground: overlap from which a region is positive; below it, a region is negative.
        beta: distance up to which smooth L1 losses are quadratic; Detectron2's is 0.
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


class Regions(NamedTuple):
    """Regions to train on, the positive ones first.

    Attributes:
        boxes: `(batch, R, 4)`.
        objects: int32 `(batch, R)`, slots of the objects that the regions overlap most, see `region_targets`.
        positive: bool `(batch, R)`.
        counts: bool `(batch, R)`, false for regions that only fill the shape.
    """

    boxes: Any
    objects: Any
    positive: Any
    counts: Any


def freeze_batch_norm(model: keras.Model) -> None:
    """Make batch normalisation a constant affine map, as detectors are trained with few images per batch."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


class RegionTrainer(Trainer):
    """Model that computes the losses of a detector; subclasses add the losses of the stages after the proposals.

    Training changes the weights of the detector itself.

    Args:
        detector: detector with a layer `proposals`.
        losses: names of the losses that `call` returns.
        choice: numbers of anchors and regions.
        seed: seed of the random choice of anchors and regions.

    Raises:
        ValueError: if the detector has no such layer.

    Attributes:
        class_scores: name of the layer that has one unit per class, set by subclasses.
    """

    class_scores: ClassVar[str]

    def __init__(self, detector: keras.Model, losses: tuple[str, ...], choice: RegionChoice, seed: int) -> None:
        # Boxes need float32, even if the layers compute in 16 bits.
        super().__init__(name=f"{detector.name}_trainer", dtype="float32")
        for name, value in choice._asdict().items():
            if isinstance(getattr(RegionChoice(), name), int):
                check_positive_integer(name, value)
        self.detector, self.choice, self.seed = detector, choice, seed
        self.seeds = keras.random.SeedGenerator(seed)
        found = layer_of(detector, "proposals", Proposals)
        self.candidates = Proposals(
            choice.proposals,
            choice.proposals_before_nms,
            found.iou_threshold,
            found.min_size,
            found.offset,
            found.differentiable,
        )
        self.offset = found.offset
        self.trackers = [keras.metrics.Mean(name=name) for name in losses]

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the trainer."""
        detector = keras.saving.serialize_keras_object(self.detector)
        return {"detector": detector, "choice": self.choice._asdict(), "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "RegionTrainer":
        """Rebuild the trainer with its detector."""
        detector = keras.saving.deserialize_keras_object(config["detector"], custom_objects)
        return cls(**config | {"detector": detector, "choice": RegionChoice(**config["choice"])})

    def proposal_network(self, maps: list[Any]) -> keras.Model:
        """Make a model from images to `logits`, `deltas`, `anchors` (a list each), `sizes`, and `maps` to crop from."""
        *tensors, sizes = self.detector.get_layer("proposals").input
        levels = len(tensors) // 3
        return keras.Model(
            self.detector.inputs,
            {
                "logits": tensors[:levels],
                "deltas": tensors[levels : 2 * levels],
                "anchors": tensors[2 * levels :],
                "sizes": sizes,
                "maps": maps,
            },
        )

    @property
    def classes(self) -> int:
        """Return the number of classes of the detector, background included."""
        return int(self.detector.get_layer(self.class_scores).units)

    def fit(self, *arguments: Any, **named: Any) -> Any:
        """Train; the arguments are those of `keras.Model.fit`.

        Raises:
            ValueError: if the detector lacks a label of the data, or arguments are given that have no effect.
        """
        call = inspect.signature(keras.Model.fit).bind(self, *arguments, **named)
        return super().fit(**self.with_checked_labels(call))

    def evaluate(self, *arguments: Any, **named: Any) -> Any:
        """Compute the losses; the arguments are those of `keras.Model.evaluate`.

        Raises:
            ValueError: if the detector lacks a label of the data.
        """
        call = inspect.signature(keras.Model.evaluate).bind(self, *arguments, **named)
        return super().evaluate(**self.with_checked_labels(call))

    def with_checked_labels(self, call: inspect.BoundArguments) -> dict[str, Any]:
        """Return the arguments of a call, with data whose labels are checked: the first now, all when they are read."""
        given = {name: value for name, value in call.arguments.items() if name != "self"}
        given |= given.pop("kwargs", {})
        most = self.classes - 1
        for name in {"x", "validation_data"} & given.keys():
            self.check_labels(given[name], name)
            if not isinstance(given[name], InstanceBatches):  # whose labels were all checked
                given[name] = checked(given[name], Labels("classes", -most, most), name)
        return given

    def check_labels(self, data: Any, name: str) -> None:
        """Raise `ValueError` if the detector lacks a label: of all `InstanceBatches`, or of the first other batch."""
        if isinstance(data, InstanceBatches):
            data.check_classes(self.classes)
            return
        if hasattr(data, "__len__") and not isinstance(
            data, Mapping | tuple | list
        ):  # an iterator would lose its first
            data = next(iter(data), None)
        batch = data[0] if isinstance(data, tuple | list) and data else data
        if not isinstance(batch, Mapping) or "classes" not in batch:
            return
        labels = ops.convert_to_numpy(batch["classes"])
        if labels.max(initial=0) >= self.classes:
            place = int(np.argmax(labels.max(axis=tuple(range(1, labels.ndim)), initial=0)))
            raise ValueError(
                f"picture {place} of {name} has label {labels[place].max()}, but {self.detector.name!r} has "
                f"{self.classes} classes, background included, that is labels 1..{self.classes - 1}: build it with "
                f"classes={labels.max() + 1}, or number the labels from 1 without gaps"
            )

    def compute_loss(
        self,
        x: Any = None,  # noqa: ARG002 - the arguments are Keras's
        y: Any = None,  # noqa: ARG002
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: ARG002
    ) -> Any:
        """Sum the losses that `call` returned; under a `tf.distribute` strategy, return this replica's share."""
        self.check_weights(sample_weight)
        for tracker in self.trackers:
            tracker.update_state(y_pred[tracker.name])
        return sum(y_pred.values()) / replicas()

    def proposal_losses(self, found: dict[str, Any], boxes: Any, classes: Any) -> dict[str, Any]:
        """Compute `rpn_objectness` and `rpn_box` (Ren et al. 2015, equation 1) of outputs of `proposal_network`."""
        choice = self.choice
        batch = ops.shape(boxes)[0]
        logits = ops.concatenate([ops.reshape(x, (batch, -1)) for x in found["logits"]], axis=1)
        deltas = ops.concatenate([ops.reshape(x, (batch, -1, 4)) for x in found["deltas"]], axis=1)
        anchors = ops.concatenate(found["anchors"], axis=0)
        matches = match(
            anchors, boxes, classes, choice.anchor_foreground, choice.anchor_background, best_for_each_object=True
        )
        indices, positive, counts = choose_regions(
            matches, choice.anchors, choice.anchor_positives, self.noise(matches)
        )
        objectness = ops.binary_crossentropy(
            ops.cast(positive, "float32"), ops.take_along_axis(logits, indices, axis=1), from_logits=True
        )
        slots = ops.take_along_axis(matches.objects, indices, axis=1)
        targets = self.refinements(slots, boxes, ops.take(anchors, indices, axis=0), positive, (1.0, 1.0, 1.0, 1.0))
        difference = ops.take_along_axis(deltas, indices[..., None], axis=1) - targets
        return {
            "rpn_objectness": mean_where(objectness, counts),
            "rpn_box": self.box_loss(difference, positive, counts),
        }

    def chosen_regions(self, found: dict[str, Any], boxes: Any, classes: Any) -> Regions:
        """Choose regions among proposals and the boxes of objects, some of them positive and the rest negative."""
        choice = self.choice
        proposals = self.candidates(found["logits"], found["deltas"], found["anchors"], found["sizes"])
        candidates = ops.concatenate([proposals["boxes"], boxes], axis=1)
        exists = ops.concatenate(
            [ops.arange(choice.proposals)[None, :] < proposals["count"][:, None], classes > 0], axis=1
        )
        matches = match(
            ops.stop_gradient(candidates), boxes, classes, choice.region_foreground, choice.region_foreground
        )
        matches = matches._replace(
            positive=ops.logical_and(matches.positive, exists), negative=ops.logical_and(matches.negative, exists)
        )
        indices, positive, counts = choose_regions(
            matches, choice.regions, choice.region_positives, self.noise(matches)
        )
        chosen = ops.take_along_axis(candidates, indices[..., None], axis=1)
        chosen = ops.where(counts[..., None], chosen, 0.0)
        return Regions(chosen, ops.take_along_axis(matches.objects, indices, axis=1), positive, counts)

    def refinements(self, slots: Any, objects: Any, boxes: Any, positive: Any, weights: tuple[float, ...]) -> Any:
        """Compute the refinements of positive boxes to their objects' boxes, `(batch, N, 4)`; 0 for other boxes.

        No gradient flows through them.
        """
        truth = ops.take_along_axis(objects, slots[..., None], axis=1)
        unit = ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])
        truth, boxes = (ops.where(positive[..., None], x, unit) for x in (truth, boxes))
        return ops.stop_gradient(encode_boxes(truth, boxes, weights, self.offset))

    def box_loss(self, difference: Any, positive: Any, counts: Any) -> Any:
        """Compute the smooth L1 loss, summed over coordinates of positive boxes, averaged over all that count."""
        loss = ops.sum(smooth_l1(difference, self.choice.beta), axis=-1)
        return ops.sum(ops.where(positive, loss, 0.0)) / ops.maximum(ops.sum(ops.cast(counts, "float32")), 1.0)

    def noise(self, matches: Matches) -> Any:
        """Draw the uniform random numbers by which `choose_regions` chooses."""
        return keras.random.uniform(ops.shape(matches.positive), seed=self.seeds)


def of_class(values: Any, labels: Any, classes: int) -> Any:
    """Take the channel of each region's class from `values` `(batch, regions, …, K)`.

    K is `classes`, one less if the background has no channel, or 1 if all classes share one channel.
    """
    channels = values.shape[-1]
    if channels == 1:
        return values[..., 0]
    chosen = ops.one_hot(labels - (classes - channels), channels, dtype=values.dtype)
    axes = tuple(range(2, len(values.shape) - 1))
    return ops.sum(values * ops.expand_dims(chosen, axes), axis=-1)


def masks_in(boxes: Any, masks: Any, slots: Any, size: tuple[int, int]) -> Any:
    """Crop the mask of each box's object to the box.

    Args:
        boxes: `(batch, R, 4)` in pixels.
        masks: masks of 0 and 1, `(batch, G, height, width)`.
        slots: int `(batch, R)`, slot of each box's object among the G masks.
        size: (height, width) of the crops.

    Returns:
        float32 `(batch, R, *size)` in 0..1, without gradient.
    """
    # The masks of all objects become channels of one map, from which each region then takes its object's channel.
    maps = ops.cast(ops.transpose(masks, (0, 2, 3, 1)), "float32")
    crops = roi_align(maps, boxes, size, 1.0)
    mine = ops.one_hot(slots, crops.shape[-1], dtype="float32")[:, :, None, None, :]
    return ops.stop_gradient(ops.clip(ops.sum(crops * mine, axis=-1), 0.0, 1.0))


def layer_of(detector: keras.Model, name: str, kind: type) -> Any:
    """Return the layer of a detector that has a name and a class.

    Raises:
        ValueError: if there is no such layer.
    """
    for layer in detector.layers:
        if layer.name == name and isinstance(layer, kind):
            return layer
    raise ValueError(f"model {detector.name!r} has no layer {name!r} of class {kind.__name__}, as detectors have")
