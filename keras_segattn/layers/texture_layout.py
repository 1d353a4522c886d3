"""Texture-layout features of a texton map, and the boosted decision stumps that score classes by them."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.layers.coordinates import AtLeastFloat32
from keras_segattn.ops.integral_images import integral_images, surrounding_boxes
from keras_segattn.ops.loop_sums import loop_sum

# Number of stumps whose features of all pixels are in memory at a time: more are slower, as they leave the caches.
CHUNK = 8
AREAS = ("clipped", "whole")


@keras.saving.register_keras_serializable(package="keras_segattn")
class TextureLayout(AtLeastFloat32, keras.layers.Layer):
    """Scores classes by boosted stumps on texture-layout features (Shotton et al., IJCV 2009, sections 3.2 and 3.3).

    The feature of a stump at a pixel is the share of its rectangle, placed relative to the pixel, that its texton
    covers. The stump gives every class `c` of its sharing set `a [feature > threshold] + b`, and every other class the
    constant `k_c`. Scores are sums over all stumps.

    All parts of the stumps are weights: `rectangles` int32 `(stumps, 4)` (first row, first column, last row + 1 and
    last column + 1, relative to the pixel), `textons` int32 `(stumps,)`, `thresholds` `(stumps,)`, `sharing` of 0 and 1
    `(stumps, classes)`, and trainable `a` and `b` `(stumps,)` and `k` `(stumps, classes)`; scores have gradients with
    respect to these three only. Initially stump `m` asks whether the pixel itself is of texton `m` modulo `textons`.

    A feature exceeds the threshold if the count of pixels exceeds threshold × area in float32, so that learning in
    NumPy decides alike. An empty rectangle exceeds no threshold of at least 0.

    Args:
        classes: number of classes.
        stumps: number of stumps.
        textons: number of textons.
        area: area by which counts are divided: `"clipped"` counts only pixels of the picture, `"whole"` all pixels of
            the rectangle.

    Call arguments:
        inputs: texton map, int32 `(batch, height, width)` in `0..textons - 1`.

    Output:
        Scores `(batch, height, width, classes)`, in float32 at least.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> TextureLayout(classes=11, stumps=1000, textons=400)(texton_map).shape
        TensorShape([2, 180, 240, 11])
    """

    def __init__(self, classes: int, stumps: int, textons: int, area: str = "clipped", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("classes", classes), ("stumps", stumps), ("textons", textons)):
            check_positive_integer(name, value)
        check_choice("area", area, AREAS)
        self.classes, self.stumps, self.textons, self.area = classes, stumps, textons, area

    def build(self, _: Any) -> None:
        """Make the stumps."""
        of_stumps, of_classes = (self.stumps,), (self.stumps, self.classes)

        def fixed(name: str, shape: tuple[int, ...], initializer: Any, dtype: str | None = None) -> Any:
            return self.add_weight(name=name, shape=shape, initializer=initializer, dtype=dtype, trainable=False)

        def learned(name: str, shape: tuple[int, ...]) -> Any:
            return self.add_weight(name=name, shape=shape, initializer=keras.initializers.RandomNormal(stddev=0.05))

        self.rectangles = fixed("rectangles", (self.stumps, 4), _own_pixel, "int32")
        self.texton = fixed("textons", of_stumps, self._in_turn, "int32")
        self.thresholds = fixed("thresholds", of_stumps, "zeros")
        self.sharing = fixed("sharing", of_classes, "ones")
        self.a, self.b, self.k = learned("a", of_stumps), learned("b", of_stumps), learned("k", of_classes)

    def _in_turn(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Return the textons 0, 1, 2 … in turn."""
        return ops.cast(ops.mod(ops.arange(shape[0], dtype="int32"), self.textons), dtype)

    def call(self, inputs: Any) -> Any:
        """Sum the stumps, a chunk at a time."""
        dtype = self.compute_dtype
        integrals = integral_images(inputs, self.textons, dtype)
        batch, height, width = ops.shape(inputs)
        sharing, k = (ops.cast(weight, dtype) for weight in (self.sharing, self.k))
        a = sharing * ops.cast(self.a, dtype)[:, None]
        constant = ops.sum(sharing * ops.cast(self.b, dtype)[:, None] + (1 - sharing) * k, axis=0)
        thresholds = ops.cast(self.thresholds, dtype)
        size = min(CHUNK, self.stumps)
        # Stumps are padded to whole chunks by others that add nothing.
        more = -self.stumps % size
        a = ops.transpose(ops.pad(a, [(0, more), (0, 0)]))
        rectangles = ops.pad(ops.convert_to_tensor(self.rectangles), [(0, more), (0, 0)])
        textons, thresholds = (ops.pad(x, [(0, more)]) for x in (ops.convert_to_tensor(self.texton), thresholds))

        def chunk(step: Any) -> Any:
            first = step * size
            boxes = ops.slice(rectangles, (first, 0), (size, 4))
            counts, areas = surrounding_boxes(integrals, ops.slice(textons, (first,), (size,)), boxes)
            if self.area == "whole":
                sides = ops.maximum(boxes[:, 2:] - boxes[:, :2], 0)
                areas = ops.cast(sides[:, 0] * sides[:, 1], dtype)[:, None, None]
            least = ops.slice(thresholds, (first,), (size,))[:, None, None] * areas
            exceeds = ops.reshape(ops.cast(counts > least, dtype), (batch, size, width * height))
            return ops.matmul(ops.slice(a, (0, first), (self.classes, size)), exceeds)

        scores = loop_sum(chunk, (self.stumps + more) // size)
        scores = ops.transpose(ops.reshape(scores, (batch, self.classes, width, height)), (0, 3, 2, 1))
        return scores + constant

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the scores."""
        return keras.KerasTensor((*inputs.shape, self.classes), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        settings = {"classes": self.classes, "stumps": self.stumps, "textons": self.textons, "area": self.area}
        return super().get_config() | settings


def _own_pixel(shape: tuple[int, ...], dtype: str) -> Any:
    """Return rectangles that hold the pixel itself."""
    return ops.broadcast_to(ops.convert_to_tensor([0, 0, 1, 1], dtype), shape)
