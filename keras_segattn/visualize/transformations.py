"""Pictures of spatial transformers: the points that they read, drawn on the picture, and their output."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.ops.grids import control_points
from keras_segattn.visualize.colours import palette
from keras_segattn.visualize.figure import PANELS, cut_note, shortened

# Smaller pictures are enlarged until their longer side, with the margin, has this many pixels: a single picture, and
# each of several.
ALONE, OF_SEVERAL = 512, 160
# Limits of the margin around a picture, which shows points outside of the picture, as a share of its side.
LEAST_MARGIN, MOST_MARGIN = 0.08, 0.5
CELLS = 4
MARGIN_COLOUR = (96, 96, 96)
_COLOURS = [tuple(colour.tolist()) for colour in palette(8)]
UPPER, GRID, POINT = _COLOURS[1], _COLOURS[6], _COLOURS[4]  # orange, sky blue, yellow
# Lines are drawn at this many times the size and then reduced, but on a page of at most this many pixels a side.
_FINER, _FINEST = 4, 4096
# Pixels between the pictures of a pair, where an arrow is drawn, between pairs, and of a line of text.
_INNER, _OUTER, _TEXT = 16, 20, 22


def sampled_grid(
    image: np.ndarray,
    grid: np.ndarray,
    *,
    offsets: np.ndarray | None = None,
    points: tuple[int, int] = (4, 4),
    align_corners: bool = True,
    cells: int | None = None,
    margin: float | None = None,
    size: int | None = None,
) -> Image.Image:
    """Draw on a picture the points that a spatial transformer reads: the outline of its grid, and some of its lines.

    The outline is the frame of the transformer's output: its upper edge is orange, the other edges are blue.

    Args:
        image: uint8 or float 0..1, `(height, width)`, `(height, width, 1)` or `(height, width, 3)`.
        grid: points (x, y) `(rows, columns, 2)` from -1 to 1, as `layers.SpatialTransformer.grid` gives them.
        offsets: offsets (x, y) of a thin-plate spline's control points, as in the transformer's parameters. A dot shows
            where the picture is read for a control point, a line leads to it from a ring where it would be read without
            the offset.
        points: (rows, columns) of the control points.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, as in the transformer.
        cells: number of parts into which lines divide the grid, each way; `None` is 4 or, with offsets, the number with
            which the lines pass through the control points.
        margin: margin around the picture, as a share of its sides; points further outside are cut off. `None` is the
            margin that the grid needs, from 0.08 to 0.5.
        size: number of pixels of the longer side, with the margin; `None` enlarges small pictures to 512.

    Returns:
        RGB image.

    Raises:
        ValueError: if a shape, dtype or value is wrong.

    Example:
        >>> layer = model.get_layer("st")
        >>> grids = layer.grid(model(images)["theta"], layer.output_size or images.shape[1:3])
        >>> save(sampled_grid(images[0], grids[0]), "grid.png")
    """
    image, grid = _picture(image), _grid(grid)
    check_choice("align_corners", align_corners, (True, False))
    if cells is not None:
        check_positive_integer("cells", cells)
    control = None if offsets is None else _control(offsets, points)
    parts = (cells or CELLS,) * 2 if cells or control is None else (points[0] - 1, points[1] - 1)
    margin = margin_of([grid], align_corners, image.shape) if margin is None else margin
    if not 0 <= margin <= 10:
        raise ValueError(f"margin must be a share in 0..10, received {margin!r}")
    if size is None:
        size = max(ALONE, round(max(image.shape[:2]) * (1 + 2 * margin)))
    check_positive_integer("size", size)
    finer = max(1, min(_FINER, _FINEST // size))
    height, width = (max(1, round(size * side / max(image.shape[:2]))) * finer for side in image.shape[:2])
    left, top = (round(side * margin / (1 + 2 * margin)) for side in (width, height))
    inner = (max(1, width - 2 * left), max(1, height - 2 * top))
    page = Image.new("RGB", (width, height), MARGIN_COLOUR)
    method = Image.Resampling.NEAREST if inner[0] >= image.shape[1] else Image.Resampling.LANCZOS
    page.paste(Image.fromarray(image).resize(inner, method), (left, top))

    def placed(where: np.ndarray) -> np.ndarray:
        """Convert points to pixels of the page; very distant ones are clipped to numbers that Pillow can draw."""
        shares = _shares(where, image.shape, align_corners)
        return np.clip(shares * inner + (left, top), -8 * size * finer, 8 * size * finer) - 0.5

    pen, thick = ImageDraw.Draw(page), max(2.0, size / 110) * finer
    _draw_lines(pen, placed(grid), parts, thick)
    if control is not None:
        _draw_points(pen, placed(control[0]), placed(control[1]), thick)
    return page.reduce(finer)


def transformer_panels(
    images: Sequence[np.ndarray] | np.ndarray,
    grids: Sequence[np.ndarray] | np.ndarray,
    transformed: Sequence[np.ndarray] | np.ndarray,
    titles: Sequence[str] | None = None,
    *,
    heading: str = "",
    columns: int = 1,
    offsets: Sequence[np.ndarray] | np.ndarray | None = None,
    points: tuple[int, int] = (4, 4),
    align_corners: bool = True,
    cells: int | None = None,
    margin: float | None = None,
    size: int = OF_SEVERAL,
) -> Image.Image:
    """Draw pictures with the grids of a spatial transformer, each beside the transformer's output.

    The frames of the outputs have the colours of the grids' outlines.

    Args:
        images: pictures of one shape, see `sampled_grid`; of more than 120, the first are drawn, with a note.
        grids: `(n, rows, columns, 2)`, one grid per picture.
        transformed: outputs of the transformer, pictures like `images` of any one size.
        titles: titles above the pairs, such as the predicted classes.
        heading: text above all pairs.
        columns: number of pairs in a row.
        offsets: offsets of each picture's control points, see `sampled_grid`.
        points: (rows, columns) of the control points.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, as in the transformer.
        cells: number of parts into which lines divide each grid, see `sampled_grid`.
        margin: margin around each picture, see `sampled_grid`; `None` is the margin that all grids need.
        size: number of pixels of a picture's longer side, with the margin.

    Returns:
        RGB image.

    Raises:
        ValueError: if a shape, dtype or value is wrong, or the arguments differ in their number of pictures.

    Example:
        >>> found = model(images)
        >>> titles = [f"read as {number}" for number in np.argmax(found["logits"], axis=-1)]
        >>> page = transformer_panels(images, layer.grid(found["theta"], (28, 28)), found["transformed"], titles)
    """
    count = len(images)
    given = {"grids": grids, "transformed": transformed, "titles": titles, "offsets": offsets}
    received = {name: len(values) for name, values in given.items() if values is not None}
    if not count or set(received.values()) != {count}:
        raise ValueError(f"expected pictures, and as many of all else, received {count} and {received}")
    check_positive_integer("columns", columns)
    grids = [_grid(grid) for grid in grids]
    if margin is None:
        margin = margin_of(grids, align_corners, np.shape(images[0]))
    pairs = []
    for number, (image, grid, warped) in enumerate(zip(images[:PANELS], grids, transformed, strict=False)):
        drawn = sampled_grid(
            image,
            grid,
            offsets=None if offsets is None else offsets[number],
            points=points,
            align_corners=align_corners,
            cells=cells,
            margin=margin,
            size=size,
        )
        pairs.append((drawn, _framed(_picture(warped), drawn.height)))
    note = cut_note(PANELS, count, "pictures")
    return _page(pairs, titles, ", ".join(filter(None, (heading, note))), min(columns, len(pairs)))


def margin_of(grids: Sequence[np.ndarray], align_corners: bool, shape: Sequence[int]) -> float:
    """Compute the share of a picture's side, from 0.08 to 0.5, by which grids reach beyond it."""
    shares = np.stack([_shares(grid, shape, align_corners) for grid in grids])
    beyond = max(float(-shares.min()), float(shares.max()) - 1)
    return min(MOST_MARGIN, max(LEAST_MARGIN, beyond + LEAST_MARGIN / 2))


