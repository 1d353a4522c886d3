"""A layer that turns the scores and box refinements of a region proposal network into boxes."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.layers.coordinates import CoordinateLayer
from keras_segattn.ops.boxes import clip_boxes, decode_boxes
from keras_segattn.ops.nms import nms


@keras.saving.register_keras_serializable(package="keras_segattn")
class Proposals(CoordinateLayer):
    """Selects the best boxes of a region proposal network (Ren et al. 2015, section 3): decodes, clips, suppresses.

    Each level of a pyramid first keeps its `before_nms` best boxes. Boxes suppress only others of the same level, and
    the `count` best of all levels remain. Gradients do not flow into the boxes unless `differentiable` is true.

    Args:
        count: number of boxes returned per image.
        before_nms: number of boxes per level, the best, that take part in the suppression.
        iou_threshold: largest IoU with a better kept box of its level that a box may have.
        min_size: smallest height and width of a clipped box, in pixels; smaller boxes are dropped.
        offset: 1.0 for py-faster-rcnn's convention, in which a box of one pixel has x2 = x1; else 0.0.
        differentiable: whether gradients flow through the boxes' coordinates.

    Call arguments:
        objectness: list of maps `(batch, h, w, A)`, one per level, with one logit per anchor.
        deltas: list of maps `(batch, h, w, 4·A)` of box refinements, one per level.
        anchors: list of boxes `(h·w·A, 4)`, one tensor per level.
        image_sizes: `(batch, 2)`, height and width of the images, to which boxes are clipped.

    Output:
        dict `boxes` float32 `(batch, count, 4)` in pixels, `scores` float32 `(batch, count)` in 0..1 in descending
        order, and `count` int32 `(batch,)`, the number of boxes of each image; all later entries are zero.

    Raises:
        ValueError: if an argument is wrong, or the lists are of different lengths.

    Example:
        >>> found = Proposals(count=300, before_nms=6000)([logits], [deltas], [anchors], image_sizes)
    """

    # For int8 export: the boxes stay float where the rest of a network is int8, the inputs of this layer need not.
    exact_inputs = ()

    def __init__(
        self,
        count: int = 1000,
        before_nms: int = 1000,
        iou_threshold: float = 0.7,
        min_size: float = 1e-3,
        offset: float = 0.0,
        differentiable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_integer("count", count)
        check_positive_integer("before_nms", before_nms)
        if not 0 <= iou_threshold <= 1:
            raise ValueError(f"iou_threshold must be within 0..1, received {iou_threshold!r}")
        self.count, self.before_nms, self.iou_threshold = count, before_nms, iou_threshold
        self.min_size, self.offset, self.differentiable = min_size, offset, differentiable

    def call(
        self, objectness: Sequence[Any], deltas: Sequence[Any], anchors: Sequence[Any], image_sizes: Any
    ) -> dict[str, Any]:
        """Return the best boxes of all levels."""
        best = [self._best(*level) for level in zip(objectness, deltas, anchors, strict=True)]
        logits = ops.concatenate([logits for logits, _ in best], axis=1)
        if logits.shape[1] == 0:
            return self.zeros(ops.shape(logits)[0], objectness, deltas, anchors, image_sizes)
        boxes = clip_boxes(ops.concatenate([boxes for _, boxes in best], axis=1), image_sizes, self.offset)
        extent = boxes[..., 2:] - boxes[..., :2] + self.offset
        logits = ops.where(ops.all(extent >= self.min_size, axis=-1), logits, -float("inf"))
        levels = None
        if len(best) > 1:
            sizes = [level.shape[1] for level, _ in best]
            levels = ops.concatenate([ops.full((size,), i, "int32") for i, size in enumerate(sizes)])
            levels = ops.broadcast_to(levels, ops.shape(logits))
        indices, count = nms(
            ops.stop_gradient(boxes), logits, self.iou_threshold, self.count, classes=levels, offset=self.offset
        )
        valid = ops.cast(ops.arange(self.count) < count[:, None], "float32")
        boxes = ops.take_along_axis(boxes, indices[..., None], axis=1)
        scores = ops.sigmoid(ops.take_along_axis(logits, indices, axis=1))
        return {"boxes": boxes * valid[..., None], "scores": scores * valid, "count": count}

    def _best(self, objectness: Any, deltas: Any, anchors: Any) -> tuple[Any, Any]:
        """Return logits and boxes of the `before_nms` best anchors of one level, or of all if known to be fewer."""
        batch, *positions = ops.shape(objectness)
        count = math.prod(positions)
        logits = ops.stop_gradient(ops.reshape(objectness, (batch, count)))
        deltas = ops.reshape(deltas, (batch, count, 4))
        if (
            None in objectness.shape[1:]
        ):  # the number is known only when the model runs: pad with enough that never count
            logits = ops.pad(logits, ((0, 0), (0, self.before_nms)), constant_values=-float("inf"))
            deltas, anchors = ops.pad(deltas, ((0, 0), (0, 1), (0, 0))), ops.pad(anchors, ((0, 1), (0, 0)))
            logits, indices = ops.top_k(logits, self.before_nms)
            indices = ops.minimum(indices, count)
        else:
            logits, indices = ops.top_k(logits, min(self.before_nms, count))
        deltas = ops.take_along_axis(deltas, indices[..., None], axis=1)
        if not self.differentiable:
            deltas = ops.stop_gradient(deltas)
        return logits, decode_boxes(deltas, ops.take(anchors, indices, axis=0), offset=self.offset)

    def compute_output_spec(
        self, objectness: Sequence[Any], deltas: Sequence[Any], anchors: Sequence[Any], image_sizes: Any
    ) -> dict[str, keras.KerasTensor]:
        """Describe the output: a fixed number of boxes per image."""
        if not len(objectness) == len(deltas) == len(anchors):
            raise ValueError(
                f"expected as many maps of logits as of deltas and sets of anchors, received {len(objectness)}, "
                f"{len(deltas)} and {len(anchors)}"
            )
        batch = image_sizes.shape[0]
        return {
            "boxes": keras.KerasTensor((batch, self.count, 4), dtype="float32"),
            "scores": keras.KerasTensor((batch, self.count), dtype="float32"),
            "count": keras.KerasTensor((batch,), dtype="int32"),
        }

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        names = ("count", "before_nms", "iou_threshold", "min_size", "offset", "differentiable")
        return super().get_config() | {name: getattr(self, name) for name in names}
