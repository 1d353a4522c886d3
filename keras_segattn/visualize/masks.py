"""Masks laid over their pictures, pixel for pixel."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Patch
from PIL import Image

from keras_segattn.visualize.colours import palette
from keras_segattn.visualize.figure import DPI, names_of, reduced, reduction, shortened, to_image

# Smaller pictures are enlarged until their longer side has at least this many pixels: a single picture, and
# pictures in a row.
_ALONE, _IN_A_ROW = 512, 320
# Pictures larger than this get larger letters too.
_LARGE = 1024
# Largest numbers of classes in a legend, and of its columns.
_ENTRIES, _COLUMNS = 40, 12
_MARGIN = 12  # pixels around and between pictures; they grow with the letters


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    labels: Sequence[str] | None = None,
    colors: np.ndarray | None = None,
    alpha: float = 0.5,
    ignore_label: int | None = 255,
    clear: int | None = None,
) -> Image.Image:
    """Tint a picture by its classes and, with `labels`, add a legend of those that occur and their shares of pixels.

    Args:
        image: uint8 `(height, width, 3)`, RGB.
        mask: integers `(height, width)`: 0..classes-1 or `ignore_label`.
        labels: names of the classes; `None` draws no legend.
        colors: uint8 `(classes, 3)`, RGB; `None` for `palette(classes)`.
        alpha: opacity of the colours: 0 shows the picture only, 1 the colours only.
        ignore_label: label of pixels that are not tinted; `None` if there is none.
        clear: class whose pixels are not tinted either, such as `background_of(labels)`; `None` tints all classes.

    Returns:
        RGB image. Each pixel of a small picture becomes a square, so that the longer side has at least 512 pixels; a
        picture of more than 12 megapixels is drawn smaller. The legend holds the 40 largest classes.

    Raises:
        ValueError: if shape, dtype, a label or alpha is wrong.

    Example:
        >>> save(overlay(image, mask, labels=["sea", "land"]), "overlay.png")
        >>> save(overlay(image, mask, labels=["background", "cat"], clear=0), "cats.png")
    """
    image = _checked_image(image)
    mask = _checked_mask("mask", mask, image)
    table = _colours([mask], labels, colors, ignore_label, clear)
    image, mask = _reduced(image, mask)
    tinted = _enlarged(_tinted(image, mask, table, alpha, ignore_label, clear), _ALONE)
    if labels is None:
        return Image.fromarray(tinted)
    occurring, counts = np.unique(mask, return_counts=True)
    shares = dict(zip(occurring.tolist(), (counts / mask.size).tolist(), strict=True))
    titles = {label: f"{_name(label, labels, ignore_label)} {_percent(share)}" for label, share in shares.items()}
    return _page({"": tinted}, *_largest(titles, shares), table)


def side_by_side(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    labels: Sequence[str] | None = None,
    colors: np.ndarray | None = None,
    alpha: float = 0.6,
    ignore_label: int | None = 255,
    clear: int | None = None,
) -> Image.Image:
    """Show a picture beside itself tinted by its true and by its predicted classes; with `labels`, add a legend.

    Args:
        image: uint8 `(height, width, 3)`, RGB.
        truth: integers `(height, width)`: 0..classes-1 or `ignore_label`.
        prediction: integers `(height, width)`: 0..classes-1 or `ignore_label`.
        labels: names of the classes; `None` draws no legend.
        colors: uint8 `(classes, 3)`, RGB; `None` for `palette(classes)`.
        alpha: opacity of the colours: 0 shows the picture only, 1 the colours only.
        ignore_label: label of pixels that are not tinted; `None` if there is none.
        clear: class whose pixels are not tinted either, such as `background_of(labels)`; `None` tints all classes.

    Returns:
        RGB image. Each pixel of a small picture becomes a square; pictures above 12 megapixels are drawn smaller.
        The legend holds the classes that occur, at most the 40 largest.

    Raises:
        ValueError: if shape, dtype, a label or alpha is wrong.

    Example:
        >>> save(side_by_side(image, truth, prediction, labels=["sea", "land"]), "comparison.png")
    """
    image = _checked_image(image)
    masks = {
        "truth": _checked_mask("truth", truth, image),
        "prediction": _checked_mask("prediction", prediction, image),
    }
    table = _colours(list(masks.values()), labels, colors, ignore_label, clear)
    image, *smaller = _reduced(image, *masks.values())
    masks = dict(zip(masks, smaller, strict=True))
    panels = {"image": image}
    panels |= {title: _tinted(image, mask, table, alpha, ignore_label, clear) for title, mask in masks.items()}
    found, counts = np.unique(np.stack(list(masks.values())), return_counts=True)
    occurring = dict(zip(found.tolist(), counts.tolist(), strict=True))
    titles = {} if labels is None else {label: _name(label, labels, ignore_label) for label in occurring}
    return _page(
        {title: _enlarged(panel, _IN_A_ROW) for title, panel in panels.items()}, *_largest(titles, occurring), table
    )


def background_of(labels: Sequence[str] | None) -> int | None:
    """Return the number of the class called background, in any case, also between underscores; `None` without one.

    Example:
        >>> background_of(["__background__", "aeroplane", "bicycle"])
        0
    """
    names = [label.strip("_ ").casefold() for label in labels or ()]
    return names.index("background") if "background" in names else None


def _reduced(image: np.ndarray, *masks: np.ndarray) -> list[np.ndarray]:
    """Return a picture and its masks, smaller if they have too many pixels."""
    factor = reduction(image.shape)
    return [reduced(image, factor), *(mask[::factor, ::factor] for mask in masks)]


def _largest(titles: dict[int, str], sizes: Mapping[int, float]) -> tuple[dict[int, str], str]:
    """Return the entries of a legend, in the order of the labels, and a note on those that are left out."""
    kept = sorted(sorted(titles, key=lambda label: -sizes[label])[:_ENTRIES])
    note = "" if len(kept) == len(titles) else f"the {len(kept)} largest of {len(titles)} classes"
    return {label: titles[label] for label in kept}, note


def _checked_image(image: Any) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(f"expected a uint8 image (height, width, 3), received {image.dtype} {image.shape}")
    return image


def _checked_mask(name: str, mask: Any, image: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask)
    if not np.issubdtype(mask.dtype, np.integer) or mask.shape != image.shape[:2]:
        raise ValueError(f"{name}: expected integers {image.shape[:2]}, received {mask.dtype} {mask.shape}")
    return mask.astype(np.int64)


def _colours(
    masks: Sequence[np.ndarray],
    labels: Sequence[str] | None,
    colors: Any,
    ignore_label: int | None,
    clear: int | None,
) -> np.ndarray:
    """Return the given colours, else one per label, else as many as the masks need; white for the class `clear`."""
    if colors is None:
        needed = 1 + max(int(mask[mask != ignore_label].max(initial=clear or 0)) for mask in masks)
        colors = palette(needed if labels is None else len(labels))
    colors = np.asarray(colors)
    if colors.dtype != np.uint8 or colors.ndim != 2 or colors.shape[1] != 3:
        raise ValueError(f"expected uint8 colors (classes, 3), received {colors.dtype} {colors.shape}")
    names_of(len(colors), labels)
    if clear is not None:
        if clear not in range(len(colors)):
            raise ValueError(f"clear must be a class 0..{len(colors) - 1}, received {clear!r}")
        colors = colors.copy()
        colors[clear] = 255
    return colors


def _tinted(
    image: np.ndarray,
    mask: np.ndarray,
    colours: np.ndarray,
    alpha: float,
    ignore_label: int | None,
    clear: int | None,
) -> np.ndarray:
    """Compute `(1 - alpha) image + alpha colour`, except for ignored pixels and pixels of the class `clear`."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in 0..1, received {alpha!r}")
    counted = np.ones(mask.shape, bool) if ignore_label is None else mask != ignore_label
    wrong = mask[counted & ((mask < 0) | (mask >= len(colours)))]
    if wrong.size:
        ignored = "" if ignore_label is None else f" or {ignore_label}"
        raise ValueError(f"expected labels 0..{len(colours) - 1}{ignored}, received a mask that holds {wrong[0]}")
    covered = counted if clear is None else counted & (mask != clear)
    tinted = image.copy()
    tinted[covered] = np.rint((1 - alpha) * image[covered] + alpha * colours[mask[covered]]).astype(np.uint8)
    return tinted


