"""Monotonic attention (Raffel, Luong, Liu, Weiss & Eck, ICML 2017, arXiv 1704.00784)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_number
from keras_segattn.layers.attention_score import AttentionScore, Memory
from keras_segattn.layers.changed_attention import ChangedAttention


@keras.saving.register_keras_serializable(package="keras_segattn")
class MonotonicAttention(ChangedAttention):
    """Reads the annotations from left to right: at every step it stays where it is or moves on, and never back.

    From the location of the step before, it stops at each location j with the probability p = σ(score + r). The weights
    are the probabilities α of stopping at j (section 2.4, equations 8 to 12); they add up to less than 1 if it may run
    past the end.

        q(j) = (1 − p(j − 1))·q(j − 1) + α'(j)    α(j) = p(j)·q(j)    α' are the weights of the step before

    It replaces `tfa.seq2seq.BahdanauMonotonicAttention` and `LuongMonotonicAttention`. Its weights are those of their
    modes `"recursive"` and `"parallel"`, which are equal up to rounding, without a loop and without a quotient that may
    overflow; the work grows with the square of the number of locations.

    Args:
        attention: attention layer whose scores are used. Additive ones should have `normalize=True` (equation 16).
        hard: whether it stops at the first location whose score + r is positive (section 2.2), as the mode `"hard"`
            does. This has no gradient: train with `False`, and then build the model with `True`.
        score_bias: first value of the learned number r. The paper recommends a negative one, such as -4, for long
            inputs.
        noise: standard deviation of the noise that is added to the scores in training, so that p becomes 0 or 1.

    Call arguments and output are those of `AttentionScore`; outside of a loop, it is at the first location.

    Raises:
        TypeError, ValueError: if an argument is wrong, or `attention` itself depends on the step before.

    Example:
        >>> attention = MonotonicAttention(AdditiveAttention(256, normalize=True), score_bias=-4.0, noise=1.0)
        >>> cell = AttentionGRUCell(256, attention)
    """

    needs_previous = True

    def __init__(
        self,
        attention: AttentionScore,
        hard: bool = False,
        score_bias: float = 0.0,
        noise: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(attention, **kwargs)
        check_choice("hard", hard, (True, False))
        check_number("score_bias", score_bias, -float("inf"))
        check_number("noise", noise, 0)
        self.hard, self.first_bias, self.noise = hard, score_bias, noise
        self.added_noise = keras.layers.GaussianNoise(noise, dtype="float32", name="noise") if noise else None

    def build(
        self, query_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...], mask_shape: Any = None
    ) -> None:
        """Make the weights of the other attention, and r."""
        super().build(query_shape, annotations_shape)
        bias = keras.initializers.Constant(self.first_bias)
        self.score_bias = self.add_weight(name="score_bias", shape=(), initializer=bias)

    def weights_of(self, query: Any, memory: Memory, previous: Any) -> Any:
        """Compute the probabilities of stopping at each location."""
        scores = self.attention.scores(query, memory.keys, None)
        precise = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
        precise = precise + ops.cast(self.score_bias, precise.dtype)
        before = ops.cast(self.first(memory) if previous is None else previous, precise.dtype)
        there = ops.ones_like(precise) if memory.mask is None else ops.cast(memory.mask, precise.dtype)
        if self.added_noise is not None:
            precise = self.added_noise(precise)
        if self.hard:
            stops = ops.cast(precise > 0, precise.dtype) * there * ops.cumsum(before, axis=-1)
            weights = stops * ops.cast(ops.cumsum(stops, axis=-1) - stops < 0.5, precise.dtype)
        else:
            # Logarithm of the probability of passing each location, and of all locations before j.
            passes = ops.log_sigmoid(-precise) * there
            passed = ops.cumsum(passes, axis=-1) - passes
            place = ops.arange(ops.shape(precise)[1])
            ahead = place[:, None] >= place  # (j, k): the location k of the step before is not behind j
            between = ops.where(ahead, passed[:, :, None] - passed[:, None], 0.0)
            reached = ops.where(ahead, ops.exp(between), 0.0)
            weights = ops.sigmoid(precise) * there * ops.sum(reached * before[:, None], axis=-1)
        return ops.cast(weights, scores.dtype)

    def first(self, memory: Memory) -> Any:
        """Return the weights before the first step: 1 at the first location."""
        zeros = ops.zeros_like(memory.annotations[..., 0])
        return zeros + ops.cast(ops.arange(ops.shape(zeros)[1]) == 0, zeros.dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {
            "hard": self.hard,
            "score_bias": self.first_bias,
            "noise": self.noise,
        }