def _shares(where: np.ndarray, shape: Sequence[int], align_corners: bool) -> np.ndarray:
    """Convert normalised points to shares of a picture's width and height, whose outer edges are 0 and 1."""
    sides = np.array([shape[1], shape[0]], "float64")
    # -1 and 1 are the centres of the outermost pixels, or their outer edges.
    return ((where + 1) / 2 * (sides - 1) + 0.5) / sides if align_corners else (where + 1) / 2


def _draw_lines(pen: ImageDraw.ImageDraw, grid: np.ndarray, parts: tuple[int, int], thick: float) -> None:
    """Draw the inner lines, then the outline, its upper edge last."""
    rows, columns = (
        np.linspace(0, count - 1, cells + 1).round().astype(int)[1:-1]
        for count, cells in zip(grid.shape[:2], parts, strict=True)
    )
    thin = [*grid[rows], *grid[:, columns].transpose(1, 0, 2)]
    for line in thin:
        _draw_line(pen, line, GRID, thick / 3)
    for line, colour in ((grid[:, 0], GRID), (grid[:, -1], GRID), (grid[-1], GRID), (grid[0], UPPER)):
        _draw_line(pen, line, colour, thick)


def _draw_line(pen: ImageDraw.ImageDraw, line: np.ndarray, colour: tuple[int, ...], width: float) -> None:
    path = [(float(x), float(y)) for x, y in line]
    pen.line(path, fill=colour, width=max(1, round(width)), joint="curve")
    for x, y in (path[0], path[-1]):  # round ends, so that corners have no gaps
        pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=colour)


