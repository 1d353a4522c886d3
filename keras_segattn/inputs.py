"""Inputs of builders: each is checked, and followed by a stamp that names the builder and the kind of input."""

from typing import Any

import keras

from keras_segattn import graph
from keras_segattn.arguments import check_positive_integer, is_integer
from keras_segattn.fields import EOS, Field, Noise, Picture, Tokens, field_from


@keras.saving.register_keras_serializable(package="keras_segattn")
class Stamp(keras.layers.Layer):
    """Identity layer without weights that carries the facts about an input: the builder's name and the kind of input.

    Attributes of a model and layer names do not survive every way in which models are stored, copied and cut; a layer
    behind the input does. The first stamp behind an input is the outermost builder's. If the backbone decides how
    pictures are normalised, that stamp has no field, and the next stamp, the backbone's, has it.

    Args:
        card: name of the builder.
        field: kind of the input; `None` where the backbone decides.

    Call arguments:
        x: tensor of any shape and dtype.

    Output:
        `x`.

    Example:
        >>> image = Stamp("FCN8s", Picture(), name="fcn8s_image")(keras.Input((None, None, 3), name="image"))
    """

    def __init__(self, card: str, field: Field | None = None, **kwargs: Any) -> None:
        super().__init__(**({"autocast": False} | kwargs))
        self.card, self.field = card, field

    def build(self, shape: Any) -> None:
        """Build nothing, as there are no weights."""

    def call(self, x: Any) -> Any:
        """Return the input unchanged."""
        return x

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        """Return the shape and dtype of the input, whatever the layer's precision."""
        return keras.KerasTensor(x.shape, x.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        field = None if self.field is None else self.field.describe()
        return super().get_config() | {"card": self.card, "field": field}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Stamp":
        """Rebuild the layer with its field."""
        field = config["field"]
        return cls(**config | {"field": None if field is None else field_from(field)})


def check_channels_last() -> None:
    """Raise `ValueError` if Keras' layers would take the channels of images as their first dimension."""
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "keras_segattn builds networks of images (batch, height, width, channels), but Keras' image_data_format is "
            f"{keras.config.image_data_format()!r}: call keras.config.set_image_data_format('channels_last') before"
        )


def stamped(x: Any, card: str, name: str, field: Field | None) -> Any:
    """Put the stamp of a builder behind an input.

    Args:
        x: symbolic tensor, a new input or one to build on.
        card: name of the builder.
        name: name of the input, such as `"image"`.
        field: kind of the input; `None` where the backbone decides.
    """
    return Stamp(card, field, name=f"{card.lower()}_{name}")(x)


def image_input(
    input_tensor: Any,
    input_shape: tuple[int | None, ...] | None,
    card: str,
    picture: Picture | None,
    *,
    default: tuple[int | None, int | None, int] = (None, None, 3),
    minimum: int = 1,
) -> Any:
    """Return the image that a builder starts from: a new input called `image`, or the tensor it was given.

    Args:
        input_tensor: symbolic tensor `(batch, height, width, channels)` to build on, or `None`.
        input_shape: `(height, width, channels)`; height and width may be `None`. `None` means `default`.
        card: name of the builder.
        picture: normalisation that the network expects; `None` where the backbone decides.
        default: shape used when neither `input_tensor` nor `input_shape` is given.
        minimum: smallest height and width that leave the network a feature map.

    Returns:
        The image behind its stamp.

    Raises:
        ValueError: if Keras is set to `channels_first`, both `input_tensor` and `input_shape` are given, the rank or
            channels are wrong, or the image is too small.
    """
    check_channels_last()
    if input_tensor is not None and input_shape is not None:
        raise ValueError("give input_tensor or input_shape, not both")
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            raise ValueError(
                f"input_tensor must be a symbolic Keras tensor, received {type(input_tensor).__name__}; "
                "call the built model on arrays instead"
            )
        shape = tuple(input_tensor.shape[1:])
    else:
        shape = tuple(default if input_shape is None else input_shape)
    if len(shape) != 3:
        raise ValueError(f"expected an image of (height, width, channels), received {shape}")
    for name, size, least in zip(("height", "width", "channels"), shape, (minimum, minimum, 1), strict=True):
        if size is None and name != "channels":
            continue
        if not is_integer(size) or size < least:
            raise ValueError(f"image {name} must be an integer of at least {least}, received {size!r} in {shape}")
    image = keras.Input(shape, name="image") if input_tensor is None else input_tensor
    return stamped(image, card, "image", picture and picture.of_channels(shape[-1]))


def check_vocabulary(argument: str, size: int) -> None:
    """Raise `ValueError` if `size` tokens are too few for a vocabulary."""
    check_positive_integer(argument, size)
    if size <= EOS:
        raise ValueError(f"{argument} must hold padding, begin and end of sentence, received {size} tokens")


def token_input(name: str, card: str, size: int, *, target: bool = False) -> Any:
    """Return a new input for a sentence of any length, as ids.

    Args:
        name: name of the input, and of its vocabulary.
        card: name of the builder.
        size: number of tokens in the vocabulary.
        target: whether this is the sentence that the model shall write.

    """
    return stamped(keras.Input((None,), dtype="int32", name=name), card, name, Tokens(name, size, target=target))


def noise_input(input_tensor: Any, shape: tuple[int, ...], card: str, noise: Noise) -> Any:
    """Return the noise that a generator starts from: a new input called `z`, or the tensor it was given.

    Args:
        input_tensor: symbolic tensor `(batch, *shape)` to build on, or `None`.
        shape: shape of the noise of one image.
        card: name of the builder.
        noise: kind of the input, which says the distribution.

    Raises:
        ValueError: if Keras is set to `channels_first`, or the tensor is not symbolic or has another shape.
    """
    check_channels_last()
    if input_tensor is None:
        return stamped(keras.Input(shape, name="z"), card, "z", noise)
    if not keras.backend.is_keras_tensor(input_tensor) or tuple(input_tensor.shape[1:]) != shape:
        expected = ", ".join(map(str, ("batch", *shape)))
        raise ValueError(f"input_tensor must be a symbolic Keras tensor of ({expected}), received {input_tensor}")
    return stamped(input_tensor, card, "z", noise)


def source_input(tensor: Any) -> Any:
    """Return the model input that `tensor` comes from, also if it was computed by layers of another model.

    Several inputs are returned as a list.
    """
    found = graph.sources(tensor)
    return found[0] if len(found) == 1 else found
