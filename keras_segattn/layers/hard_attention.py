"""Hard attention: one location per step, drawn with noise that is an input of the model."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice
from keras_segattn.layers.attention_score import AttentionScore, Memory, Seen

# The smallest number whose logarithm is taken, and the greatest float32 below 1, which keep the noise finite.
LEAST, GREATEST = 1e-20, 1 - 2**-24
# Rank of padding, below all others.
NEVER = -1e9


@keras.saving.register_keras_serializable(package="keras_segattn")
class HardAttention(AttentionScore):
    """Attends to one location, drawn with the weights of another attention (Xu et al. 2015, section 4.1).

    Without noise it equals the other attention: the context is the expected value over all draws, as in the released
    code at test time. No gradient flows through a draw; `training.HardAttentionTrainer` estimates it.

    Args:
        attention: attention layer whose weights are the probabilities of the locations.
        most_probable: whether to take the location of largest weight instead of drawing one.

    Call arguments and output are those of `AttentionScore`. In a loop, the noise is a call argument of `AttentionRNN`;
    the same noise gives the same locations in every runtime.

    Raises:
        TypeError, ValueError: if an argument is wrong.

    Example:
        >>> rnn = AttentionRNN(AttentionLSTMCell(1800, HardAttention(AdditiveAttention(512))))
        >>> found = rnn(words, annotations, noise=noise, drawn=coin)
    """

    def __init__(self, attention: AttentionScore, most_probable: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(attention, AttentionScore):
            raise TypeError(f"attention must be one of keras_segattn.layers' attentions, received {attention!r}")
        check_choice("most_probable", most_probable, (True, False))
        self.attention, self.most_probable = attention, most_probable
        self.needs_previous = attention.needs_previous

    def build(
        self, query_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...], mask_shape: Any = None
    ) -> None:
        """Make the other attention's weights."""
        if not self.attention.built:
            self.attention.build(query_shape, annotations_shape)
            self.attention.built = True

    def keys(self, annotations: Any) -> Any:
        """Compute the keys of the other attention."""
        return self.attention.keys(annotations)

    def weights_of(self, query: Any, memory: Memory, previous: Any) -> Any:
        """Compute the weights of the other attention."""
        return self.attention.weights_of(query, memory, previous)

    def choose(self, weights: Any, memory: Memory, noise: Any) -> Any:
        """Return 1 where log-probability plus Gumbel noise is largest, else 0; without noise return the weights.

        Where all weights are 0, nothing is chosen.
        """
        if (not self.most_probable and noise is None) or weights.shape[-1] == 0:
            return weights
        # Half precision would round noise to 1, which draws a location whatever its weight is.
        precise = keras.backend.result_type(weights.dtype, "float32")
        possible = weights > 0
        ranks = ops.log(ops.maximum(ops.cast(weights, precise), LEAST))
        if not self.most_probable:
            ranks = ranks - ops.log(-ops.log(ops.clip(ops.cast(noise, precise), LEAST, GREATEST)))
        location = ops.top_k(ops.where(possible, ranks, NEVER), 1)[1][:, 0]
        largest = ops.equal(ops.arange(ops.shape(ranks)[1]), location[:, None])
        single = ops.cast(ops.logical_and(largest, possible), weights.dtype)
        if memory.drawn is None:
            return single
        return ops.where(ops.cast(memory.drawn, "bool")[:, None], single, weights)

    def first(self, memory: Memory) -> Any:
        """Return what the first step of the other attention receives."""
        return self.attention.first(memory)

    def carried(self, seen: Seen, previous: Any) -> Any:
        """Return what the other attention carries to the next step."""
        return self.attention.carried(seen, previous)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        attention = keras.saving.serialize_keras_object(self.attention)
        return super().get_config() | {"attention": attention, "most_probable": self.most_probable}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HardAttention":
        """Rebuild the layer with its attention."""
        return cls(**config | {"attention": keras.saving.deserialize_keras_object(config["attention"])})
