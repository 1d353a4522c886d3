"""Animations: several pictures in one file, shown one after the other."""

import math
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from keras_segattn.arguments import is_number
from keras_segattn.files import replaced
from keras_segattn.visualize.figure import format_of

# Shortest time of a frame in seconds: browsers show shorter frames five times as long.
SHORTEST = 0.02
# Number of frames from which the colours of a GIF are chosen.
_SAMPLED = 16


def save_animation(
    frames: Sequence[Image.Image], path: str | os.PathLike[str], seconds_per_frame: float | Sequence[float] = 0.2
) -> None:
    """Write an animation that repeats endlessly; the file appears complete or not at all.

    Args:
        frames: pictures of one size, at least one. Equal frames that follow each other are stored as one that stays
            longer.
        path: file to write: `.gif` with 256 colours, or `.png` or `.apng` with all colours.
        seconds_per_frame: one number, or one per frame; at least 0.02.

    Raises:
        ValueError: if the suffix is none of these, or frames or times are not as described.
        FileNotFoundError: if the folder does not exist.
        OSError: if it cannot be written to.

    Example:
        >>> save_animation([overlay(image, mask) for mask in masks], "masks.gif", seconds_per_frame=0.5)
    """
    format_ = format_of(path, ("GIF", "PNG"), "an animation's suffix, .gif, .png or .apng")
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) != 1:
        raise ValueError(f"expected at least one frame, all of one size, received {len(frames)} of sizes {sizes}")
    seconds = [seconds_per_frame] * len(frames) if is_number(seconds_per_frame) else seconds_per_frame
    if len(seconds) != len(frames) or not all(SHORTEST <= time < math.inf for time in seconds):
        raise ValueError(
            f"seconds_per_frame must be one number or {len(frames)}, at least {SHORTEST}, received {seconds_per_frame}"
        )
    pictures = [frame.convert("RGB") for frame in frames]
    if format_ == "GIF":
        pictures = _of_the_same_colours(pictures)
    times = [round(1000 * time) for time in seconds]
    with replaced(path) as temporary:
        pictures[0].save(temporary, format_, save_all=True, append_images=pictures[1:], duration=times, loop=0)


def _of_the_same_colours(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """Reduce all frames to one palette, so that parts that do not change take no space in a GIF and do not flicker."""
    chosen = np.unique(np.linspace(0, len(pictures) - 1, _SAMPLED).round().astype(int))
    sampled = Image.fromarray(np.concatenate([np.asarray(pictures[index]) for index in chosen]))
    palette = sampled.quantize(256, Image.Quantize.MEDIANCUT)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
