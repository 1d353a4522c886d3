"""Model inputs from the paths, arrays and texts that users give, with one reader per kind of input."""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from keras_segattn.data.fitting import Frame, fitted, fitted_size
from keras_segattn.data.pictures import pixels_of, read_image
from keras_segattn.data.text import normalized
from keras_segattn.data.vocabulary import Vocabulary
from keras_segattn.fields import EOS, PAD, UNK, Boxes, Field, OneHot, Picture, PictureSize, Tokens, Vectors

Shape = tuple[int | None, ...]
Words = Mapping[str, Sequence[str]]


class Reading(NamedTuple):
    """An input of an example.

    Attributes:
        given: input of the user in a form that can be shown: a picture uint8 `(height, width, 3)`, tokens of a text, …
        array: input of the model, without the batch. A picture is uint8 and not normalised yet.
        frame: relation between a picture and the array; `None` for all other kinds.
    """

    given: Any
    array: np.ndarray
    frame: Frame | None = None


@singledispatch
def read(field: Field, shape: Shape, value: Any, vocabularies: Words) -> Reading:  # noqa: ARG001
    """Read a user's value as an input of a model.

    Args:
        field: kind of the input.
        shape: shape that the model takes, without the batch; `None` where a size is open.
        value: path of a picture, or the picture as an array or a `PIL.Image`; a text, its tokens or their ids;
            number of a class, or its vector; numbers or boxes as an array or the path of a `.npy` file.
        vocabularies: name → tokens, the special ones first.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the value has another type, or does not fit the model.

    Example:
        >>> read(Picture(size=(224, 224), fit="crop"), (None, None, 3), "photo.jpg", {}).array.shape
        (224, 224, 3)
    """
    raise ValueError(f"inputs of the kind {field.kind} are not given by users, received {_words(value)}")


@read.register
def _(field: Picture, shape: Shape, value: Any, vocabularies: Words) -> Reading:  # noqa: ARG001
    if field.channels == "other":
        array = _array("an array of pixels", value)
        _check_shape("an array of pixels", array, shape)
        return Reading(array, array)
    pixels = _pixels(value)
    image, frame = fitted(pixels, fitted_size(field, shape), field.fit)
    if shape[-1] == 1:
        image = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    return Reading(pixels, image, frame)


@read.register
def _(field: Tokens, shape: Shape, value: Any, vocabularies: Words) -> Reading:
    known = vocabularies.get(field.vocabulary)
    given = list(value) if isinstance(value, Sequence | np.ndarray) else []
    if isinstance(value, str):
        words = normalized(value, lower=field.lower).split()
        given = words if field.unit == "word" else list("".join(words))
    if not given:
        raise ValueError(f"expected a text, its tokens or their ids, received {_words(value)}")
    if all(isinstance(token, str) for token in given):
        if known is None:
            raise ValueError(
                f"the model holds no vocabulary {field.vocabulary!r}: load it with vocabularies=, or give the ids of "
                "the tokens"
            )
        ids = Vocabulary(known[UNK + 1 :]).encode(given)
    else:
        ids = _ids(given, field.size)
        ids = ids[:-1] if ids[-1] == EOS else ids
        given = [known[token] if known else str(token) for token in ids]
    end = known[EOS] if known else str(EOS)
    length = shape[0] or len(ids) + 1
    if len(ids) + 1 > length:
        raise ValueError(f"the model reads at most {length - 1} tokens, received {len(ids)}")
    array = np.full(length, PAD, np.int32)
    array[: len(ids) + 1] = [*ids, EOS]
    return Reading([*given, end], array)


@read.register
def _(field: OneHot, shape: Shape, value: Any, vocabularies: Words) -> Reading:  # noqa: ARG001
    classes = shape[-1] or field.classes
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if not 0 <= value < classes:
            raise ValueError(f"expected a class in 0..{classes - 1}, received {value}")
        return Reading(int(value), np.eye(classes, dtype=np.float32)[value])
    array = _array(f"a class in 0..{classes - 1} or its vector", value).astype(np.float32)
    _check_shape("the vector of a class", array, shape)
    return Reading(int(array.argmax()), array)


