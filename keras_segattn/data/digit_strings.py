"""Synthetic house numbers, real digits on real photographs, made on demand: a substitute for SVHN if it is unavailable.

One to five of MNIST's digits stand in a row, at a random place and size and slightly turned, on a piece of a photograph
and in a colour that differs from the background. Labels are those of `keras_segattn.data.svhn`. Strings are pasted, not
photographed: compare models on them with each other, not with published numbers.
"""

import math
from collections.abc import Sequence
from os import PathLike

import numpy as np
from PIL import Image

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.data.augmentation import check_integer, check_size
from keras_segattn.data.epochs import EpochDataset
from keras_segattn.data.svhn import BLANK, LONGEST
from keras_segattn.data.tux_paint_sources import SPLITS, piece_of, read_photographs

SIDE = 28  # of MNIST's pictures
MARGIN = 1  # pixels around a string
TURN, SHIFT, GROWTH = 6.0, 1.5, 0.12  # greatest changes of a single digit: degrees, pixels of its picture, share
GAP = (0.5, 5.0)  # between digits, in pixels of their pictures
OPACITY = (0.8, 1.0)
# Least difference in luma between the colour and the mean behind the string; up to 0.5, black or white always has it.
LEAST_CONTRAST = 0.45
LEAST_PIECE = 1 / 3  # least side of a piece of a photograph, as a share of the photograph's
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Uniform numbers per scene (2 of them spare), per digit of a scene, and per step of the generator Philox. A scene's
# total is a multiple of the last, so that every scene begins at a step.
SCENE_DRAWS, DIGIT_DRAWS, PHILOX = 19, 5, 4


def photographs(source: str | PathLike[str], split: str, *, side: int = 192) -> list[np.ndarray]:
    """Read the photographs of a split; no two splits share a photograph.

    Args:
        source: Debian's `gcompris-qt-data_*.deb`, the folder it was unpacked into, or a folder of `.jpg`, `.png` or
            `.webp` pictures, at least one for every split.
        split: `"train"`, `"validation"` or `"test"`: 70, 15 and 15 % of the photographs.
        side: shorter side wanted, in pixels; larger photographs are scaled down to it. More than three times the side
            of the scenes adds no detail to them.

    Returns:
        uint8 arrays `(height, width, 3)`, RGB.

    Raises:
        FileNotFoundError: if the source is missing.
        ValueError: if an argument is wrong, the source is damaged or holds no photograph for the split.

    Example:
        >>> backgrounds = photographs("gcompris-qt-data.deb", "train")
    """
    check_choice("split", split, tuple(SPLITS))
    check_positive_integer("side", side)
    return [np.asarray(picture) for picture in read_photographs(source, split, side)]


