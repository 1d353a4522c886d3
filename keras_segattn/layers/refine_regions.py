"""A layer that moves each region to the box of its most probable class."""

from typing import Any

import keras
from keras import ops

from keras_segattn.layers.coordinates import CoordinateLayer
from keras_segattn.ops.boxes import clip_boxes, decode_boxes


@keras.saving.register_keras_serializable(package="keras_segattn")
class RefineRegions(CoordinateLayer):
    """Refines regions between two stages of a cascade (Dai et al. 2016, section 4), differentiable in boxes and deltas.

    Args:
        foreground_only: whether the background's box is never chosen; in the released code this holds in training only.
        box_weights: factors by which the refinements of (x, y, width, height) are divided.
        offset: 1.0 for py-faster-rcnn's convention, in which a box of one pixel has x2 = x1.

    Call arguments:
        boxes: `(batch, R, 4)` in pixels.
        deltas: `(batch, R, 4·classes)`.
        logits: class scores `(batch, R, classes)`, background first.
        image_sizes: `(batch, 2)`, height and width of the images, to which boxes are clipped.

    Output:
        float32 `(batch, R, 4)`.

    Example:
        >>> boxes = RefineRegions()(boxes, deltas, logits, image_sizes)
    """

    def __init__(
        self,
        foreground_only: bool = False,
        box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
        offset: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.foreground_only, self.box_weights, self.offset = foreground_only, tuple(box_weights), offset

    def call(self, boxes: Any, deltas: Any, logits: Any, image_sizes: Any) -> Any:
        """Decode the box of each region's best class, and clip it."""
        classes = logits.shape[-1]
        if boxes.shape[1] == 0:
            return self.zeros(ops.shape(boxes)[0], boxes, deltas, logits, image_sizes)
        deltas = ops.reshape(ops.cast(deltas, "float32"), (-1, boxes.shape[1], classes, 4))
        if self.foreground_only:
            logits, deltas = logits[..., 1:], deltas[:, :, 1:]
        best = ops.top_k(ops.stop_gradient(logits), 1)[1]
        chosen = ops.one_hot(best[..., 0], logits.shape[-1], dtype=deltas.dtype)
        deltas = ops.sum(deltas * chosen[..., None], axis=2)
        return clip_boxes(decode_boxes(deltas, boxes, self.box_weights, offset=self.offset), image_sizes, self.offset)

    def compute_output_spec(self, boxes: Any, deltas: Any, logits: Any, image_sizes: Any) -> keras.KerasTensor:
        """Describe the output: as many boxes as there are regions."""
        return keras.KerasTensor(boxes.shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        names = ("foreground_only", "box_weights", "offset")
        return super().get_config() | {name: getattr(self, name) for name in names}
