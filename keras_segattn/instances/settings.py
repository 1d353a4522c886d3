"""Settings of detectors: anchors, proposals, detections, widths and the form of a cascade.

A builder takes each as an instance, or as a dict of the values that differ from the release's. The latter can also be
given on a command line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from keras_segattn.arguments import check_choice, check_positive_integer, is_number, scaled


@dataclass(frozen=True)
class Settings:
    """Base class of the settings in this module."""

    def resolve(self, name: str, given: Self | Mapping[str, Any]) -> Self:
        """Return the settings given to a builder whose default is `self`.

        Args:
            name: name of the builder's argument.
            given: an instance, or a dict of the values that differ from `self`.

        Raises:
            ValueError: if `given` is neither, or has an unknown key.
        """
        if isinstance(given, type(self)):
            return given
        names = [field.name for field in fields(self)]
        if not isinstance(given, Mapping) or not set(given) <= set(names):
            raise ValueError(
                f"{name} must be {type(self).__name__} or a dict of some of {', '.join(names)}, received {given!r}"
            )
        return replace(self, **given)


@dataclass(frozen=True)
class Anchors(Settings):
    """The boxes that a region proposal network refines.

    Args:
        sizes: square roots of the boxes' areas, in pixels.
        ratios: heights ÷ widths of the boxes.

    Raises:
        ValueError: if an argument is wrong.
    """

    sizes: tuple[float, ...]
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    def __post_init__(self) -> None:
        for name in ("sizes", "ratios"):
            values = getattr(self, name)
            if not isinstance(values, tuple | list) or not values or not all(map(_is_positive, values)):
                raise ValueError(f"{name} of anchors must be positive numbers, received {values!r}")


@dataclass(frozen=True)
class ProposalRules(Settings):
    """Rules that select the boxes of the region proposal network for the heads.

    Args:
        count: number of regions per image.
        before_nms: number of best boxes per level before suppression.
        overlap: intersection over union above which a worse box is suppressed.
        least_side: height and width, in pixels, below which a box is dropped; `None` takes the value of the release.

    Raises:
        ValueError: if an argument is wrong.
    """

    count: int
    before_nms: int
    overlap: float
    least_side: float | None = None

    def __post_init__(self) -> None:
        for name in ("count", "before_nms"):
            check_positive_integer(name, getattr(self, name))
        _check_share("overlap", self.overlap)
        if self.least_side not in (None, 0) and not _is_positive(self.least_side):
            raise ValueError(f"least_side must be None or a number of pixels from 0, received {self.least_side!r}")


@dataclass(frozen=True)
class DetectionRules(Settings):
    """Rules that select the classified regions to return.

    Args:
        count: number of detections per image.
        least_score: probability up to which a detection is dropped.
        overlap: intersection over union above which a worse detection of the same class is suppressed.

    Raises:
        ValueError: if an argument is wrong.
    """

    count: int
    least_score: float
    overlap: float

    def __post_init__(self) -> None:
        check_positive_integer("count", self.count)
        _check_share("least_score", self.least_score)
        _check_share("overlap", self.overlap)


@dataclass(frozen=True)
class Widths(Settings):
    """Widths of a detector's layers outside its backbone.

    Args:
        proposals: channels of the region proposal network, and of the pyramid that it reads.
        boxes: hidden units of the layers that find class and box.
        masks: channels or hidden units of the layers that find masks.

    Raises:
        ValueError: if an argument is wrong.
    """

    proposals: int
    boxes: int
    masks: int

    def __post_init__(self) -> None:
        for field in fields(self):
            check_positive_integer(f"width of {field.name}", getattr(self, field.name))

    def scaled(self, alpha: float) -> "Widths":
        """Multiply all three widths by the width multiplier `alpha`."""
        return Widths(*(scaled(width, alpha) for width in (self.proposals, self.boxes, self.masks)))


@dataclass(frozen=True)
class Cascade(Settings):
    """The form of a multi-task network cascade.

    Args:
        stages: number of stages: 5, or 3 (boxes, masks and classes once, without refined boxes).
        mask_size: height and width of a mask: the released 21, or the paper's 28.
        quantize: whether RoIWarp rounds boxes to pixels of the map, as the released code does.
        vote: whether masks are averaged over the instances that overlap.

    Raises:
        ValueError: if an argument is wrong.
    """

    stages: int = 5
    mask_size: int = 21
    quantize: bool = True
    vote: bool = True

    def __post_init__(self) -> None:
        check_choice("stages", self.stages, (3, 5))
        check_positive_integer("mask_size", self.mask_size)
        check_choice("quantize", self.quantize, (True, False))
        check_choice("vote", self.vote, (True, False))


def _is_positive(value: Any) -> bool:
    """Whether `value` is a finite number above 0."""
    return is_number(value) and value > 0


def _check_share(name: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a number within 0..1."""
    if value != 0 and not (_is_positive(value) and value <= 1):
        raise ValueError(f"{name} must be within 0..1, received {value!r}")
