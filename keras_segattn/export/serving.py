"""What a server offers of an image model: pixels in, or the bytes of JPEG and PNG files in."""

from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from keras_segattn.export.archive import Endpoint, model_endpoint
from keras_segattn.facts import preprocessing_of
from keras_segattn.fields import Picture

SIGNATURES = ("serving_default", "encoded")
# Where neither the model nor the caller fixes a size: what the model is tried and warmed up with.
USUAL_SIZE = (224, 224)


@dataclass(frozen=True)
class ServedModel:
    """A float32 model with what its signatures need to know.

    Args:
        model: the network.
        preprocessing: what is applied to RGB pixels in the graph; `None` leaves them alone.
        raw_pixels: whether `serving_default` takes uint8 RGB images; otherwise the network's own inputs.
        size: height and width of an image, `None` where any will do.
    """

    model: keras.Model
    preprocessing: Picture | None
    raw_pixels: bool
    size: tuple[int | None, int | None]

    @property
    def usual_size(self) -> tuple[int, int]:
        """A height and width that the model takes."""
        published = (self.preprocessing and self.preprocessing.size) or USUAL_SIZE
        return self.size[0] or published[0], self.size[1] or published[1]


def served_model(
    model: keras.Model,
    preprocess: Literal["in_graph"] | Picture | None,
    input_size: tuple[int, int] | None,
    *,
    images: bool,
) -> ServedModel:
    """Check what is asked of a model.

    Args:
        model: the network, in float32.
        preprocess: as in `export.saved_model`.
        input_size: likewise.
        images: whether a signature needs the model to take one image.

    Raises:
        ValueError: if the model takes no image where one is needed, its preprocessing is unknown, or `input_size` is
            malformed or contradicts the model.
    """
    shape = tuple(model.inputs[0].shape)
    is_image = len(model.inputs) == 1 and len(shape) == 4 and shape[-1] in (1, 3)
    if not is_image and (images or preprocess is not None or input_size is not None):
        raise ValueError(
            f"preprocessing, input_size and the signature 'encoded' need a model of one image (batch, height, width, "
            f"1 or 3), {model.name!r} has inputs {[tuple(tensor.shape) for tensor in model.inputs]}; "
            "give preprocess=None and signatures=('serving_default',)"
        )
    if preprocess == "in_graph":
        preprocessing: Picture | None = preprocessing_of(model)
    elif preprocess is None or isinstance(preprocess, Picture):
        preprocessing = preprocess
    else:
        raise ValueError(f"preprocess must be 'in_graph', a Picture or None, received {preprocess!r}")
    if preprocessing is not None and len(preprocessing.mean) != shape[-1]:
        raise ValueError(f"preprocessing of {len(preprocessing.mean)} channels does not fit the model's {shape}")
    size: tuple[int | None, int | None] = (shape[1], shape[2]) if is_image else (None, None)
    if input_size is not None:
        given = tuple(input_size)
        positive = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in given)
        if len(given) != 2 or not positive or any(a not in (None, b) for a, b in zip(size, given, strict=True)):
            raise ValueError(f"input_size must be (height, width) and fit the model's {shape}, received {input_size}")
        size = (given[0], given[1])
    return ServedModel(model, preprocessing, preprocess is not None, size)


def serving_endpoints(served: ServedModel, signatures: tuple[str, ...]) -> dict[str, Endpoint]:
    """The endpoints of the named signatures, all calling one traced network."""
    import tensorflow as tf

    if "encoded" not in signatures and not served.raw_pixels:
        shapes = {tensor.name: tuple(tensor.shape) for tensor in served.model.inputs}
        if any(served.size):
            shapes = {name: (None, *served.size, shape[-1]) for name, shape in shapes.items()}
        return {"serving_default": model_endpoint(served.model, shapes)}

    (tensor,) = served.model.inputs
    name, shape = tensor.name, (None, *served.size, tensor.shape[-1])
    network = model_endpoint(served.model, {name: shape})
    # One trace that both signatures call, so that the graph is stored once, as the weights are.
    traced = tf.function(network.function, input_signature=[dict(network.inputs)], autograph=False)

    def normalise(pixels: Any) -> Any:
        return tf.cast(pixels, "float32") if served.preprocessing is None else served.preprocessing(pixels)

    def from_pixels(inputs: dict[str, Any]) -> dict[str, Any]:
        return traced({name: normalise(inputs[name])})

    def from_files(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = traced({name: normalise(decode(inputs["image_bytes"], served.size, shape[-1]))})
        if not labels_every_pixel(served):
            return outputs
        (scores,) = outputs.values()
        classes = tf.argmax(scores, axis=-1, output_type="int32")
        return {"mask": tf.cast(classes, "uint8") if scores.shape[-1] <= 256 else classes}

    pixels = Endpoint(from_pixels, {name: tf.TensorSpec(shape, "uint8", name)}) if served.raw_pixels else network
    files = Endpoint(from_files, {"image_bytes": tf.TensorSpec((None,), "string", "image_bytes")})
    endpoints = {"serving_default": pixels, "encoded": files}
    return {signature: endpoints[signature] for signature in signatures}


def decode(files: Any, size: tuple[int | None, int | None], channels: int) -> Any:
    """Decode a batch of images, and resize them where a size is fixed.

    Args:
        files: string tensor `(batch,)`, each the bytes of a JPEG, PNG, GIF (its first frame) or BMP file.
        size: height and width to resize to, bilinearly. `None`s keep those of the files, which must then be equal.
        channels: 1 or 3; an alpha channel is dropped.

    Returns:
        Pixels 0..255, `(batch, height, width, channels)`: uint8, or float32 where they are resized.
    """
    import tensorflow as tf

    def one(file: Any) -> Any:
        pixels = tf.io.decode_image(file, channels=channels, expand_animations=False)
        pixels = tf.ensure_shape(pixels, (None, None, channels))
        return pixels if size == (None, None) else tf.image.resize(pixels, resized(pixels), method="bilinear")

    def resized(pixels: Any) -> tuple[Any, Any]:
        height, width = size
        return height or tf.shape(pixels)[0], width or tf.shape(pixels)[1]

    dtype = "uint8" if size == (None, None) else "float32"
    return tf.map_fn(one, files, fn_output_signature=tf.TensorSpec((*size, channels), dtype))


def labels_every_pixel(served: ServedModel) -> bool:
    """Whether the model's one output is class scores at the size of the image."""
    (tensor,) = served.model.inputs
    if isinstance(served.model.output, dict) or len(served.model.output.shape) != 4:
        return False
    size = served.usual_size
    shape = served.model.compute_output_shape((1, *size, tensor.shape[-1]))
    return tuple(shape[1:3]) == size and shape[-1] > 1


def picture(batch: int, size: tuple[int, int], channels: int, seed: int) -> np.ndarray:
    """Coloured blobs, uint8 `(batch, *size, channels)`: something with edges and areas, as photographs have."""
    coarse = np.random.default_rng(seed).integers(0, 256, (batch, -(-size[0] // 8), -(-size[1] // 8), channels))
    return coarse.repeat(8, axis=1).repeat(8, axis=2)[:, : size[0], : size[1]].astype("uint8")


def png_files(images: np.ndarray) -> np.ndarray:
    """The bytes of uint8 images `(batch, height, width, channels)` as PNG files, `(batch,)`."""
    import tensorflow as tf

    return np.array([tf.io.encode_png(image).numpy() for image in images], dtype=object)
