"""MNC's inference: suppression within each class, and masks averaged over overlapping instances."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.layers.coordinates import CoordinateLayer
from keras_segattn.ops.boxes import box_iou
from keras_segattn.ops.nms import nms


@keras.saving.register_keras_serializable(package="keras_segattn")
class VoteMasks(CoordinateLayer):
    """Selects the best instances and averages the masks of all instances on the same object (Dai et al. 2016, 4.3).

    Within each class the best boxes are kept. The masks of all instances that overlap a kept one are averaged in the
    frame of the kept box, weighted by the instances' scores for its class; the paper calls this mask voting. (The
    released code averages the masks in the frame of the image and cuts the result to its extent.)

    Args:
        count: number of instances returned per image.
        score_threshold: instances with at most this probability are dropped.
        iou_threshold: largest IoU with a better kept instance of its class that a kept instance may have.
        voter_iou: smallest IoU with a kept instance at which another takes part in the average of its masks.
        voters: largest number of masks that are averaged for an instance, chosen by their scores; 1 leaves every mask
            as it is.
        offset: 1.0 for py-faster-rcnn's convention, in which a box of one pixel has x2 = x1.

    Call arguments:
        logits: class scores of R instances `(batch, R, classes)`, background first.
        boxes: `(batch, R, 4)` in pixels.
        masks: probabilities `(batch, R, m, m)` within the boxes.
        valid: `(batch, R)`, 0 for instances that do not count.
        box_logits: class scores of the whole boxes `(batch, R, classes)`, which do not influence the selection.
        refined: boxes after regression `(batch, R, 4)`, which do not influence the selection.

    Output:
        dict `boxes` float32 `(batch, count, 4)`, `scores` float32 `(batch, count)` in 0..1 in descending order,
        `classes` int32 `(batch, count)` from 1, `masks` float32 `(batch, count, m, m)` in 0..1, to be thresholded at
        0.4, `box_scores` float32 `(batch, count)`, the probability of the class according to the whole box,
        `refined_boxes` float32 `(batch, count, 4)`, and `count` int32 `(batch,)`, the number of instances of each
        image; all later entries are zero.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> found = VoteMasks(count=100)(logits, boxes, masks, valid, box_logits, refined)
    """

    def __init__(
        self,
        count: int = 100,
        score_threshold: float = 1e-3,
        iou_threshold: float = 0.3,
        voter_iou: float = 0.5,
        voters: int = 64,
        offset: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_integer("count", count)
        check_positive_integer("voters", voters)
        for name, value in (("iou_threshold", iou_threshold), ("voter_iou", voter_iou)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be within 0..1, received {value!r}")
        self.count, self.score_threshold, self.iou_threshold = count, score_threshold, iou_threshold
        self.voter_iou, self.voters, self.offset = voter_iou, voters, offset

    def call(self, logits: Any, boxes: Any, masks: Any, valid: Any, box_logits: Any, refined: Any) -> dict[str, Any]:
        """Suppress instances, then average the masks of those that overlap a kept one."""
        _, regions, classes = logits.shape
        objects = classes - 1
        if regions * objects == 0:
            return self.zeros(ops.shape(logits)[0], logits, boxes, masks, valid, box_logits, refined)
        logits, boxes, masks, box_logits, refined = (
            ops.cast(x, "float32") for x in (logits, boxes, masks, box_logits, refined)
        )
        scores = ops.softmax(logits, axis=-1)[..., 1:] * ops.cast(valid, "float32")[..., None]
        labels = ops.tile(ops.arange(1, classes, dtype="int32"), (regions,))
        flat = ops.reshape(scores, (-1, regions * objects))
        indices, count = nms(
            ops.repeat(boxes, objects, axis=1),
            flat,
            self.iou_threshold,
            self.count,
            classes=ops.broadcast_to(labels, ops.shape(flat)),
            score_threshold=self.score_threshold,
            offset=self.offset,
        )
        filled = ops.arange(self.count) < count[:, None]
        rows = indices // objects
        kept = ops.take_along_axis(boxes, rows[..., None], axis=1)
        found = ops.take(labels, indices)
        # For each kept instance: the scores of all instances for its class, where they overlap it.
        own = ops.take_along_axis(ops.swapaxes(scores, 1, 2), found[..., None] - 1, axis=1)
        agree = box_iou(kept, boxes, self.offset) >= self.voter_iou
        weights, voters = ops.top_k(ops.where(agree, own, 0.0), min(self.voters, regions))
        weights = weights / ops.maximum(ops.sum(weights, axis=-1, keepdims=True), 1e-9)
        voted = self._average(kept, boxes, masks, weights, voters)
        filled_float = ops.cast(filled, "float32")
        by_box = ops.reshape(ops.softmax(box_logits, axis=-1)[..., 1:], (-1, regions * objects))
        by_box = ops.take_along_axis(by_box, indices, axis=1)
        return {
            "boxes": kept * filled_float[..., None],
            "scores": ops.take_along_axis(flat, indices, axis=1) * filled_float,
            "classes": found * ops.cast(filled, "int32"),
            "masks": voted * filled_float[..., None, None],
            "box_scores": by_box * filled_float,
            "refined_boxes": ops.take_along_axis(refined, rows[..., None], axis=1) * filled_float[..., None],
            "count": count,
        }

    def _average(self, kept: Any, boxes: Any, masks: Any, weights: Any, voters: Any) -> Any:
        """Average the masks of the instances `voters` `(batch, D, V)`, read at the cells of the kept boxes."""
        size = masks.shape[-1]
        number, votes = voters.shape[1:]
        order = ops.reshape(voters, (-1, number * votes))
        theirs = ops.reshape(ops.take_along_axis(boxes, order[..., None], axis=1), (-1, number, votes, 4))
        flat = ops.reshape(masks, (-1, masks.shape[1], size * size))
        flat = ops.take_along_axis(flat, order[..., None], axis=1)
        flat = ops.reshape(flat, (-1, number, votes, size, size))
        mine = kept[:, :, None]
        down = self._resampling(mine[..., 1], mine[..., 3], theirs[..., 1], theirs[..., 3], size)
        across = self._resampling(mine[..., 0], mine[..., 2], theirs[..., 0], theirs[..., 2], size)
        read = ops.matmul(ops.matmul(down, flat), ops.swapaxes(across, -1, -2))
        return ops.sum(read * weights[..., None, None], axis=2)

    def _resampling(self, start: Any, end: Any, other_start: Any, other_end: Any, size: int) -> Any:
        """Return weights `(…, size, size)` of another box's cells in the cells of this box; 0 outside of the other."""
        centre = (np.arange(size, dtype="float32") + 0.5) / size
        place = start[..., None] + centre * (end - start + self.offset)[..., None]
        extent = ops.maximum(other_end - other_start + self.offset, 1e-6)
        position = (place - other_start[..., None]) / extent[..., None]
        inside = ops.cast(ops.logical_and(position >= 0, position <= 1), "float32")
        position = ops.clip(position * size - 0.5, 0.0, size - 1.0)
        hats = ops.maximum(1.0 - ops.abs(position[..., None] - np.arange(size, dtype="float32")), 0.0)
        return hats * inside[..., None]

    def compute_output_spec(
        self, logits: Any, boxes: Any, masks: Any, valid: Any, box_logits: Any, refined: Any
    ) -> dict[str, keras.KerasTensor]:
        """Describe the output: a fixed number of instances per image."""
        batch = boxes.shape[0]
        return {
            "boxes": keras.KerasTensor((batch, self.count, 4), dtype="float32"),
            "scores": keras.KerasTensor((batch, self.count), dtype="float32"),
            "classes": keras.KerasTensor((batch, self.count), dtype="int32"),
            "masks": keras.KerasTensor((batch, self.count, *masks.shape[2:]), dtype="float32"),
            "box_scores": keras.KerasTensor((batch, self.count), dtype="float32"),
            "refined_boxes": keras.KerasTensor((batch, self.count, 4), dtype="float32"),
            "count": keras.KerasTensor((batch,), dtype="int32"),
        }

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        names = ("count", "score_threshold", "iou_threshold", "voter_iou", "voters", "offset")
        return super().get_config() | {name: getattr(self, name) for name in names}
