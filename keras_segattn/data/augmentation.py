"""Random changes of a picture and its mask that keep both aligned and the mask exact."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_segattn.arguments import check_choice, check_positive_integer, is_integer, is_number


@dataclass(frozen=True)
class Augmentation:
    """Random scale, crop, flip and colour, as a pure function of the seed.

    Image and mask are scaled with half-pixel centres, the image bilinearly and the mask to the nearest label, so that
    no label is ever invented. Where the crop is larger than the scaled image, the image is padded with its mean colour
    and the mask with `ignore_label`.

    Args:
        crop: (height, width) of the result, in pixels.
        scale: lowest and highest factor of a uniformly drawn zoom, positive.
        flip: whether to mirror left to right half of the time.
        brightness: largest shift, as a share of 255, 0..1.
        contrast: largest relative change of the distance to the mean colour, 0..1.
        saturation: largest relative change of the distance to grey, 0..1.
        ignore_label: label of the padded part of a mask.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> image, mask = Augmentation(crop=(256, 256))(image, mask, seed=(0, 17))
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.75, 1.5)
    flip: bool = True
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    ignore_label: int = 255

    def __post_init__(self) -> None:
        """Raise `ValueError` if an argument is out of range."""
        check_size("crop", self.crop)
        zoom = self.scale if isinstance(self.scale, tuple | list) else ()
        if len(zoom) != 2 or not all(is_number(factor) for factor in zoom) or not 0 < zoom[0] <= zoom[1]:
            raise ValueError(f"scale must be (lowest, highest) with 0 < lowest <= highest, received {self.scale!r}")
        check_choice("flip", self.flip, (True, False))
        for name in ("brightness", "contrast", "saturation"):
            share = getattr(self, name)
            if not is_number(share) or not 0 <= share <= 1:
                raise ValueError(f"{name} must be in 0..1, received {share!r}")
        check_integer("ignore_label", self.ignore_label)

    def __call__(
        self, image: tf.Tensor, mask: tf.Tensor, seed: tuple[int, int] | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Augment one picture and its mask.

        Args:
            image: `(height, width, channels)`, RGB 0..255, any numeric dtype.
            mask: `(height, width, 1)`, integer labels.
            seed: two integers; the same ones give the same result.

        Returns:
            Image float32 `(*crop, channels)`, 0..255, and mask `(*crop, 1)` of the same dtype as before.

        Raises:
            ValueError: if the mask's dtype cannot hold `ignore_label`.
        """
        mask = tf.convert_to_tensor(mask)
        if not mask.dtype.min <= self.ignore_label <= mask.dtype.max:
            raise ValueError(f"a mask of {mask.dtype.name} cannot hold the ignore_label {self.ignore_label}")
        zoom, place, mirror, *colour = tf.unstack(tf.random.split(tf.cast(seed, tf.int32), 6))
        image = tf.cast(image, tf.float32)
        image, mask = self._scale(image, mask, zoom)
        image, mask = self._crop(image, mask, place)
        if self.flip:
            mirrored = tf.random.stateless_uniform((), mirror) < 0.5
            image = tf.where(mirrored, tf.reverse(image, [1]), image)
            mask = tf.where(mirrored, tf.reverse(mask, [1]), mask)
        return self._recolour(image, colour), mask

    def _scale(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        factor = tf.random.stateless_uniform((), seed, *self.scale)
        size = tf.maximum(1, tf.cast(tf.round(tf.cast(tf.shape(image)[:2], tf.float32) * factor), tf.int32))
        return tf.image.resize(image, size), tf.image.resize(mask, size, method="nearest")

    def _crop(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        missing = tf.maximum(0, tf.constant(self.crop) - tf.shape(image)[:2])
        padding = [[0, missing[0]], [0, missing[1]], [0, 0]]
        mean = tf.reduce_mean(image, axis=(0, 1))
        image = tf.pad(image - mean, padding) + mean
        mask = tf.pad(mask, padding, constant_values=tf.cast(self.ignore_label, mask.dtype))
        places = tf.cast(tf.shape(image)[:2] - tf.constant(self.crop) + 1, tf.float32)
        top, left = tf.unstack(tf.cast(tf.random.stateless_uniform((2,), seed) * places, tf.int32))
        height, width = self.crop
        image = image[top : top + height, left : left + width]
        mask = mask[top : top + height, left : left + width]
        return tf.ensure_shape(image, (height, width, None)), tf.ensure_shape(mask, (height, width, 1))

    def _recolour(self, image: tf.Tensor, seeds: list[tf.Tensor]) -> tf.Tensor:
        shift, stretch, tint = (
            tf.random.stateless_uniform((), seed, -limit, limit) if limit else 0.0
            for seed, limit in zip(seeds, (self.brightness, self.contrast, self.saturation), strict=True)
        )
        mean = tf.reduce_mean(image, axis=(0, 1), keepdims=True)
        image = mean + (1 + stretch) * (image - mean)
        grey = tf.reduce_mean(image, axis=-1, keepdims=True)
        image = grey + (1 + tint) * (image - grey)
        return tf.clip_by_value(image + 255 * shift, 0, 255)


def check_integer(name: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is an integer."""
    if not is_integer(value):
        raise ValueError(f"{name} must be an integer, received {value!r}")


def check_size(name: str, size: Any) -> None:
    """Raise `ValueError` unless `size` is a (height, width) of positive integers."""
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise ValueError(f"{name} must be (height, width), received {size!r}")
    for side in size:
        check_positive_integer(f"{name} height and width", side)
