"""Kinds of inputs: how each is prepared for the network, and drawn at random.

A `Field` is a frozen dataclass that converts to JSON and back (`describe`, `field_from`). A model carries its fields in
the `Stamp` behind each input (`keras_segattn.inputs`), a stored model in its facts (`keras_segattn.facts`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer

# Ids of the tokens that every vocabulary begins with: padding, begin and end of a sentence, and unknown word.
PAD, BOS, EOS, UNK = 0, 1, 2, 3
# Side of the squares of one colour that a drawn picture is made of, in pixels.
PATCH = 8


@dataclass(frozen=True)
class Field:
    """Base class of the kinds of inputs.

    Attributes:
        kind: name of the kind in JSON.
        given: whether a user gives this input; if not, it is drawn, computed, or for training only.
    """

    kind: ClassVar[str]
    given: ClassVar[bool] = True

    def draw(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        """Draw plausible values for a whole batch, as they are before `prepare`.

        Args:
            shape: shape with the batch, without open sizes.
            seed: seed of the draw.
        """
        raise NotImplementedError

    def prepare(self, values: Any) -> Any:
        """Convert values from the form that users have to the form that the network takes."""
        return values

    def describe(self) -> dict[str, Any]:
        """Describe the field as a dict for JSON."""
        return {"kind": self.kind} | asdict(self)

    @classmethod
    def restored(cls, facts: Mapping[str, Any]) -> Self:
        """Rebuild the field from the dict that `describe` returned, without its `kind`."""
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()})


@dataclass(frozen=True)
class Picture(Field):
    """A picture, `(height, width, channels)`, and its normalisation: channel order, then `(x - mean) / std`.

    Args:
        channels: order in which the network expects the channels, `"RGB"` or `"BGR"`; the pictures given are always
            RGB. `"grey"` is one channel; `"other"` is any other number of channels, which picture files do not have.
        mean: one value per channel in the network's order, in units of 0..255 intensities.
        std: one value per channel in the network's order, in the same units.
        size: (height, width) of the published recipe, or `None` where any size is usual.
        fit: rule that gives a picture of another size the network's size: `"stretch"` it, `"crop"` its centre after
            its shorter side was scaled, or `"pad"` it with black at the right and below after it was scaled to fit.

    Raises:
        ValueError: if a channel order or statistics cannot be applied.

    Example:
        >>> caffe = Picture("BGR", mean=(104.00699, 116.66877, 122.67892))
        >>> network_input = caffe(rgb_images)
    """

    kind: ClassVar[str] = "picture"

    channels: Literal["RGB", "BGR", "grey", "other"] = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    size: tuple[int, int] | None = None
    fit: Literal["stretch", "crop", "pad"] = "stretch"

    def __post_init__(self) -> None:
        check_choice("channels", self.channels, ("RGB", "BGR", "grey", "other"))
        check_choice("fit", self.fit, ("stretch", "crop", "pad"))
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean and std need one value per channel, received {self.mean} and {self.std}")
        expected = {"RGB": 3, "BGR": 3, "grey": 1}.get(self.channels, len(self.mean))
        if len(self.mean) != expected:
            raise ValueError(f"{self.channels} pictures have {expected} channel(s), received mean {self.mean}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, received {self.std}")

    def __call__(self, images: Any) -> Any:
        """Normalise RGB images, or images of one channel for a grey field.

        Args:
            images: `(..., channels)`, any numeric dtype, intensities 0..255.

        Returns:
            float32 tensor of the same shape, in the network's channel order.

        Raises:
            ValueError: if the last dimension is not the number of channels of `mean`.
        """
        if images.shape[-1] != len(self.mean):
            raise ValueError(f"expected {len(self.mean)} channels last, received shape {tuple(images.shape)}")
        x = ops.cast(images, "float32")
        if self.channels == "BGR":
            x = ops.flip(x, axis=-1)
        if any(self.mean):
            x = x - ops.convert_to_tensor(self.mean, dtype="float32")
        if any(scale != 1.0 for scale in self.std):
            x = x / ops.convert_to_tensor(self.std, dtype="float32")
        return x

    def prepare(self, values: Any) -> Any:
        """Normalise pictures, see `__call__`."""
        return self(values)

    def draw(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        """Draw coloured squares, uint8, which have edges and areas as photographs do."""
        batch, height, width, channels = shape
        coarse = np.random.default_rng(seed).integers(
            0, 256, (batch, -(-height // PATCH), -(-width // PATCH), channels)
        )
        return coarse.repeat(PATCH, axis=1).repeat(PATCH, axis=2)[:, :height, :width].astype("uint8")

    def of_channels(self, channels: int) -> "Picture":
        """Adapt the normalisation to another number of channels.

        One channel gets the average of the three. No normalisation is known for other numbers of channels, whose values
        stay as they are.
        """
        if channels == len(self.mean):
            return self
        if channels == 1:
            mean, std = (float(np.mean(values)) for values in (self.mean, self.std))
            return replace(self, channels="grey", mean=(mean,), std=(std,))
        return replace(self, channels="other", mean=(0.0,) * channels, std=(1.0,) * channels)


@dataclass(frozen=True)
class Tokens(Field):
    """A sentence as ids, int32 `(length,)`: its tokens, the end of the sentence, then padding.

    Args:
        vocabulary: name of the vocabulary that the ids belong to, such as `"source"`.
        size: number of tokens in the vocabulary, including the four special ones.
        unit: `"word"` if a text is split at white space, or `"letter"` if it is split into letters.
        lower: whether a text is turned to lower case first.
        target: whether this is the sentence that the model writes, which is an input for training and scoring only.
        form: Unicode normal form of the tokens, to which a text is converted first, or `None` if they have none.

    Raises:
        ValueError: if a value is wrong.
    """

    kind: ClassVar[str] = "tokens"

    vocabulary: str
    size: int
    unit: Literal["word", "letter"] = "word"
    lower: bool = False
    target: bool = False
    form: Literal["NFC"] | None = "NFC"

    def __post_init__(self) -> None:
        check_positive_integer("size", self.size)
        check_choice("unit", self.unit, ("word", "letter"))
        for name, value in (("lower", self.lower), ("target", self.target)):
            check_choice(name, value, (True, False))
        check_choice("form", self.form, ("NFC", None))

    @property
    def given(self) -> bool:  # type: ignore[override]
        """Whether a user gives this input; the sentence that the model shall write is not given."""
        return not self.target

    def draw(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        """Draw ids from the whole vocabulary, including unknown words and the last token, in several lengths."""
        least = min(UNK, self.size - 1)
        count = int(np.prod(shape))
        # Evenly spread over the vocabulary; all of it if there is room.
        spread = least + np.linspace(0, self.size - 1 - least, max(count, 1)).round().astype("int64")
        ids = np.random.default_rng(seed).permutation(spread).reshape(shape).astype("int32")
        if len(shape) < 2:  # single tokens, no sentences
            return ids
        for row, length in zip(ids, shape[1] - np.arange(shape[0]) % shape[1], strict=True):
            row[length - 1 :] = PAD
            row[length - 1] = EOS
        ends = [self.size - 1, least][: max(0, shape[1] - 1)]  # first in the longest sentence, where no end hides them
        ids[:1, : len(ends)] = ends
        return ids


@dataclass(frozen=True)
class OneHot(Field):
    """A class as a one-hot vector, float32 `(classes,)`.

    Args:
        classes: number of classes.
    """

    kind: ClassVar[str] = "one_hot"

    classes: int

    def draw(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        """Draw random classes, one-hot."""
        return np.eye(shape[-1], dtype="float32")[np.random.default_rng(seed).integers(0, shape[-1], shape[:-1])]


@dataclass(frozen=True)
class Noise(Field):
    """Random numbers that a generator starts from.

    Args:
        distribution: `"normal"`, N(0, 1), or `"uniform"` on -1..1, as in the generator's training.
    """

    kind: ClassVar[str] = "noise"
    given: ClassVar[bool] = False

    distribution: Literal["normal", "uniform"] = "normal"

    def __post_init__(self) -> None:
        check_choice("distribution", self.distribution, ("normal", "uniform"))

    def draw(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        """Draw noise, float32."""
        random = np.random.default_rng(seed)
        return (random.normal(size=shape) if self.distribution == "normal" else random.uniform(-1, 1, shape)).astype(
            "float32"
        )


@dataclass(frozen=True)
class Vectors(Field):
    """Numbers, float32, that were computed elsewhere, such as the annotations of a picture, or preprocessed pixels."""

    kind: ClassVar[str] = "vectors"

    def draw(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        """Draw values from N(0, 1), float32."""
        return np.random.default_rng(seed).normal(size=shape).astype("float32")


@dataclass(frozen=True)
class PictureSize(Field):
    """Height and width, float32 `(2,)`, of the picture in the upper left of a larger, padded one.

    Args:
        picture: name of the input that is the padded picture.
    """

    kind: ClassVar[str] = "picture_size"
    given: ClassVar[bool] = False

    picture: str = "image"

    def draw(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        """Draw the sizes of small pictures, 24 to 47 pixels."""
        return np.random.default_rng(seed).integers(24, 48, shape).astype("float32")


@dataclass(frozen=True)
class Boxes(Field):
    """Boxes in a picture, float32 `(regions, 4)`: (x1, y1, x2, y2) in its pixels; boxes of zeros fill unused rows.

    Args:
        picture: name of the input that is the picture.
    """

    kind: ClassVar[str] = "boxes"

    picture: str = "image"

    def draw(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        """Draw boxes of 8 to 31 pixels in small pictures, of which they leave at most 48 pixels."""
        random = np.random.default_rng(seed)
        corner = random.integers(0, 17, (*shape[:-1], 2))
        return np.concatenate([corner, corner + random.integers(8, 32, corner.shape)], axis=-1).astype("float32")


KINDS: dict[str, type[Field]] = {
    kind.kind: kind for kind in (Picture, Tokens, OneHot, Noise, Vectors, PictureSize, Boxes)
}


def field_from(facts: Mapping[str, Any]) -> Field:
    """Rebuild a field from the dict that `Field.describe` returned.

    Raises:
        ValueError: if the kind is unknown or its facts do not fit.
    """
    known = dict(facts)
    kind = known.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"expected a kind of input among {', '.join(KINDS)}, received {kind!r}")
    try:
        return KINDS[kind].restored(known)
    except TypeError as error:
        raise ValueError(f"the facts of a {kind} do not fit: {error}") from error


# Normalisation that torchvision's and most of timm's weights expect.
IMAGENET = Picture("RGB", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), size=(224, 224), fit="crop")
