"""The distorted digits of Jaderberg et al. (NIPS 2015), section 4.1 and appendix A.4, drawn anew for every epoch."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer, is_integer
from keras_segattn.data.epochs import EpochDataset
from keras_segattn.ops import affine_grid, grid_sample, projective_grid, thin_plate_spline_grid

SIDE = 28
# Number and side of the squares, cut from other digits, that clutter a picture.
DISTRACTORS, DISTRACTOR = 6, 6
Distort = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def rotated(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Distort by R: digits turned by up to 90°, in 28×28."""
    angle = np.radians(generator.uniform(-90, 90, len(images)))
    return _affine(images, angle, np.ones(len(images)), np.full((len(images), 2), (SIDE - 1) / 2), SIDE)


def rotated_scaled_translated(
    images: np.ndarray, generator: np.random.Generator, strength: float | np.ndarray = 1.0
) -> np.ndarray:
    """Distort by RTS: digits turned by up to 45°, 0.7 to 1.2 times as large, anywhere in 42×42; see `placed`."""
    return placed(images, generator, 42, (0.7, 1.2), 45, strength)


def placed(
    images: np.ndarray,
    generator: np.random.Generator,
    side: int,
    scales: tuple[float, float],
    degrees: float,
    strength: float | np.ndarray = 1.0,
) -> np.ndarray:
    """Turn and scale digits, and put each anywhere in `side`×`side` where the square of the unturned digit is inside.

    `strength`, 0..1, one number or `(n,)`, multiplies all three changes: at 0 digits are upright, of their own size and
    in the middle.
    """
    angle = np.radians(generator.uniform(-degrees, degrees, len(images))) * strength
    scale = 1 + (generator.uniform(*scales, len(images)) - 1) * strength
    free = (side - scale * SIDE)[:, None] * np.reshape(strength, (-1, 1))
    centre = (side - 1) / 2 + (generator.random((len(images), 2)) - 0.5) * free
    return _affine(images, angle, scale, centre, side)


