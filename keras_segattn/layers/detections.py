"""A layer that turns classified and refined regions into a fixed number of detections."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.layers.coordinates import CoordinateLayer
from keras_segattn.ops.boxes import clip_boxes, decode_boxes
from keras_segattn.ops.nms import nms


@keras.saving.register_keras_serializable(package="keras_segattn")
class Detections(CoordinateLayer):
    """Selects the best detections of an image: refines and clips boxes, drops low scores, suppresses within each class.

    Every region is a candidate for every class but the background (class 0), with that class's own box. A region whose
    box has no area, or holds NaN, is none.

    Args:
        count: number of detections returned per image.
        score_threshold: candidates with at most this probability are dropped.
        iou_threshold: largest IoU with a better kept candidate of its class that a candidate may have.
        min_size: smallest height and width of a clipped box, in pixels; smaller candidates are dropped.
        box_weights: factors by which the heads' refinements of (x, y, width, height) are divided.
        activation: function that makes probabilities of logits: `"softmax"`, or `"sigmoid"` for one classifier per
            class, such as a support vector machine, and none for the background.

    Call arguments:
        logits: class scores `(batch, R, classes)`, background first; for sigmoids `(batch, R, classes - 1)`.
        deltas: refinements `(batch, R, 4·K)`: K is `classes`, or `classes - 1` without the background, or 1 if all
            classes share a box; `None` leaves the boxes as they are.
        proposals: regions `(batch, R, 4)`.
        proposal_count: int `(batch,)`, number of valid regions of each image; later regions do not count. `None`: all
            count.
        image_sizes: `(batch, 2)`, height and width of the images, to which boxes are clipped.

    Output:
        dict `boxes` float32 `(batch, count, 4)` in pixels, `scores` float32 `(batch, count)` in 0..1 in descending
        order, `classes` int32 `(batch, count)` from 1, and `count` int32 `(batch,)`, the number of detections of each
        image; all later entries are zero.

    Raises:
        ValueError: if an argument is wrong, or the shapes of deltas and logits do not fit each other.

    Example:
        >>> found = Detections(count=100)(logits, deltas, proposals, proposal_count, image_sizes)
    """

    def __init__(
        self,
        count: int = 100,
        score_threshold: float = 0.05,
        iou_threshold: float = 0.5,
        min_size: float = 1e-2,
        box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
        activation: str = "softmax",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_integer("count", count)
        for name, value in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be within 0..1, received {value!r}")
        check_choice("activation", activation, ("softmax", "sigmoid"))
        self.activation = activation
        self.count, self.score_threshold, self.iou_threshold = count, score_threshold, iou_threshold
        self.min_size, self.box_weights = min_size, tuple(box_weights)

    def call(self, logits: Any, deltas: Any, proposals: Any, proposal_count: Any, image_sizes: Any) -> dict[str, Any]:
        """Return the best detections of each image."""
        _, regions, objects = logits.shape
        objects -= self.activation == "softmax"
        if regions * objects == 0:
            return self.zeros(ops.shape(logits)[0], logits, deltas, proposals, proposal_count, image_sizes)
        logits = ops.cast(logits, "float32")
        scores = ops.softmax(logits, axis=-1)[..., 1:] if self.activation == "softmax" else ops.sigmoid(logits)
        boxes = proposals[:, :, None]
        if deltas is not None:
            refined = ops.reshape(deltas, (-1, regions, deltas.shape[-1] // 4, 4))
            if refined.shape[2] == objects + 1:
                refined = refined[:, :, 1:]
            boxes = decode_boxes(refined, boxes, self.box_weights)
        boxes = ops.broadcast_to(boxes, (ops.shape(boxes)[0], regions, objects, 4))
        boxes = clip_boxes(ops.reshape(boxes, (-1, regions * objects, 4)), image_sizes)

        if proposal_count is not None:
            valid = ops.arange(regions)[None, :, None] < ops.cast(proposal_count, "int32")[:, None, None]
            scores = ops.where(valid, scores, 0.0)
        scores = ops.reshape(scores, (-1, regions * objects))
        large = ops.all(boxes[..., 2:] - boxes[..., :2] >= self.min_size, axis=-1)
        scores = ops.where(large, scores, 0.0)
        labels = ops.tile(ops.arange(1, objects + 1, dtype="int32"), (regions,))
        indices, count = nms(
            boxes,
            scores,
            self.iou_threshold,
            self.count,
            classes=ops.broadcast_to(labels, ops.shape(scores)),
            score_threshold=self.score_threshold,
        )
        valid = ops.arange(self.count) < count[:, None]
        return {
            "boxes": ops.where(valid[..., None], ops.take_along_axis(boxes, indices[..., None], axis=1), 0.0),
            "scores": ops.take_along_axis(scores, indices, axis=1) * ops.cast(valid, "float32"),
            "classes": ops.take(labels, indices) * ops.cast(valid, "int32"),
            "count": count,
        }

    def compute_output_spec(
        self, logits: Any, deltas: Any, proposals: Any, proposal_count: Any, image_sizes: Any
    ) -> dict[str, keras.KerasTensor]:
        """Describe the output: a fixed number of detections per image."""
        classes = logits.shape[-1] + (self.activation == "sigmoid")
        if deltas is not None and deltas.shape[-1] not in (4, 4 * (classes - 1), 4 * classes):
            raise ValueError(
                f"with {classes} classes expected 4, {4 * (classes - 1)} or {4 * classes} refinements per region, "
                f"received {deltas.shape[-1]}"
            )
        batch = logits.shape[0]
        return {
            "boxes": keras.KerasTensor((batch, self.count, 4), dtype="float32"),
            "scores": keras.KerasTensor((batch, self.count), dtype="float32"),
            "classes": keras.KerasTensor((batch, self.count), dtype="int32"),
            "count": keras.KerasTensor((batch,), dtype="int32"),
        }

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        names = ("count", "score_threshold", "iou_threshold", "min_size", "box_weights", "activation")
        return super().get_config() | {name: getattr(self, name) for name in names}
