"""Pictures resized to the size that a network takes, and predictions mapped back to the pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from PIL import Image

from keras_segattn.data.augmentation import check_size
from keras_segattn.data.crops import central_crop
from keras_segattn.fields import Picture
from keras_segattn.ops.masks import paste_masks

# A pixel belongs to the object if its probability exceeds this.
MASK_THRESHOLD = 0.5
# Side of the square that a picture is padded to if the model has no fixed size.
USUAL_SIDE = 512


class Frame(NamedTuple):
    """The relation between a picture and the image, made from it, that a network takes.

    Attributes:
        size: (height, width) of the picture.
        fit: `"stretch"`, `"crop"` or `"pad"`, see `fields.Picture`.
        factors: factors by which the picture was resized, (vertical, horizontal).
    """

    size: tuple[int, int]
    fit: str
    factors: tuple[float, float]


def fitted_size(kind: Picture, shape: Sequence[int | None]) -> tuple[int | None, int | None]:
    """Return the (height, width) to which pictures are fitted for a network; `None` where they keep their own.

    Args:
        kind: kind of the input, whose usual size replaces an open one.
        shape: (height, width, channels) that the network takes; `None` where a size is open.
    """
    usual = kind.size or ((USUAL_SIDE, USUAL_SIDE) if kind.fit == "pad" else (None, None))
    return shape[0] or usual[0], shape[1] or usual[1]


def fitted(pixels: np.ndarray, size: tuple[int | None, int | None], fit: str) -> tuple[np.ndarray, Frame]:
    """Resize a picture to the size that a network takes.

    Args:
        pixels: uint8 `(height, width, 3)`.
        size: (height, width) of the image. Where it is open (`None`), a padded picture gets 512 pixels, and any other
            keeps its size.
        fit: `"stretch"` to distort the picture, `"crop"` to cut out its centre, or `"pad"` to pad it at the right and
            below, see `fields.Picture`.

    Returns:
        The image, uint8 `(height, width, 3)`, and the frame that maps it back to the picture.

    Raises:
        ValueError: if the picture is no uint8 RGB picture.
    """
    check_picture(pixels)
    own = pixels.shape[0], pixels.shape[1]
    if fit == "pad":
        image, factor = fit_picture(pixels, (size[0] or USUAL_SIDE, size[1] or USUAL_SIDE))
        return image, Frame(own, fit, (factor, factor))
    if fit == "crop" and size[0] is not None and size[1] is not None:
        image = np.rint(central_crop(pixels, (size[0], size[1]))).clip(0, 255).astype(np.uint8)
        return image, Frame(own, fit, (1.0, 1.0))
    wanted = size[0] or own[0], size[1] or own[1]
    if wanted != own:
        pixels = resized(pixels, wanted)
    return pixels, Frame(own, "stretch", (wanted[0] / own[0], wanted[1] / own[1]))


def fit_picture(pixels: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Resize a picture, keeping its aspect ratio, into the upper left of an image; the rest is black.

    Args:
        pixels: uint8 `(height, width, 3)`.
        size: (height, width) of the image.

    Returns:
        The image, uint8 `(*size, 3)`, and the factor by which the picture was resized: boxes found in the image,
        divided by it, are boxes in the picture.

    Raises:
        ValueError: if the picture is no uint8 RGB picture or the size is wrong.

    Example:
        >>> image, factor = fit_picture(pixels, (320, 320))
        >>> boxes = found["boxes"] / factor
    """
    check_size("size", size)
    check_picture(pixels)
    height, width = pixels.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    rows, columns = (max(1, round(n * factor)) for n in (height, width))
    if (rows, columns) != (height, width):
        pixels = resized(pixels, (rows, columns))
    image = np.zeros((*size, 3), np.uint8)
    image[:rows, :columns] = pixels[: size[0], : size[1]]
    return image, factor


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture, bilinearly and with antialiasing, to exactly the pixels of `data.graph_fitting.resized`.

    The columns are resized first, then the rows, and each result is rounded. Pillow 13 chooses the order by the size,
    and earlier versions always take this one.

    Args:
        pixels: uint8 `(height, width, channels)`.
        size: (height, width).
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    for step in ((size[1], pixels.shape[0]), (size[1], size[0])):
        image = image.resize(step, Image.Resampling.BILINEAR)
    return np.asarray(image)


def check_picture(pixels: np.ndarray) -> None:
    """Raise `ValueError` unless this is a picture uint8 `(height, width, 3)`."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3 or not pixels.size:
        raise ValueError(f"expected a picture uint8 (height, width, 3), received {pixels.dtype} {pixels.shape}")


def classes_in_picture(classes: np.ndarray, frame: Frame) -> np.ndarray:
    """Resize a map of classes from the image to the picture it was made from, by nearest pixels.

    Args:
        classes: integers `(height, width)` of the image.
        frame: relation between picture and image, whose `fit` must not be `"crop"`: the margins have no classes.

    Returns:
        Array of the same dtype, `(height, width)` of the picture.

    Raises:
        ValueError: if the picture was cropped.
    """
    if frame.fit == "crop":
        raise ValueError("what was found in a crop says nothing about the picture around it")
    if frame.fit == "pad":
        rows, columns = (max(1, round(n * f)) for n, f in zip(frame.size, frame.factors, strict=True))
        classes = classes[:rows, :columns]
    places = (
        np.minimum(((np.arange(n) + 0.5) * have / n).astype(int), have - 1)
        for n, have in zip(frame.size, classes.shape, strict=True)
    )
    return classes[np.ix_(*places)]


def in_picture(
    outputs: Mapping[str, Any], picture: tuple[int, int], factor: float | tuple[float, float]
) -> dict[str, np.ndarray]:
    """Map detections in an image to the picture from which the image was resized.

    Args:
        outputs: outputs of a detector for one image, without the batch.
        picture: (height, width) of the picture.
        factor: factor by which the picture was resized, see `data.fit_picture`, or two, (vertical, horizontal).

    Returns:
        `boxes` float32 `(n, 4)`, `scores` `(n,)`, `classes` `(n,)` and, if the detector finds them, `masks` bool
        `(n, height, width)`.
    """
    count = int(outputs["count"])
    found = {name: np.asarray(outputs[name][:count]) for name in ("boxes", "scores", "classes")}
    vertical, horizontal = factor if isinstance(factor, tuple) else (factor, factor)
    boxes = found["boxes"] = found["boxes"] / np.array([horizontal, vertical] * 2, found["boxes"].dtype)
    if "masks" in outputs:
        masks, found["masks"] = np.asarray(outputs["masks"][:count]), np.zeros((0, *picture), bool)
        if count:
            pasted = ops.convert_to_numpy(paste_masks(masks[None], boxes[None], *picture))[0]
            found["masks"] = pasted > MASK_THRESHOLD
    return found