def projected(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Distort by P: digits 0.75 to 1 times as large, then every corner moved by N(0, 5 pixels), in 28×28."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], "float64")
    moved = corners + _convex_moves(len(images), corners, generator)
    # Solve eight equations per picture: the moved corners of the output are read at the corners of the picture.
    equations = np.zeros((len(images), 8, 8))
    equations[:, 0::2, 0:2] = equations[:, 1::2, 3:5] = moved
    equations[:, 0::2, 2] = equations[:, 1::2, 5] = 1
    equations[:, :, 6:] = -corners.reshape(8, 1) * np.repeat(moved, 2, axis=1)
    entries = np.linalg.solve(equations, np.tile(corners.reshape(8, 1), (len(images), 1, 1)))[..., 0]
    theta = np.concatenate([entries, np.ones((len(images), 1))], axis=1).reshape(-1, 3, 3)
    theta[:, :2] /= generator.uniform(0.75, 1, (len(images), 1, 1))
    return _read(images, projective_grid(theta.astype("float32"), (SIDE, SIDE)))


def _convex_moves(count: int, corners: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw moves of the corners, in units of half the picture; moves that would fold the picture are drawn again."""
    moves = np.empty((count, 4, 2))
    left = np.arange(count)
    while len(left):
        moves[left] = generator.normal(0, 5 / ((SIDE - 1) / 2), (len(left), 4, 2))
        sides = np.roll(corners + moves[left], -1, axis=1) - (corners + moves[left])
        following = np.roll(sides, -1, axis=1)
        turns = sides[..., 0] * following[..., 1] - sides[..., 1] * following[..., 0]
        left = left[(turns <= 0).any(axis=1)]
    return moves


def elastic(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Distort by E: a thin-plate spline whose 16 control points are moved by N(0, 1.5 pixels), in 28×28."""
    offsets = generator.normal(0, 1.5 / ((SIDE - 1) / 2), (len(images), 16, 2)).astype("float32")
    return _read(images, thin_plate_spline_grid(offsets, (SIDE, SIDE)))


def cluttered(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Distort by TC: digits anywhere in 60×60, among six 6×6 pieces of other digits of the batch."""
    return _scattered(images, generator, 60, DISTRACTORS)[0]


def _scattered(
    images: np.ndarray, generator: np.random.Generator, side: int, distractors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Put digits anywhere in `side`×`side` among pieces of others; return also the (row, column) of their corners."""
    count = len(images)
    canvas = np.zeros((count, side, side, 1), "float32")
    rows, columns = generator.integers(0, side - SIDE + 1, (2, count))
    for index, (image, row, column) in enumerate(zip(images, rows, columns, strict=True)):
        canvas[index, row : row + SIDE, column : column + SIDE] = image
    others = generator.integers(0, count, (count, distractors))
    cut = generator.integers(0, SIDE - DISTRACTOR + 1, (count, distractors, 2))
    put = generator.integers(0, side - DISTRACTOR + 1, (count, distractors, 2))
    for index in range(count):
        for other, (y, x), (row, column) in zip(others[index], cut[index], put[index], strict=True):
            piece = images[other, y : y + DISTRACTOR, x : x + DISTRACTOR]
            place = canvas[index, row : row + DISTRACTOR, column : column + DISTRACTOR]
            np.maximum(place, piece, out=place)
    return canvas, np.stack([rows, columns], axis=-1)


def digit_scenes(
    images: np.ndarray, *, side: int = 84, distractors: int = 0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Make pictures with a digit at a random place, for co-localisation (appendix A.2).

    Args:
        images: uint8 `(n, 28, 28)` or `(n, 28, 28, 1)`, white on black: digits of one class.
        side: side of the pictures, in pixels, at least 28.
        distractors: number of 6×6 pieces of other digits in each picture.
        seed: seed of the places.

    Returns:
        Pictures float32 `(n, side, side, 1)`, 0..1, and the digits' boxes float32 `(n, 4)`, `(x1, y1, x2, y2)` in
        pixels: the 28×28 squares of the MNIST pictures.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> scenes, boxes = digit_scenes(digits[labels == 3], distractors=16)
    """
    images, _ = check_digits(images, np.zeros(len(images), "int32"))
    if not is_integer(side) or side < SIDE:
        raise ValueError(f"side must be at least {SIDE}, received {side!r}")
    if not is_integer(distractors) or distractors < 0:
        raise ValueError(f"distractors must be an integer of at least 0, received {distractors!r}")
    scenes, corners = _scattered(images.astype("float32") / 255, np.random.default_rng(seed), side, distractors)
    corners = corners[:, ::-1].astype("float32")
    return scenes, np.concatenate([corners, corners + SIDE], axis=-1)


def _affine(images: np.ndarray, angle: np.ndarray, scale: np.ndarray, centre: np.ndarray, side: int) -> np.ndarray:
    """Turn digits anticlockwise and scale them, with their middle at the pixel `centre` (x, y) of `side`×`side`."""
    half_in, half_out = (SIDE - 1) / 2, (side - 1) / 2
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    turn = np.stack([np.stack([cosine, -sine], axis=-1), np.stack([sine, cosine], axis=-1)], axis=-2)
    shift = turn @ (half_out - centre)[..., None]
    theta = np.concatenate([turn * half_out, shift], axis=-1) / half_in
    return _read(images, affine_grid(theta.astype("float32"), (side, side)))


def _read(images: np.ndarray, grid: Any) -> np.ndarray:
    return ops.convert_to_numpy(grid_sample(images, grid))


class Distortion(NamedTuple):
    """A distortion, one column of the paper's table.

    Attributes:
        distort: function from pictures `(n, 28, 28, 1)` to `(n, side, side, 1)`, both 0..1.
        side: side of the distorted pictures, in pixels.
    """

    distort: Distort
    side: int


DISTORTIONS = {
    "none": Distortion(lambda images, _: images, SIDE),
    "rotated": Distortion(rotated, SIDE),
    "rotated_scaled_translated": Distortion(rotated_scaled_translated, 42),
    "projective": Distortion(projected, SIDE),
    "elastic": Distortion(elastic, SIDE),
    "cluttered": Distortion(cluttered, 60),
}


class DistortedDigits(EpochDataset):
    """Batches of distorted digits: for `fit`, or to iterate over.

    A batch is a pair: images float32 `(B, side, side, 1)`, 0..1, and labels int32 `(B,)`.

    Args:
        images: uint8 `(n, 28, 28)` or `(n, 28, 28, 1)`, white on black.
        labels: integers `(n,)`.
        distortion: key of `DISTORTIONS`: `"rotated"`, `"rotated_scaled_translated"`, `"projective"`, `"elastic"`,
            `"cluttered"` (60×60) or `"none"`.
        batch_size: number of digits per batch; the last batch of an epoch may be smaller.
        shuffle: whether each epoch has an order and distortions of its own; if not, all epochs are the same.
        seed: seed of order and distortions, which are functions of it and of the attribute `epoch`.
        workers: number of threads that make batches ahead.

    Raises:
        ValueError: if an argument or shape is wrong.

    Example:
        >>> train = DistortedDigits(images, labels, "rotated", shuffle=True)
        >>> model.fit(train, epochs=10)
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        distortion: str,
        batch_size: int = 256,
        *,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 1,
    ) -> None:
        super().__init__(workers=workers)
        check_choice("distortion", distortion, DISTORTIONS)
        check_positive_integer("batch_size", batch_size)
        check_choice("shuffle", shuffle, (True, False))
        self.images, self.labels = check_digits(images, labels)
        self.distortion, self.batch_size, self.shuffle, self.seed = distortion, batch_size, shuffle, seed
        self._order: tuple[int, np.ndarray] = (-1, np.arange(len(self.images)))

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Make batch `index` of this epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        epoch = self.epoch if self.shuffle else 0
        generator = np.random.default_rng([self.seed, epoch, index])
        return self.batch(self.chosen(epoch, index), generator)

    def chosen(self, epoch: int, index: int) -> np.ndarray:
        """Return the indices of a batch's digits."""
        arranged = self._order  # another thread may replace it
        if self.shuffle and arranged[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            arranged = self._order = (epoch, order)
        return arranged[1][index * self.batch_size : (index + 1) * self.batch_size]

    def batch(self, chosen: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return distorted images and labels of the chosen digits."""
        return self.distorted(chosen, generator), self.labels[chosen]

    def distorted(self, chosen: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return distorted images float32 `(B, side, side, 1)` of the chosen digits."""
        return DISTORTIONS[self.distortion].distort(self.images[chosen].astype("float32") / 255, generator)


class DigitSums(DistortedDigits):
    """MNIST addition (appendix A.3): two digits, each distorted on its own, in two channels; the label is their sum.

    A batch is a pair: images float32 `(B, side, side, 2)`, 0..1, and sums int32 `(B,)`, 0..18. Arguments and errors
    are those of `DistortedDigits`.

    Example:
        >>> train = DigitSums(images, labels, "rotated_scaled_translated", shuffle=True)
    """

    def batch(self, chosen: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return images of the chosen digits, each with a second, random digit, and the sums."""
        others = generator.integers(0, len(self.images), len(chosen))
        pictures = [self.distorted(digits, generator) for digits in (chosen, others)]
        return np.concatenate(pictures, axis=-1), self.labels[chosen] + self.labels[others]


def check_digits(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check digits, and return images uint8 `(n, 28, 28, 1)` and labels int32 `(n,)`.

    Raises:
        ValueError: if images or labels have another form, or there are none.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 1) or not len(images):
        raise ValueError(f"expected digits uint8 (n, 28, 28), n > 0, received {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected {len(images)} integer labels, received {labels.dtype} {labels.shape}")
    return images, labels.astype(np.int32)
