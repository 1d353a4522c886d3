"""Confusion matrices, training curves and other line charts as pictures."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from keras_segattn.visualize.figure import DPI, cut_note, names_of, shortened, to_image

# More classes than this leave no room for a number in every cell.
_NUMBERED = 15
# Relative luminance on which black and white letters have the same contrast (WCAG 2.1): √(1.05 · 0.05) - 0.05.
_MIDDLE_GREY = 0.179
# Largest numbers of classes with a name at an axis, of lines in a legend, and of points of a line.
_NAMED, _LISTED, _POINTS = 100, 24, 2000
# Largest number of charts side by side.
_CHARTS = 12
_PANELS = ("loss", "scores", "learning rate")
# The colours of Okabe and Ito that are visible on white.
_LINES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"


def confusion_matrix(confusion: np.ndarray, *, labels: Sequence[str] | None = None) -> Image.Image:
    """Draw a confusion matrix, coloured by shares of each true class, so that rare classes are visible too.

    Args:
        confusion: non-negative counts `(classes, classes)`; rows are true classes, columns predicted ones.
        labels: names of the classes; `None` shows their numbers.

    Returns:
        RGB image. With up to 15 classes, every cell shows its share of the row and its count; the row of a class that
        does not occur is grey.

    Raises:
        ValueError: if the matrix is not square, holds a negative or infinite count, or does not fit the number of
            labels.

    Example:
        >>> save(confusion_matrix([[90, 10], [5, 45]], labels=["sea", "land"]), "confusion.png")
    """
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or not confusion.size:
        raise ValueError(f"expected a square confusion matrix, received shape {confusion.shape}")
    if confusion.dtype.kind not in "iuf" or not (np.isfinite(confusion).all() and (confusion >= 0).all()):
        worst = confusion.min() if confusion.dtype.kind in "iuf" else "no number"
        raise ValueError(f"expected non-negative counts, received {confusion.dtype} {worst}")
    classes = len(confusion)
    names = names_of(classes, labels)
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)

    numbered = classes <= _NUMBERED
    side = max(3.0, (0.85 if numbered else 0.28) * min(classes, _NAMED))
    step = -(-classes // _NAMED)
    named = "" if step == 1 else f" (each {step}th is named)"
    figure = _new_figure(side + 2.0, side + 1.2)
    axes = figure.subplots()
    axes.set_facecolor("0.85")
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes, label="share of the true class", shrink=0.8)
    places, shown = range(0, classes, step), names[::step]
    axes.set_xticks(places, shown, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(places, shown, parse_math=False)
    axes.set_xlabel(f"predicted class{named}")
    axes.set_ylabel(f"true class{named}")
    if numbered:
        for (row, column), share in np.ndenumerate(shares):
            text = f"{_share(share)}\n{_count(float(confusion[row, column]))}"
            dark = not math.isnan(share) and _luminance(picture.to_rgba(share)) < _MIDDLE_GREY
            colour = "white" if dark else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    return to_image(figure)


def training_curves(history: Mapping[str, Sequence[float]] | str | os.PathLike[str]) -> Image.Image:
    """Draw losses, scores and learning rate by epoch, with solid lines for training, dashed for validation (`val_…`).

    Args:
        history: log name → one value per epoch, as `keras.callbacks.History.history` holds it, or the path of a CSV
            file with such columns after a column `epoch`, as `keras.callbacks.CSVLogger` and `training.train_segmenter`
            write it.

    Returns:
        RGB image with one panel each for losses, scores and learning rate, as far as they are logged.

    Raises:
        ValueError: if there is no epoch, the columns differ in length, or the file is not such a table.

    Example:
        >>> save(training_curves("run/history.csv"), "training.png")
    """
    series = dict(history) if isinstance(history, Mapping) else _read(Path(history))
    epochs = list(series.pop("epoch", ()))
    lengths = {len(values) for values in series.values()}
    if len(lengths) != 1 or 0 in lengths:
        found = {name: len(values) for name, values in series.items()}
        raise ValueError(f"expected the same number of values, at least one, of every log, received {found}")
    # Keras counts epochs from 0 in its files; people count from 1.
    first = 1 if not epochs else int(epochs[0]) + (int(epochs[0]) == 0)
    steps = range(first, first + lengths.pop())

    panels = {title: [name for name in series if _panel(name) == title] for title in _PANELS}
    panels = {title: names for title, names in panels.items() if names}
    figure = _new_figure(5.2 * len(panels), 4.2)
    for axes, (title, names) in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels.items(), strict=True):
        bare = list(dict.fromkeys(name.removeprefix("val_") for name in names))
        for name in names:
            colour = _LINES[bare.index(name.removeprefix("val_")) % len(_LINES)]
            style = "--" if name.startswith("val_") else "-"
            line = _thinned(steps, series[name])
            axes.plot(*line, style, color=colour, marker="o", markersize=3, label=shortened(_title(name)))
        _finish(axes, title)
    return to_image(figure)


class Panel(NamedTuple):
    """One chart of several lines.

    Args:
        title: title above the chart.
        lines: name → (values along x, values along y) of equal length; NaN leaves a gap.
        x_label: label of the x axis.
        logarithmic: whether x is shown on a logarithmic scale.
    """

    title: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    x_label: str = "epoch"
    logarithmic: bool = False


def line_charts(panels: Sequence[Panel]) -> Image.Image:
    """Draw charts side by side over one legend; lines of the same name have the same colour in all charts.

    Args:
        panels: charts, at least one, each with at least one line; of more than 12, the first are drawn, with a note.

    Returns:
        RGB image.

    Raises:
        ValueError: if there is nothing to draw, or x and y of a line differ in length.

    Example:
        >>> runs = {"smoothed": ([1, 2], [0.81, 0.86]), "one-hot": ([1, 2], [0.80, 0.84])}
        >>> save(line_charts([Panel("test accuracy", runs)]), "runs.png")
    """
    if not panels or not all(panel.lines for panel in panels):
        raise ValueError(f"expected at least one panel, each of at least one line, received {panels!r}")
    note = cut_note(_CHARTS, len(panels), "charts")
    panels = panels[:_CHARTS]
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    figure = _new_figure(4.8 * len(panels), 4.4)
    if note:
        figure.suptitle(note)
    handles: dict[str, Line2D] = {}
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        for name, (x, y) in panel.lines.items():
            if len(x) != len(y) or not len(x):
                raise ValueError(f"{name!r} of {panel.title!r}: expected as many x as y, received {len(x)}, {len(y)}")
            number = names.index(name)
            style = {"color": _LINES[number % len(_LINES)], "marker": _MARKERS[number % len(_MARKERS)]}
            handles[name] = axes.plot(*_thinned(x, y), markersize=5, label=name, **style)[0]
        _frame(axes, panel.title, panel.x_label)
        if panel.logarithmic:
            axes.set_xscale("log")
        elif panel.x_label == "epoch":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    listed = names[:_LISTED]
    figure.legend(
        [handles[name] for name in listed],
        [shortened(name) for name in listed],
        title=_note(names),
        loc="outside lower center",
        ncols=min(4, len(listed)),
        frameon=False,
    )
    return to_image(figure)


def _new_figure(width: float, height: float) -> Figure:
    """Make a figure of a size in inches, whose layout fits everything in and leaves a margin."""
    return Figure((width, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def _frame(axes: Axes, title: str, x_label: str) -> None:
    axes.set_title(shortened(title))
    axes.set_xlabel(x_label)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)


def _finish(axes: Axes, title: str) -> None:
    _frame(axes, title, "epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    lines = axes.get_lines()
    axes.legend(
        handles=lines[:_LISTED],
        title=_note(lines),
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=1 if len(lines) < 4 else 2,
        frameon=False,
        fontsize=9,
    )


def _thinned(x: Sequence[float], y: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    """Return every n-th point of a line, so that few enough remain to draw."""
    step = -(-len(x) // _POINTS)
    return x[::step], y[::step]


def _note(lines: Sequence[object]) -> str | None:
    """Return the title of a legend that leaves out lines, or `None`."""
    return cut_note(_LISTED, len(lines), "lines") or None


def _panel(name: str) -> str:
    if "loss" in name:
        return "loss"
    return "learning rate" if name in ("learning_rate", "lr") else "scores"


def _title(name: str) -> str:
    if _panel(name) == "learning rate":
        return "learning rate"
    title = name.removeprefix("val_").replace("_", " ").replace("iou", "IoU")
    return f"validation {title}" if name.startswith("val_") else f"training {title}"


def _luminance(colour: np.ndarray) -> float:
    """Compute the relative luminance, 0..1, of an sRGB colour."""
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _share(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def _count(count: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= size:
            return f"{count / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{count:g}"


def _read(path: Path) -> dict[str, list[float]]:
    """Read the columns of a CSV file; an empty cell, or Keras' NA, is NaN."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows, header = list(reader), list(reader.fieldnames or ())
    if header[:1] != ["epoch"]:
        raise ValueError(f"{path}: expected a header that starts with epoch, received {header}")
    columns: dict[str, list[float]] = {name: [] for name in header}
    for number, row in enumerate(rows, start=2):
        for name, values in columns.items():
            cell = row[name]
            try:
                values.append(math.nan if cell in ("", "NA") else float(cell))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {number}: {name} is {cell!r}, expected a number") from error
    return columns
