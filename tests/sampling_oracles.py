"""Spatial transformers in NumPy, one point at a time, and their gradients on any backend."""

import keras
import numpy as np


def pixel(coordinate, size, padding, align_corners):
    """Convert a normalised coordinate to pixels after padding; return it with its derivative."""
    scale = (size - 1) / 2 if align_corners else size / 2
    position = scale * (coordinate + 1) - (0 if align_corners else 0.5)
    if padding == "zeros":
        return position, scale
    if padding == "reflection":
        low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
        while not low <= position <= high and high > low:
            position = 2 * (low if position < low else high) - position
            scale = -scale
    return (position, scale) if 0 < position < size - 1 else (min(max(position, 0), size - 1), 0.0)


def sample(images, grid, upstream, padding, align_corners):
    """Compute equations 3 and 5 at normalised points, and the gradients 6 and 7 of their sum weighted by `upstream`."""
    images, grid, upstream = (np.asarray(x, "float64") for x in (images, grid, upstream))
    value, to_images, to_grid = np.zeros(upstream.shape), np.zeros(images.shape), np.zeros(grid.shape)
    _, height, width, _ = images.shape
    m, n = np.arange(width), np.arange(height)
    for place in np.ndindex(grid.shape[:-1]):
        image = images[place[0]]
        (x, x_scale), (y, y_scale) = (
            pixel(coordinate, size, padding, align_corners)
            for coordinate, size in zip(grid[place], (width, height), strict=True)
        )
        across, down = np.maximum(0, 1 - np.abs(x - m)), np.maximum(0, 1 - np.abs(y - n))
        value[place] = np.einsum("nmc,n,m->c", image, down, across)
        to_images[place[0]] += np.einsum("c,n,m->nmc", upstream[place], down, across)
        x_slope = np.where(np.abs(m - x) >= 1, 0, np.where(m >= x, 1, -1))
        y_slope = np.where(np.abs(n - y) >= 1, 0, np.where(n >= y, 1, -1))
        to_grid[place] = (
            x_scale * np.einsum("nmc,n,m,c->", image, down, x_slope, upstream[place]),
            y_scale * np.einsum("nmc,n,m,c->", image, y_slope, across, upstream[place]),
        )
    return value, to_images, to_grid


def points(random, shape, size, align_corners, reach=3):
    """Normalised points `(*shape, 2)` whose pixels are neither whole nor half, up to `reach` outside of `size`."""
    coordinates = []
    for count in size[::-1]:
        whole = random.integers(-reach, count + reach, shape)
        place = whole + random.choice([0, 0.5], shape) + random.uniform(0.05, 0.45, shape)
        coordinates.append(normalised(place, count, align_corners))
    return np.stack(coordinates, axis=-1)


def normalised(place, size, align_corners):
    """Return the normalised coordinates of pixels; a single aligned pixel has the same for all."""
    if align_corners:
        return 2 * place / max(size - 1, 1) - 1
    return (2 * place + 1) / size - 1


def thin_plate_spline(control, values, at):
    """Interpolate as Bookstein does: exactly at the control points, and in between with the least bending."""
    count = len(control)

    def bending(a, b):
        distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(distance == 0, 0, distance**2 * np.log(distance))

    one = np.ones((count, 1))
    system = np.block(
        [[bending(control, control), one, control], [np.concatenate([one, control], 1).T, np.zeros((3, 3))]]
    )
    solved = np.linalg.solve(system, np.concatenate([values, np.zeros((3, values.shape[1]))]))
    return bending(at, control) @ solved[:count] + solved[count] + at @ solved[count + 1 :]


def value_and_gradients(function, upstream, *inputs):
    """Return a function's value for tensors and the gradients of its sum weighted by `upstream`, as NumPy arrays."""
    if keras.backend.backend() == "jax":
        import jax

        value, pullback = jax.vjp(function, *map(jax.numpy.asarray, inputs))
        return [np.asarray(x) for x in (value, *pullback(upstream.astype(value.dtype)))]
    import tensorflow as tf

    inputs = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    gradients = tape.gradient(value, inputs, tf.cast(upstream, value.dtype), unconnected_gradients="zero")
    return [x.numpy() for x in (value, *gradients)]
