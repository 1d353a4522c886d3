"""Deep supervision: several layers of a segmentation model are trained as if each were its output."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_segattn.layers import CropToReference
from keras_segattn.metrics.scores import SegmentationScores


def supervised_model(model: keras.Model, names: Sequence[str], shape: Sequence[int | None]) -> keras.Model:
    """Make a model on the same layers whose output has the logits of several layers, one after the other.

    Args:
        model: functional model from images to logits `(batch, height, width, classes)`.
        names: names of layers with logits of the same classes, `(batch, h, w, classes)`, whose centre belongs to the
            output's pixels.
        shape: shape of a batch of images.

    Returns:
        Model from images to `(batch, height, width, (len(names) + 1) · classes)`; the model's own logits are the last.

    Raises:
        ValueError: if a layer is unknown, or its output does not have these classes or the output's pixels as centre.
    """
    known = {layer.name for layer in model.layers}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{model.name!r} has no layer {unknown[0]!r} to supervise")
    maps = []
    for name in names:
        found = model.get_layer(name).output
        size, wanted = (keras.Model(model.input, one).compute_output_shape(shape) for one in (found, model.output))
        if len(size) != 4 or size[-1] != wanted[-1]:
            raise ValueError(f"expected logits of {wanted[-1]} classes from layer {name!r}, received {size}")
        margins = {have - want for have, want in zip(size[1:3], wanted[1:3], strict=True)}
        margin = margins.pop()
        if margins or margin < 0 or margin % 2:
            raise ValueError(f"the output {wanted} is not the centre of the output of layer {name!r}, {size}")
        maps.append(CropToReference(margin // 2, name=f"centre_{name}")(found, model.output))
    return keras.Model(model.input, layers.Concatenate(name="supervised")([*maps, model.output]), name=model.name)


class SummedLoss(keras.losses.Loss):
    """The sum of a loss over several maps of logits.

    Args:
        loss: loss of one map.
        classes: number of classes.

    Call arguments:
        y_true: labels, as the loss takes them.
        y_pred: logits `(batch, height, width, maps · classes)`.

    Output:
        Scalar, float32.
    """

    def __init__(self, loss: keras.losses.Loss, classes: int) -> None:
        super().__init__(name=loss.name, reduction="sum")
        self.loss, self.classes = loss, classes

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Add up the losses of all maps."""
        maps = ops.split(y_pred, y_pred.shape[-1] // self.classes, axis=-1)
        return sum(self.loss(y_true, logits, sample_weight) for logits in maps)


class LastScores(SegmentationScores):
    """`SegmentationScores` of the last of several maps of logits `(batch, height, width, maps · classes)`."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count the pixels of a batch."""
        super().update_state(y_true, y_pred[..., -self.classes :], sample_weight)
