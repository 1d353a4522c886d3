"""The signatures of a served model: its endpoints with pixels as input, and those that take picture files or texts."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from keras_segattn.endpoints import Endpoint, Spec
from keras_segattn.export.archive import tensor_specs
from keras_segattn.export.preparation import Prepared, usual_sizes
from keras_segattn.export.serving.pictures import decoded
from keras_segattn.export.serving.texts import TEXT, from_texts, reads_texts, with_sentences
from keras_segattn.fields import Picture, PictureSize
from keras_segattn.tasks import task_of

DEFAULT, ENCODED, FILES = "serving_default", "encoded", "image_bytes"


def served_endpoints(prepared: Prepared, endpoints: Mapping[str, Endpoint], *, preprocess: bool) -> dict[str, Endpoint]:
    """Return the signatures that a server offers.

    Args:
        prepared: prepared model.
        endpoints: endpoints of the given or of the folded model, `prepared.endpoints` or `prepared.written`.
        preprocess: whether pictures are taken as uint8 pixels, and normalised in the graph. If so, and if the only
            given input of the default endpoint is a picture, a signature `encoded` takes that picture as a file. If
            all its inputs are sentences whose vocabularies are known, a signature `text` takes texts.

    Returns:
        Signature → endpoint; `serving_default` is the first of `endpoints`.
    """
    found: dict[str, Endpoint] = {}
    wrapped: dict[int, Endpoint] = {}
    first, *_ = endpoints
    picture = only_picture(prepared, endpoints[first]) if preprocess else None
    texts = preprocess and reads_texts(prepared, endpoints[first])
    for name, endpoint in endpoints.items():
        if id(endpoint) not in wrapped:
            shared = traced(endpoint) if name == first and (picture or texts) else endpoint
            wrapped[id(endpoint)] = from_pixels(prepared, shared) if preprocess else endpoint
            if picture and name == first:
                found[ENCODED] = from_files(prepared, shared, picture)
            if texts and name == first:
                found[TEXT] = from_texts(prepared, shared)
        found[name] = wrapped[id(endpoint)]
    return {DEFAULT: found[first]} | {name: found[name] for name in (*endpoints, ENCODED, TEXT) if name in found}


def only_picture(prepared: Prepared, endpoint: Endpoint) -> str | None:
    """Return the name of the picture of 1 or 3 channels that all inputs of an endpoint follow from, else `None`."""
    kinds = {name: prepared.kind(name, spec) for name, spec in endpoint.inputs.items()}
    pictures = [name for name, kind in kinds.items() if isinstance(kind, Picture)]
    if len(pictures) != 1 or endpoint.inputs[pictures[0]].shape[-1] not in (1, 3):
        return None
    others = (kind for name, kind in kinds.items() if name != pictures[0])
    known = all(isinstance(kind, PictureSize) and kind.picture == pictures[0] for kind in others)
    return pictures[0] if known else None


def traced(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint as one traced function: several signatures can call it, and its graph is stored once."""
    import tensorflow as tf

    return Endpoint(tf.function(endpoint.function, [tensor_specs(endpoint)], autograph=False), endpoint.inputs)


def from_pixels(prepared: Prepared, endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with uint8 pixels as input for its pictures; they are normalised in the graph."""
    pictures = {
        name: kind for name, spec in endpoint.inputs.items() if isinstance(kind := prepared.kind(name, spec), Picture)
    }
    if not pictures:
        return endpoint

    def call(inputs: dict[str, Any]) -> dict[str, Any]:
        return endpoint.function(dict(inputs) | {name: kind(inputs[name]) for name, kind in pictures.items()})

    pixels = {name: spec._replace(dtype="uint8") for name, spec in endpoint.inputs.items() if name in pictures}
    return Endpoint(call, dict(endpoint.inputs) | pixels, endpoint.follows)


def from_files(prepared: Prepared, endpoint: Endpoint, picture: str) -> Endpoint:
    """Return the endpoint with files as input for its picture.

    Class scores of every pixel become a mask, and positions are in pixels of the picture in the file. Sentences are
    also written as texts.
    """
    import tensorflow as tf

    spec = endpoint.inputs[picture]
    kind = cast("Picture", prepared.kind(picture, spec))
    masks = labels_every_pixel(prepared, picture, spec)
    positions = () if prepared.facts.task is None else task_of(prepared.facts.task).positions

    def call(inputs: dict[str, Any]) -> dict[str, Any]:
        images, factors, sizes = decoded(inputs[FILES], kind, spec.shape[1:])
        given = {name: kind.prepare(images) if name == picture else sizes for name in endpoint.inputs}
        outputs = with_sentences(prepared.facts, endpoint.function(given))
        if masks:
            (scores,) = outputs.values()
            classes = tf.argmax(scores, axis=-1, output_type="int32")
            return {"mask": tf.cast(classes, "uint8") if scores.shape[-1] <= 256 else classes}
        corners = tf.tile(tf.reverse(factors, [-1]), [1, 2])[:, None]  # (x1, y1, x2, y2)
        return outputs | {name: outputs[name] / corners for name in positions if name in outputs}

    return Endpoint(call, {FILES: Spec((None,), "string")})


def labels_every_pixel(prepared: Prepared, picture: str, spec: Spec) -> bool:
    """Return whether the model's only output holds class scores of every pixel, in the size of the picture."""
    model = prepared.model
    if prepared.facts.task is None or not task_of(prepared.facts.task).every_pixel or isinstance(model.output, dict):
        return False
    size = usual_sizes(prepared.kind(picture, spec), spec.shape[1:], smaller=False)
    shape = model.compute_output_shape((1, *size))
    return len(shape) == 4 and tuple(shape[1:3]) == size[:2] and shape[-1] > 1


def png_files(images: np.ndarray) -> np.ndarray:
    """Encode uint8 images `(batch, height, width, channels)` as PNG files, an array `(batch,)` of `bytes`."""
    import tensorflow as tf

    return np.array([tf.io.encode_png(image).numpy() for image in images], dtype=object)
