"""Base of the attentions that change the weights of another one."""

from typing import Any, Self

import keras

from keras_segattn.layers.attention_score import AttentionScore


class ChangedAttention(AttentionScore):
    """Base of attention layers that use the keys and scores of another one, and weigh them in their own way.

    Args:
        attention: attention layer whose keys and scores are used.
        **kwargs: arguments of `AttentionScore`.

    Raises:
        TypeError: if `attention` is no attention layer, or itself depends on the step before.
    """

    def __init__(self, attention: AttentionScore, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(attention, AttentionScore) or attention.needs_previous:
            raise TypeError(f"attention must be one that does not read the step before, received {attention!r}")
        self.attention = attention

    def build(
        self, query_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...], mask_shape: Any = None
    ) -> None:
        """Make the weights of the other attention."""
        super().build(query_shape, annotations_shape)
        if not self.attention.built:
            self.attention.build(query_shape, annotations_shape)
            self.attention.built = True

    def keys(self, annotations: Any) -> Any:
        """Compute the keys of the other attention."""
        return self.attention.keys(annotations)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"attention": keras.saving.serialize_keras_object(self.attention)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The layer with its attention."""
        return cls(**config | {"attention": keras.saving.deserialize_keras_object(config["attention"])})