def _draw_points(pen: ImageDraw.ImageDraw, before: np.ndarray, after: np.ndarray, thick: float) -> None:
    for start, end in zip(before, after, strict=True):
        _draw_line(pen, np.stack([start, end]), POINT, thick / 2)
    for places, radius, fill in ((before, 1.1 * thick, MARGIN_COLOUR), (after, 1.7 * thick, POINT)):
        for x, y in places.tolist():
            box = (x - radius, y - radius, x + radius, y + radius)
            outline = POINT if fill is MARGIN_COLOUR else (0, 0, 0)
            pen.ellipse(box, fill=fill, outline=outline, width=max(1, round(thick / 3)))


def _framed(picture: np.ndarray, height: int) -> Image.Image:
    """Scale a picture to a height, within a frame in the colours of a grid's outline."""
    thick = max(2, round(height / 80))
    inner = height - 2 * thick
    width = max(1, round(inner * picture.shape[1] / picture.shape[0]))
    page = Image.new("RGB", (width + 2 * thick, height), GRID)
    page.paste(UPPER, (0, 0, page.width, thick))
    method = Image.Resampling.NEAREST if inner >= picture.shape[0] else Image.Resampling.LANCZOS
    page.paste(Image.fromarray(picture).resize((width, inner), method), (thick, thick))
    return page


def _page(
    pairs: Sequence[tuple[Image.Image, Image.Image]], titles: Sequence[str] | None, heading: str, columns: int
) -> Image.Image:
    """Arrange pairs in a grid, a title above each."""
    width = max(left.width + _INNER + right.width for left, right in pairs) + _OUTER
    height = pairs[0][0].height + _OUTER // 2 + (_TEXT if titles is not None else 0)
    top = _OUTER // 2 + (_TEXT + 4 if heading else 0)
    size = (columns * width + _OUTER, -(-len(pairs) // columns) * height + top)
    page = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(page)
    pen.text((_OUTER, _OUTER // 2), shortened(heading), fill="black", font=ImageFont.load_default(size=18))
    for number, (left, right) in enumerate(pairs):
        x, y = _OUTER + number % columns * width, top + number // columns * height
        if titles is not None:
            pen.text((x, y + 1), shortened(titles[number]), fill="black", font=ImageFont.load_default(size=14))
            y += _TEXT
        page.paste(left, (x, y))
        page.paste(right, (x + left.width + _INNER, y))
        x, y = x + left.width, y + left.height // 2
        pen.polygon([(x + 4, y - 6), (x + _INNER - 4, y), (x + 4, y + 6)], fill="black")
    return page


def _picture(image: Any) -> np.ndarray:
    """Convert a picture to uint8 `(height, width, 3)`."""
    image = np.asarray(image)
    channels = image.shape[2] if image.ndim == 3 else 1
    known = image.dtype == np.uint8 or image.dtype.kind == "f"
    if not known or image.ndim not in (2, 3) or channels not in (1, 3) or not image.size:
        expected = "a picture uint8 or float (height, width), (height, width, 1) or (height, width, 3)"
        raise ValueError(f"expected {expected}, received {image.dtype} {image.shape}")
    if image.dtype.kind == "f":
        if not (image.min() >= -1e-3 and image.max() <= 1 + 1e-3):
            raise ValueError(f"expected a float picture within 0..1, received {image.min()} to {image.max()}")
        image = np.rint(255 * image.clip(0, 1)).astype("uint8")
    return np.broadcast_to(image.reshape(*image.shape[:2], channels), (*image.shape[:2], 3)).copy()


def _grid(grid: Any) -> np.ndarray:
    grid = np.asarray(grid, "float64")
    if grid.ndim != 3 or grid.shape[-1] != 2 or min(grid.shape) < 2 or not np.isfinite(grid).all():
        finite = "finite" if np.isfinite(grid).all() else "NaN or infinite"
        raise ValueError(f"expected a grid (rows, columns, 2) of finite points, received {finite} {grid.shape}")
    return grid


def _control(offsets: Any, points: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the control points without their offsets and with them."""
    before, offsets = control_points(points), np.asarray(offsets, "float64")
    if offsets.size != before.size or not np.isfinite(offsets).all():
        raise ValueError(f"expected finite offsets (x, y) of {len(before)} points, received shape {offsets.shape}")
    return before, before + offsets.reshape(before.shape)
