"""Pictures of attention: alignments of two sentences, and the words of a caption over their picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from keras_segattn.visualize.figure import DPI, reduced, reduction, shortened, to_image
from keras_segattn.visualize.panels import CELL, panels

# Largest number of tokens of an alignment on each side, and of words over a picture.
TOKENS, WORDS = 100, 60
# Inches for each token of an alignment, and for the words beside it.
TOKEN, MARGIN = 0.32, 1.6
# Share of the picture's brightness that remains where a word does not attend at all.
DARKEST = 0.15
COLUMNS = 5


def alignment(weights: np.ndarray, source: Sequence[str], target: Sequence[str]) -> Image.Image:
    """Draw an alignment, one row per word written and one column per word read (Bahdanau et al. 2015, figure 3).

    Args:
        weights: attention `(T, S)`, from 0, drawn black, to 1, drawn white.
        source: S tokens that were read.
        target: T tokens that were written.

    Returns:
        RGB image; of longer sentences it shows the first 100 tokens, and says so.

    Raises:
        ValueError: if the weights are not `(T, S)` or not within 0..1.

    Example:
        >>> save(alignment(weights, ["ein", "Hund"], ["a", "dog"]), "alignment.png")
    """
    weights = np.asarray(weights)
    if weights.shape != (len(target), len(source)) or not weights.size:
        raise ValueError(f"expected weights of shape {(len(target), len(source))}, received {weights.shape}")
    _check(weights)
    counts = [(len(target), "written"), (len(source), "read")]
    weights = weights[:TOKENS, :TOKENS]
    source, target = ([shortened(token) for token in tokens[:TOKENS]] for tokens in (source, target))
    size = (max(2.5, TOKEN * len(source) + MARGIN), max(1.5, TOKEN * len(target) + MARGIN))
    figure = Figure(figsize=size, dpi=DPI, layout=ConstrainedLayoutEngine())
    axes = figure.add_subplot()
    axes.imshow(weights, cmap="gray", vmin=0, vmax=1)
    axes.xaxis.tick_top()
    # Tokens are plain text: a dollar sign in one does not start a formula.
    axes.set_xticks(range(len(source)), source, rotation=90, parse_math=False)
    axes.set_yticks(range(len(target)), target, parse_math=False)
    axes.tick_params(length=0)
    notes = [f"the first {TOKENS} of {count} tokens {verb}" if count > TOKENS else "" for count, verb in counts]
    axes.set_ylabel(notes[0])
    axes.set_xlabel(notes[1])
    return to_image(figure)


def attended_words(
    image: np.ndarray, words: Sequence[str], weights: np.ndarray, grid: tuple[int, int] | None = None
) -> Image.Image:
    """Draw a picture once per word of its caption, bright where the word attended (Xu et al. 2015, figure 3).

    Args:
        image: uint8 `(height, width, 3)`.
        words: T words of the caption.
        weights: attention `(T, L)`, row by row of the grid.
        grid: (rows, columns) of the locations; `None` for a square.

    Returns:
        RGB image: the picture, then one panel per word, titled with the word and its largest weight; of longer captions
        it shows the first 60 words, and says so.

    Raises:
        ValueError: if a shape is wrong, or the weights are not within 0..1.

    Example:
        >>> save(attended_words(image, ["a", "dog"], weights), "caption.png")
    """
    image, weights = np.asarray(image), np.asarray(weights, "float32")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"expected a picture uint8 (height, width, 3), received {image.dtype} {image.shape}")
    if weights.ndim != 2 or len(weights) != len(words) or not weights.size:
        raise ValueError(f"expected weights (words, locations) of {len(words)} words, received {weights.shape}")
    _check(weights)
    side = round(weights.shape[1] ** 0.5)
    rows, columns = grid or (side, side)
    if rows * columns != weights.shape[1]:
        raise ValueError(f"expected a grid of {weights.shape[1]} locations, received {(rows, columns)}")
    cells = [("" if len(words) <= WORDS else f"the first {WORDS} of {len(words)} words", image)]
    image = reduced(image, reduction(image.shape, (4 * CELL) ** 2))
    for word, map_ in zip(words[:WORDS], weights[:WORDS].reshape(-1, rows, columns), strict=True):
        light = map_ / max(float(map_.max()), 1e-12)
        smooth = Image.fromarray(light).resize(image.shape[1::-1], Image.Resampling.BICUBIC)
        factor = DARKEST + (1 - DARKEST) * np.asarray(smooth).clip(0, 1)[..., None]
        cells.append((f"{shortened(word)}  {map_.max():.2f}", np.round(image * factor).astype("uint8")))
    return panels(cells, columns=min(COLUMNS, len(cells)))


def _check(weights: np.ndarray) -> None:
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() <= 1 + 1e-5):
        raise ValueError(f"expected weights within 0..1, received {weights.min()} to {weights.max()}")
