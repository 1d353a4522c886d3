"""Local attention (Luong, Pham & Manning, EMNLP 2015, arXiv 1508.04025)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.layers.attention_score import AttentionScore, Memory, Seen
from keras_segattn.layers.changed_attention import ChangedAttention

CENTRES = ("monotonic", "predictive")


@keras.saving.register_keras_serializable(package="keras_segattn")
class LocalAttention(ChangedAttention):
    """Restricts another attention to a window of the annotations (section 3.2, equations 9 and 10).

        local-m, monotonic:   p = t                         α = softmax over [p − D, p + D]
        local-p, predictive:  p = (S − 1)·σ(v·tanh(s·W))    α = softmax over [p − D, p + D] · exp(−(j − p)² / 2(D/2)²)

    Steps t and locations j count from 0; padding does not count, and S is the number of the other locations. Once a
    monotonic window has reached the last annotation, it stays there. As in the paper, predictive weights are not
    normalised again to add up to 1.

    Args:
        attention: attention layer whose scores are used.
        centre: `"monotonic"` or `"predictive"`.
        window: number D of locations on each side of the centre.
        kernel_initializer: initialiser of W and v.

    Call arguments and output are those of `AttentionScore`; outside of a loop, a monotonic attention is at step 0.

    Raises:
        TypeError, ValueError: if an argument is wrong, or `attention` itself depends on the step before.

    Example:
        >>> cell = AttentionGRUCell(256, LocalAttention(GeneralAttention(), "predictive"))
    """

    def __init__(
        self,
        attention: AttentionScore,
        centre: str = "predictive",
        window: int = 10,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(attention, **kwargs)
        check_choice("centre", centre, CENTRES)
        check_positive_integer("window", window)
        self.centre, self.window = centre, window
        self.needs_previous = centre == "monotonic"
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(
        self, query_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...], mask_shape: Any = None
    ) -> None:
        """Make the weights of the other attention, and those that predict the centre."""
        super().build(query_shape, annotations_shape)
        if self.centre == "predictive":
            size = query_shape[-1]
            self.centre_kernel = self.add_weight(
                name="centre_kernel", shape=(size, size), initializer=self.kernel_initializer
            )
            self.centre_score = self.add_weight(
                name="centre_score", shape=(size, 1), initializer=self.kernel_initializer
            )

    def weights_of(self, query: Any, memory: Memory, previous: Any) -> Any:
        """Compute the weights of the other attention within the window."""
        scores = self.attention.scores(query, memory.keys, None)
        precise = keras.backend.result_type(scores.dtype, "float32")  # half precision counts to a few hundred only
        there = ops.ones_like(scores, dtype=precise) if memory.mask is None else ops.cast(memory.mask, precise)
        last = ops.sum(there, axis=-1, keepdims=True) - 1
        if self.centre == "predictive":
            hidden = ops.tanh(ops.matmul(query, self.centre_kernel))
            centre = last * ops.sigmoid(ops.matmul(ops.cast(hidden, precise), self.centre_score))
        else:
            centre = last * 0 if previous is None else ops.minimum(previous, last)
        offsets = ops.cumsum(there, axis=-1) - 1 - centre  # padding at any place does not count
        within = ops.logical_and(ops.abs(offsets) <= self.window, there > 0)
        weights = self.attention.align(ops.cast(scores, precise), within)
        if self.centre == "predictive":
            weights = weights * ops.exp(-2 * ops.square(offsets / self.window))
        return ops.cast(weights, scores.dtype)

    def first(self, memory: Memory) -> Any:
        """Return the number of the first step, 0, at every location."""
        return ops.zeros_like(memory.annotations[..., 0], dtype="float32")

    def carried(self, seen: Seen, previous: Any) -> Any:
        """Return the number of the next step, at every location."""
        return previous + 1

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {
            "centre": self.centre,
            "window": self.window,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