def _enlarged(picture: np.ndarray, size: int) -> np.ndarray:
    factor = -(-size // max(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _name(label: int, labels: Sequence[str], ignore_label: int | None) -> str:
    return "ignored" if label == ignore_label else shortened(str(labels[label]))


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def _page(panels: Mapping[str, np.ndarray], entries: Mapping[int, str], note: str, colours: np.ndarray) -> Image.Image:
    """Draw pictures of one size in a row, a title above each, a legend below all; no pixel is resampled."""
    height, width = next(iter(panels.values())).shape[:2]
    scale = max(1.0, max(height, width) / _LARGE)
    margin, title_height = round(scale * _MARGIN), round(scale * 24) if any(panels) else 0
    row = len(panels) * (width + margin) + margin
    dpi = scale * DPI
    figure = Figure((row / dpi, 1), dpi=dpi, facecolor="white")
    legend = _legend(figure, entries, note, colours) if entries else None
    box = (0, 0) if legend is None else np.ceil(legend.get_window_extent().size).astype(int)
    page_width, below = max(row, box[0]), box[1] + margin // 2 if box[1] else margin
    page_height = below + height + title_height + margin
    # Half a pixel more, because Agg truncates sizes to whole pixels.
    figure.set_size_inches((page_width + 0.5) / dpi, (page_height + 0.5) / dpi)
    for i, (title, picture) in enumerate(panels.items()):
        left = (page_width - row) // 2 + margin + i * (width + margin)
        figure.figimage(picture, left, below, origin="upper")
        middle = ((left + width / 2) / page_width, (below + height + title_height / 2) / page_height)
        figure.text(*middle, title, ha="center", va="center", fontsize=11)
    return to_image(figure)


def _legend(figure: Figure, entries: Mapping[int, str], note: str, colours: np.ndarray) -> Legend:
    """Draw the legend at the bottom, one patch of colour per class, in as many columns as fit, under the note."""
    ignored = {"facecolor": "white", "hatch": "////"}
    handles = [
        Patch(edgecolor="0.4", **({"facecolor": colours[label] / 255} if 0 <= label < len(colours) else ignored))
        for label in entries
    ]
    for columns in range(min(len(entries), _COLUMNS), 0, -1):
        legend = figure.legend(
            handles,
            [""] * len(entries),
            title=note or None,
            loc="lower center",
            ncols=columns,
            frameon=False,
            borderaxespad=0.2,
        )
        for text, entry in zip(legend.get_texts(), entries.values(), strict=True):
            text.set(text=entry, parse_math=False)  # names are not formulae
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    return legend
