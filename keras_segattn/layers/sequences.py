"""Small things between the recurrent loops of sequence models."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_segattn")
class NotEqual(keras.layers.Layer):
    """Ids → where they are another than `token`, bool: with 0, the mask of what is no padding.

    Args:
        token: an id.

    Example:
        >>> NotEqual(0)(keras.ops.array([[5, 2, 0]]))
        <tf.Tensor: shape=(1, 3), dtype=bool, numpy=array([[ True,  True, False]])>
    """

    def __init__(self, token: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.token = token

    def call(self, inputs: Any) -> Any:
        """Compare."""
        return ops.not_equal(inputs, self.token)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """As many."""
        return keras.KerasTensor(inputs.shape, dtype="bool")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"token": self.token}


@keras.saving.register_keras_serializable(package="keras_segattn")
class ZeroWhereNot(keras.layers.Layer):
    """Vectors `(batch, T, size)`, zero where a mask `(batch, T)` is false.

    Example:
        >>> vectors = ZeroWhereNot()(vectors, mask)
    """

    def call(self, inputs: Any, mask: Any) -> Any:
        """Multiply."""
        return inputs * ops.cast(mask, inputs.dtype)[..., None]

    def compute_output_spec(self, inputs: Any, mask: Any) -> keras.KerasTensor:
        """As many."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


@keras.saving.register_keras_serializable(package="keras_segattn")
class Earlier(keras.layers.Layer):
    """A sequence one step late: `first` `(batch, size)`, then all steps `(batch, T, size)` but the last.

    Example:
        >>> before = Earlier()(states, first_state)
    """

    def call(self, inputs: Any, first: Any) -> Any:
        """Shift."""
        return ops.concatenate([first[:, None], inputs[:, :-1]], axis=1)

    def compute_output_spec(self, inputs: Any, first: Any) -> keras.KerasTensor:
        """As many steps."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


@keras.saving.register_keras_serializable(package="keras_segattn")
class Later(keras.layers.Layer):
    """A sequence one step early: all steps `(batch, T, size)` but the first, then zeros.

    Example:
        >>> following = Later()(words)
    """

    def call(self, inputs: Any) -> Any:
        """Shift."""
        return ops.concatenate([inputs[:, 1:], ops.zeros_like(inputs[:, :1])], axis=1)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """As many steps."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


@keras.saving.register_keras_serializable(package="keras_segattn")
class Reverse(keras.layers.Layer):
    """A sequence `(batch, T, size)` from its end to its start.

    Example:
        >>> annotations = Reverse()(backward_states)
    """

    def call(self, inputs: Any) -> Any:
        """Flip the steps."""
        return ops.flip(inputs, axis=1)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """As many steps."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)