@read.register
def _(field: Vectors, shape: Shape, value: Any, vocabularies: Words) -> Reading:  # noqa: ARG001
    array = _array("numbers as an array or the path of a .npy file", _loaded(value)).astype(np.float32)
    _check_shape("numbers", array, shape)
    return Reading(array, array)


@read.register
def _(field: Boxes, shape: Shape, value: Any, vocabularies: Words) -> Reading:  # noqa: ARG001
    given = _array("boxes (x1, y1, x2, y2) as an array or the path of a .npy file", _loaded(value)).astype(np.float32)
    given = given.reshape(0, 4) if given.size == 0 else given
    if given.ndim != 2 or given.shape[-1] != 4 or (given[:, :2] > given[:, 2:]).any():
        raise ValueError(f"expected boxes (n, 4) with x1 <= x2 and y1 <= y2, received {_words(given)}")
    regions = len(given) if shape[0] is None else shape[0]
    if len(given) > regions:
        raise ValueError(f"the model takes at most {regions} boxes, received {len(given)}: give the best {regions}")
    array = np.zeros((regions, 4), np.float32)
    array[: len(given)] = given
    return Reading(given, array)


def boxes_on_image(boxes: np.ndarray, frame: Frame) -> np.ndarray:
    """Map boxes `(n, 4)` of a picture to the image that was made from it, float32.

    Raises:
        ValueError: if the picture was cropped.
    """
    if frame.fit == "crop":
        raise ValueError("boxes are in whole pictures: the picture's field must have fit='pad' or 'stretch'")
    return (boxes * np.tile(frame.factors[::-1], 2)).astype(np.float32)


@singledispatch
def computed(field: Field, shape: Shape, frames: Mapping[str, Frame]) -> np.ndarray:  # noqa: ARG001
    """Compute an input that a user does not give, without the batch: noise, or the size of a picture.

    Args:
        field: kind of the input.
        shape: shape that the model takes, without the batch.
        frames: name of a picture → its `Frame`, which tells how the picture was resized.
    """
    return field.draw((1, *(size or 1 for size in shape)))[0]


@computed.register
def _(field: PictureSize, shape: Shape, frames: Mapping[str, Frame]) -> np.ndarray:  # noqa: ARG001
    frame = frames[field.picture]
    return np.array([max(1, round(n * f)) for n, f in zip(frame.size, frame.factors, strict=True)], np.float32)


def _pixels(value: Any) -> np.ndarray:
    """Return a picture as uint8 `(height, width, 3)`."""
    if isinstance(value, str | PathLike):
        return read_image(Path(value))
    if isinstance(value, Image.Image):
        return pixels_of(value)
    pixels = np.asarray(value)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or not pixels.size:
        expected = "a picture, a path or an array uint8 (height, width, 1 or 3)"
        raise ValueError(f"expected {expected}, received {_words(value)}")
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()


def _loaded(value: Any) -> Any:
    """Return the array in a `.npy` file if `value` is a path, else `value`."""
    return np.load(value, allow_pickle=False) if isinstance(value, str | PathLike) else value


def _ids(given: Sequence[Any], size: int) -> list[int]:
    ids = np.asarray(given)
    if ids.dtype.kind not in "iu" or ids.ndim != 1 or ids.min() < 0 or ids.max() >= size:
        raise ValueError(f"expected ids of tokens in 0..{size - 1}, received {given!r}")
    return cast("list[int]", ids.tolist())


def _array(expected: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError(f"expected {expected}, received {_words(value)}")
    return array


def _check_shape(what: str, array: np.ndarray, shape: Shape) -> None:
    if array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        raise ValueError(f"expected {what} of shape {shape}, received {array.shape}")


def _words(value: Any) -> str:
    """Describe a value in few words, for messages."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 80 else text[:77] + '…'}"