class DigitStrings(EpochDataset):
    """Batches of strings of digits on photographs and of their labels: for `fit`, or to iterate over.

    A batch is a pair of arrays:

    * image: float32 `(B, size, size, 3)`, RGB, 0..1
    * label: int32 `(B, 5)`, the digits from left to right, then `BLANK`, 10

    A scene is a function of the seed, of its index among all scenes and, with `fresh`, of the attribute `epoch`, which
    counts up whenever Keras ends an epoch (`fit` also ends one before the first); it does not depend on the batch size.

    Args:
        images: digits, uint8 `(n, 28, 28)` or `(n, 28, 28, 1)`, light on 0. Take MNIST's training files for training
            and its test files for testing.
        labels: labels of the digits, integers `(n,)`, 0..9.
        backgrounds: uint8 arrays `(height, width, 3)`, RGB, such as `photographs` returns; use others for testing.
        batch_size: number of scenes per batch; the last batch of an epoch may be smaller.
        count: number of scenes per epoch.
        size: side of a scene, in pixels.
        digits: least and greatest number of digits of a string, within 1..5.
        height: least and greatest height of a string's tallest digit, before the turn, as a share of the side; smaller
            if the string would not fit otherwise, as most strings of five digits.
        rotation: greatest turn of a string to either side, in degrees.
        fresh: whether each epoch has scenes of its own, for training, or all have the same, for testing.
        seed: seed of the scenes, at least 0.
        workers: number of threads that make batches ahead.

    Raises:
        ValueError: if an argument is wrong, or a digit's picture is all 0.

    Example:
        >>> images, labels = (read_idx(f"train-{name}-ubyte") for name in ("images-idx3", "labels-idx1"))
        >>> backgrounds = photographs("gcompris-qt-data.deb", "train")
        >>> model.fit(DigitStrings(images, labels, backgrounds, 128, count=100_000, fresh=True), epochs=10)
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        backgrounds: Sequence[np.ndarray],
        batch_size: int = 128,
        *,
        count: int = 10_000,
        size: int = 64,
        digits: tuple[int, int] = (1, LONGEST),
        height: tuple[float, float] = (0.18, 0.7),
        rotation: float = 10.0,
        fresh: bool = False,
        seed: int = 0,
        workers: int = 1,
    ) -> None:
        super().__init__(workers=workers)
        for name, value in (("batch_size", batch_size), ("count", count), ("size", size), ("workers", workers)):
            check_positive_integer(name, value)
        check_size("digits", digits)
        if not digits[0] <= digits[1] <= LONGEST:
            raise ValueError(f"digits must be (fewest, most) within 1..{LONGEST}, received {digits!r}")
        if not isinstance(height, tuple | list) or len(height) != 2 or not 0 < height[0] <= height[1] <= 1:
            raise ValueError(f"height must be (least, greatest) with 0 < least <= greatest <= 1, received {height!r}")
        if not 0 <= rotation <= 180:
            raise ValueError(f"rotation must be in 0..180 degrees, received {rotation!r}")
        check_choice("fresh", fresh, (True, False))
        check_integer("seed", seed)
        if seed < 0:
            raise ValueError(f"seed must be at least 0, received {seed!r}")
        self.images, self.labels = _checked_digits(images, labels)
        self.boxes = _ink(self.images)
        self.backgrounds = [_picture(place, array) for place, array in enumerate(backgrounds)]
        if not self.backgrounds:
            raise ValueError("backgrounds must be one or more pictures, received none")
        self.batch_size, self.count, self.size, self.digits = batch_size, count, size, tuple(digits)
        self.height, self.rotation, self.fresh, self.seed = tuple(height), rotation, fresh, seed

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(self.count / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Make batch `index` of this epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected a batch within 0..{len(self) - 1}, received {index}")
        first = index * self.batch_size
        scene, digit = self._draws(first, min(first + self.batch_size, self.count))
        fewest, most = self.digits
        lengths = fewest + (scene[0] * (most - fewest + 1)).astype(int)
        used = np.arange(LONGEST) < lengths[:, None]
        chosen = (digit[0] * len(self.images)).astype(int)
        labels = np.where(used, self.labels[chosen], BLANK).astype(np.int32)
        ink = self._strings(chosen, used, scene[1:5], digit[1:])
        behind = np.stack([self._background(draws) for draws in scene[5:10].T])
        return _painted(behind, ink, scene[10:17]), labels

    def _draws(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw uniform numbers `(SCENE_DRAWS, B)` and `(DIGIT_DRAWS, B, LONGEST)`, which depend on a scene's index."""
        each = SCENE_DRAWS + DIGIT_DRAWS * LONGEST
        stream = np.random.Philox([self.seed, self.epoch if self.fresh else 0])
        stream.advance(first * each // PHILOX)
        drawn = np.random.Generator(stream).random((last - first, each))
        digit = drawn[:, SCENE_DRAWS:].reshape(-1, LONGEST, DIGIT_DRAWS)
        return drawn[:, :SCENE_DRAWS].T, np.moveaxis(digit, -1, 0)

    def _strings(self, chosen: np.ndarray, used: np.ndarray, scene: np.ndarray, digit: np.ndarray) -> np.ndarray:
        """Return how much of each pixel the strings cover, uint8 `(B, size, size)`.

        Args:
            chosen: indices of the digits among the images, `(B, LONGEST)`.
            used: whether a digit is part of the string, `(B, LONGEST)`.
            scene: uniform numbers for height, turn, x and y, `(4, B)`.
            digit: uniform numbers for turn, shift, gap and growth, `(4, B, LONGEST)`.
        """
        boxes = self.boxes[chosen]
        centre, turn, scale, extent = self._placed(boxes[..., 2:] - boxes[..., :2], used, scene, digit)
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2
        low = np.clip(np.floor(centre - extent - 1), 0, self.size - 1).astype(int)  # one more pixel for smooth edges
        high = np.clip(np.ceil(centre + extent + 1), low + 1, self.size).astype(int)
        # Affine maps from pixels of the scene to pixels of the digit's picture, rows of (x, y, constant).
        cosine, sine = np.cos(turn) / scale, np.sin(turn) / scale
        rows = np.stack([cosine, sine, -sine, cosine], axis=-1).reshape(*used.shape, 2, 2)
        constants = middle + (rows @ (low - centre)[..., None])[..., 0]
        affine = np.concatenate([rows, constants[..., None]], axis=-1).reshape(*used.shape, 6)
        ink = np.zeros((len(chosen), self.size, self.size), np.uint8)
        for n, j in np.argwhere(used).tolist():
            (left, top), (right, bottom) = low[n, j], high[n, j]
            picture, coefficients = Image.fromarray(self.images[chosen[n, j]]), affine[n, j]
            smaller = min(max(round(1 / scale[n, j]), 1), SIDE)
            if smaller > 1:  # small digits are drawn from smaller pictures, in which thin strokes are not lost
                picture, coefficients = picture.reduce(smaller), coefficients / smaller
            patch = picture.transform(
                (right - left, bottom - top), Image.Transform.AFFINE, coefficients.tolist(), Image.Resampling.BILINEAR
            )
            window = ink[n, top:bottom, left:right]
            np.maximum(window, np.asarray(patch), out=window)
        return ink

    def _placed(
        self, sides: np.ndarray, used: np.ndarray, scene: np.ndarray, digit: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Choose the digits' places, so that every string is entirely within its scene.

        Args:
            sides: widths and heights of the digits in their pictures, `(B, LONGEST, 2)`.
            used: whether a digit is part of the string, `(B, LONGEST)`.
            scene: uniform numbers for height, turn, x and y, `(4, B)`.
            digit: uniform numbers for turn, shift, gap and growth, `(4, B, LONGEST)`.

        Returns:
            In pixels of the scenes: centres `(B, LONGEST, 2)`; turns `(B, LONGEST)`, radians; factors by which digits
            are larger than in their pictures `(B, LONGEST)`; half of the sides of the boxes around the turned digits
            `(B, LONGEST, 2)`.
        """
        # Begin with pixels of the digits' pictures, along the x axis.
        growth = 1 + GROWTH * _signed(digit[3])
        half = sides / 2 * growth[..., None]
        advance = 2 * half[..., 0] + GAP[0] + (GAP[1] - GAP[0]) * digit[2]
        across = SHIFT * _signed(digit[1])
        along = np.cumsum(advance, axis=1) - advance + half[..., 0]
        whole = np.radians(self.rotation) * _signed(scene[1])[:, None]
        cosine, sine = np.cos(whole), np.sin(whole)
        centre = np.stack([cosine * along - sine * across, sine * along + cosine * across], axis=-1)
        turn = whole + np.radians(TURN) * _signed(digit[0])
        cosine, sine = np.abs(np.cos(turn))[..., None], np.abs(np.sin(turn))[..., None]
        extent = cosine * half + sine * half[..., ::-1]
        start = np.where(used[..., None], centre - extent, np.inf).min(axis=1)
        end = np.where(used[..., None], centre + extent, -np.inf).max(axis=1)
        # Scale the string to the size that was drawn, or to the largest that fits.
        room = self.size - 2 * MARGIN
        unit = self.size / np.where(used, 2 * half[..., 1], 0).max(axis=1)  # the tallest digit fills the side
        greatest = np.minimum(self.height[1] * unit, room / (end - start).max(axis=-1))
        least = np.minimum(self.height[0] * unit, greatest)
        factor = (least * (greatest / least) ** scene[0])[:, None]
        corner = MARGIN + (room - factor * (end - start)) * scene[2:4].T
        centre = corner[:, None] + factor[..., None] * (centre - start[:, None])
        return centre, turn, factor * growth, factor[..., None] * extent

    def _background(self, draws: np.ndarray) -> np.ndarray:
        """Cut out a piece of a photograph, uint8 `(size, size, 3)`, by 5 uniform numbers."""
        which, share, left, top, mirror = draws.tolist()
        photograph = self.backgrounds[int(which * len(self.backgrounds))]
        share = LEAST_PIECE + (1 - LEAST_PIECE) * share
        size, place = (self.size, self.size), np.array([left, top])
        return np.asarray(piece_of(photograph, size, share, place, mirror < 0.5, Image.Resampling.BILINEAR))


def _painted(behind: np.ndarray, ink: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Paint strings on backgrounds, each string in one colour.

    Args:
        behind: backgrounds, uint8 `(B, size, size, 3)`.
        ink: cover of each pixel by the strings, uint8 `(B, size, size)`.
        draws: uniform numbers `(7, B)` for opacity, contrast, darker or lighter, hue (three), and saturation.

    Returns:
        float32 `(B, size, size, 3)`, 0..1.
    """
    image = behind.astype(np.float32)
    image /= 255
    cover = ink.astype(np.float32)
    total = 255 * np.maximum(ink.sum(axis=(1, 2)), 1)  # at least 1, for strings too small to be seen
    # Integers are summed exactly; rounded sums would depend on how a batch lies in memory.
    local = _luma(np.einsum("nhw,nhwc->nc", ink, behind, dtype=np.float64) / total[:, None])
    # The colour is darker or lighter as drawn, unless one of them leaves too little contrast.
    lighter = np.where(np.minimum(local, 1 - local) < LEAST_CONTRAST, local < 0.5, draws[2] < 0.5)
    room = np.where(lighter, 1 - local, local)
    contrast = LEAST_CONTRAST + (room - LEAST_CONTRAST) * draws[1]
    luma = (local + np.where(lighter, contrast, -contrast))[:, None]
    # A hue does not change the luma; its strength is the drawn share of the greatest that keeps colours within 0..1.
    hue = _signed(draws[3:6].T)
    hue -= _luma(hue)[:, None]
    strongest = (np.where(hue > 0, 1 - luma, luma) / np.maximum(np.abs(hue), 1e-6)).min(axis=-1)
    colour = np.clip(luma + hue * (strongest * draws[6])[:, None], 0, 1).astype(np.float32)
    cover *= ((OPACITY[0] + (OPACITY[1] - OPACITY[0]) * draws[0]) / 255).astype(np.float32)[:, None, None]
    image += cover[..., None] * (colour[:, None, None] - image)
    return image


def _luma(colours: np.ndarray) -> np.ndarray:
    return (colours * LUMA).sum(axis=-1)


def _signed(uniform: np.ndarray) -> np.ndarray:
    """Map uniform numbers from 0..1 to -1..1."""
    return 2 * uniform - 1


def _checked_digits(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures `(n, 28, 28)` and labels; raise `ValueError` if they have another form."""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.shape[3:] == (1,):
        images = images[..., 0]
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE) or not len(images):
        raise ValueError(f"images must be uint8 (n, {SIDE}, {SIDE}), received {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers ({len(images)},), received {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"labels must be 0..9, received {labels.min()}..{labels.max()}")
    return np.ascontiguousarray(images), labels


def _ink(images: np.ndarray) -> np.ndarray:
    """Return the tight boxes of digits, int64 `(n, 4)`, (x1, y1, x2, y2)."""
    empty = np.flatnonzero(images.max(axis=(1, 2)) == 0)
    if len(empty):
        raise ValueError(f"images: picture {empty[0]} is all 0, expected a digit")
    columns, rows = images.max(axis=1) > 0, images.max(axis=2) > 0
    first = [one.argmax(axis=1) for one in (columns, rows)]
    last = [SIDE - one[:, ::-1].argmax(axis=1) for one in (columns, rows)]
    return np.stack(first + last, axis=-1)


def _picture(place: int, array: np.ndarray) -> Image.Image:
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.shape[2:] != (3,) or not array.size:
        found = f"{getattr(array, 'dtype', type(array).__name__)} {np.shape(array)}"
        raise ValueError(f"backgrounds must be uint8 (height, width, 3), received {found} at {place}")
    return Image.fromarray(array)
