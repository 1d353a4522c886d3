"""Animations of a spatial transformer during training."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from keras_segattn.arguments import check_positive_integer
from keras_segattn.layers import SpatialTransformer
from keras_segattn.visualize.animation import save_animation
from keras_segattn.visualize.figure import format_of
from keras_segattn.visualize.transformations import transformer_panels

# Seconds for which the last frame stays, so that one can look at the result.
LAST = 2.0


class TransformerFrames(keras.callbacks.Callback):
    """Animates what a spatial transformer does to some pictures while the model trains.

    One frame is made before training, one after every `every` updates, and one at the end. A frame is
    `transformer_panels` of the pictures, titled with the class of the highest output if the model's output is a tensor
    `(batch, classes)` or a dict that holds one under `"logits"`. The whole file is written before training and after
    every epoch.

    Args:
        images: float `(n, height, width, 1 or 3)`, 0..1, as the model reads them.
        path: file to write: `.gif`, `.png` or `.apng`.
        layer: name of the model's `layers.SpatialTransformer`.
        every: number of updates from one frame to the next; `None` makes one frame per epoch.
        labels: true classes of the pictures; titles of wrong predictions show them too.
        seconds_per_frame: time of each frame, see `save_animation`; the last frame stays longer.
        columns: number of pairs in a row.
        margin: margin around each picture, see `sampled_grid`, the same for all frames.
        size: number of pixels of a picture's longer side, with the margin.

    Attributes:
        frames: RGB images of one size.

    Raises:
        ValueError: if the suffix is none of these or a shape is wrong; from `fit`, if the model has no such layer.
        FileNotFoundError: from `fit`, if the folder does not exist.

    Example:
        >>> film = TransformerFrames(images[:6], "learning.gif", every=20)
        >>> model.fit(batches, epochs=3, callbacks=[film])
    """

    def __init__(
        self,
        images: np.ndarray,
        path: str | os.PathLike[str],
        *,
        layer: str = "st",
        every: int | None = None,
        labels: Sequence[int] | np.ndarray | None = None,
        seconds_per_frame: float = 0.15,
        columns: int = 3,
        margin: float = 0.2,
        size: int = 128,
    ) -> None:
        super().__init__()
        format_of(path, ("GIF", "PNG"), "an animation's suffix, .gif, .png or .apng")
        self.images = np.asarray(images, "float32")
        if self.images.ndim != 4 or not len(self.images):
            raise ValueError(f"expected pictures (n, height, width, channels), received {self.images.shape}")
        if labels is not None and len(labels) != len(self.images):
            raise ValueError(f"expected a label for each of {len(self.images)} pictures, received {len(labels)}")
        if every is not None:
            check_positive_integer("every", every)
        self.path, self.layer, self.every, self.labels = path, layer, every, labels
        self.seconds_per_frame = seconds_per_frame
        self.columns, self.margin, self.size = columns, margin, size
        self.frames: list[Image.Image] = []
        self._updates = self._drawn = 0

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Find the transformer and write the first frame, so that an unwritable file is an error before training."""
        layer = self.model.get_layer(self.layer)
        if not isinstance(layer, SpatialTransformer) or layer.count is not None:
            raise ValueError(f"expected {self.layer!r} to be one SpatialTransformer, received {layer!r}")
        if len(self.model.inputs) != 1:
            raise ValueError(f"expected a model that reads pictures only, received {len(self.model.inputs)} inputs")
        theta = layer.input[1] if layer.localisation is None else layer.output[1]
        outputs = self.model.output
        scores = outputs.get("logits") if isinstance(outputs, dict) else outputs
        scores = scores if getattr(scores, "ndim", None) == 2 else None
        probes = {"theta": theta} | ({} if scores is None else {"scores": scores})
        self._transformer, self._probe = layer, keras.Model(self.model.inputs[0], probes)
        self.frames, self._updates = [], 0
        self._draw()
        self._write()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Make a frame after every `every` updates."""
        self._updates += 1
        if self.every is not None and self._updates % self.every == 0:
            self._draw()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Write the file, with a new frame if there is one per epoch."""
        if self.every is None:
            self._draw()
        self._write()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Write the file with a frame of the final transformer."""
        if self._drawn != self._updates:
            self._draw()
            self._write()

    def _draw(self) -> None:
        found = self._probe(self.images, training=False)
        layer, theta = self._transformer, found["theta"]
        rows, columns = layer.output_size or self.images.shape[1:3]
        grids = layer.grid(theta, (rows, columns))
        warped = layer.warp(ops.convert_to_tensor(self.images), theta)
        page = transformer_panels(
            self.images,
            ops.convert_to_numpy(grids),
            ops.convert_to_numpy(warped),
            self._titles(found.get("scores")),
            heading=f"update {self._updates}",
            offsets=ops.convert_to_numpy(theta) if layer.transform == "thin_plate_spline" else None,
            align_corners=layer.align_corners,
            columns=self.columns,
            margin=self.margin,
            size=self.size,
        )
        self.frames.append(page)
        self._drawn = self._updates

    def _titles(self, scores: Any) -> list[str] | None:
        if scores is None:
            return None
        found = ops.convert_to_numpy(ops.argmax(scores, axis=-1)).tolist()
        labels = found if self.labels is None else self.labels
        pairs = zip(found, labels, strict=True)
        return [f"read as {number}" + ("" if number == label else f", is {label}") for number, label in pairs]

    def _write(self) -> None:
        times = [self.seconds_per_frame] * (len(self.frames) - 1) + [max(LAST, self.seconds_per_frame)]
        save_animation(self.frames, self.path, times)
