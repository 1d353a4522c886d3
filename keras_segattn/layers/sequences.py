"""Small layers that sequence models use between their recurrent loops."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import is_integer


@keras.saving.register_keras_serializable(package="keras_segattn")
class NotEqual(keras.layers.Layer):
    """Compares ids with a token: true where they differ. With token 0 this is the mask of everything but padding.

    Args:
        token: id to compare with.

    Raises:
        ValueError: if the token is no integer.

    Example:
        >>> NotEqual(0)(keras.ops.array([[5, 2, 0]]))
        <tf.Tensor: shape=(1, 3), dtype=bool, numpy=array([[ True,  True, False]])>
    """

    def __init__(self, token: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_integer(token):
            raise ValueError(f"token must be an id, received {token!r}")
        self.token = token

    def call(self, inputs: Any) -> Any:
        """Compare `inputs` with the token."""
        return ops.not_equal(inputs, self.token)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: one bool per id."""
        return keras.KerasTensor(inputs.shape, dtype="bool")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"token": self.token}


@keras.saving.register_keras_serializable(package="keras_segattn")
class ZeroWhereNot(keras.layers.Layer):
    """Sets vectors `(batch, T, size)` to zero where a mask `(batch, T)` is false.

    Keras' mask of the vectors passes through unchanged.

    Example:
        >>> vectors = ZeroWhereNot()(vectors, mask)
    """

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return the mask of the inputs."""
        return mask

    def call(self, inputs: Any, mask: Any) -> Any:
        """Multiply `inputs` by the mask."""
        return inputs * ops.cast(mask, inputs.dtype)[..., None]

    def compute_output_spec(self, inputs: Any, mask: Any) -> keras.KerasTensor:
        """Describe the output: shape and dtype of `inputs`."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


@keras.saving.register_keras_serializable(package="keras_segattn")
class MaskedSteps(keras.layers.Layer):
    """Attaches a mask `(batch, T)` to vectors `(batch, T, size)`, which pass unchanged; both are given in a list.

    Keras' metrics and losses then leave out the steps where the mask is false.

    Example:
        >>> logits = MaskedSteps()([logits, NotEqual(0)(target)])
    """

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return the given mask."""
        return inputs[1]

    def call(self, inputs: Any) -> Any:
        """Return the vectors."""
        return inputs[0]

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: shape and dtype of the vectors."""
        return keras.KerasTensor(inputs[0].shape, dtype=inputs[0].dtype)


@keras.saving.register_keras_serializable(package="keras_segattn")
class Earlier(keras.layers.Layer):
    """Gives at each step the step before it: `first` `(batch, size)`, then all of `(batch, T, size)` but the last step.

    Keras' mask of the steps passes through unchanged.

    Example:
        >>> before = Earlier()(states, first_state)
    """

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return the mask of the inputs."""
        return mask

    def call(self, inputs: Any, first: Any) -> Any:
        """Put `first` in front, and drop the last step."""
        return ops.concatenate([first[:, None], inputs[:, :-1]], axis=1)

    def compute_output_spec(self, inputs: Any, first: Any) -> keras.KerasTensor:
        """Describe the output: as many steps as the input has."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


@keras.saving.register_keras_serializable(package="keras_segattn")
class Later(keras.layers.Layer):
    """Gives at each step the step after it: all of `(batch, T, size)` but the first step, then zeros.

    Keras' mask of the steps passes through unchanged.

    Example:
        >>> following = Later()(words)
    """

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return the mask of the inputs."""
        return mask

    def call(self, inputs: Any) -> Any:
        """Drop the first step, and append zeros."""
        return ops.concatenate([inputs[:, 1:], ops.zeros_like(inputs[:, :1])], axis=1)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: as many steps as the input has."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


@keras.saving.register_keras_serializable(package="keras_segattn")
class Reverse(keras.layers.Layer):
    """Reverses the order of the steps of a sequence `(batch, T, size)`, and of Keras' mask of the steps.

    Example:
        >>> annotations = Reverse()(backward_states)
    """

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return the mask of the inputs in reverse order."""
        return None if mask is None else ops.flip(mask, axis=1)

    def call(self, inputs: Any) -> Any:
        """Reverse the steps of `inputs`."""
        return ops.flip(inputs, axis=1)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: as many steps as the input has."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)
